"""What the OpenAPI document says is what a real service does, whatever it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from shmtelemetry import Telemetry, trading
from tests.processes import PATIENCE
from tests.readers import Running
from tests.services import await_value, new_namespace, service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that has figures and trades to show."""
    namespace = new_namespace()
    with (
        service(namespace, tmp_path_factory.mktemp("openapi")) as running,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        trading.use(telemetry)
        try:
            for number in range(3):
                trading.record_trade("bot", "AAPL", "buy", quantity=1.0, price=100.0, trade_id=f"t{number}")
            trading.update_strategy("bot", "momentum", "AAPL", "running", position=1.0)
            trading.SYSTEM_SAMPLES.emit_fields(time.time_ns(), *range(1, 12))
            await_value(running.url, "/api/trades", lambda told: told["count"] == 3)
            yield running
        finally:
            trading.use(None)


# Everything in a query is text, whatever else was meant; and a schema cannot say that the start comes before the end.
NOT_CHECKED = [negative_data_rejection, positive_data_acceptance]
EXAMPLES = settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
def test_every_answer_is_as_the_document_says(running: Running) -> None:
    document = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) > 25
    for operation in operations:
        for mode in GenerationMode:  # what should be taken, and what should not

            @EXAMPLES
            @given(operation.as_strategy(generation_mode=mode))
            def check(case: Case) -> None:
                case.call_and_validate(timeout=PATIENCE, excluded_checks=NOT_CHECKED)

            # A route that takes nothing can be asked nothing wrong.
            with suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else nullcontext():
                check()
