"""A telemetry log of the demo: the system samples of its risk manager, as lines of CSV."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Final

from shmtelemetry.demo import DEFAULT_RATE
from shmtelemetry.demo.platform import Platform, ServiceError, together
from shmtelemetry.errors import ShmtelError
from shmtelemetry.following import Records
from shmtelemetry.reader import Reader
from shmtelemetry.tap import Tap
from shmtelemetry.trading.schemas import SYSTEM_SAMPLE

_SAMPLES: Final = "risk-manager-samples"
_LOOK: Final = 0.1  # seconds between two looks at the samples


def write_log(path: str, seconds: float, stop: Callable[[float], bool]) -> int:
    """Runs the platform and writes a header and what it samples, each as soon as it is there. Returns how many rows.

    seconds: how long. stop: waits for so many seconds at most; whether to end early. Raises OSError and ShmtelError.
    """
    namespace = f"demo-{os.getpid()}"
    with open(path, "w", encoding="ascii") as file, Reader(namespace, ephemeral=True) as reader:
        reader.start()
        with (
            Platform(together(namespace), DEFAULT_RATE) as platform,
            Tap(_SAMPLES, namespace) as tap,
        ):
            try:
                platform.start()
            except ServiceError as error:
                raise ShmtelError(str(error)) from error
            platform.go()
            file.write(",".join(SYSTEM_SAMPLE.roles) + "\n")
            rows, waited = 0, 0.0
            while waited < seconds and not stop(min(_LOOK, seconds - waited)):
                waited += _LOOK
                rows += _write(file.write, tap.read())
                file.flush()
            platform.stop()
            rows += _write(file.write, tap.read())
            platform.join()
    return rows


def _write(write: Callable[[str], object], samples: Records) -> int:
    known = [
        sample for sample in samples.tolist() if all(map(math.isfinite, sample))
    ]  # all is, from the first batch on
    for sample in known:
        write(",".join(map(repr, sample)) + "\n")
    return len(known)
