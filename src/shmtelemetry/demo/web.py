"""The demo's readers, and what shows them: the service with its page where that is installed, else metrics alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from shmtelemetry.aggregate.snapshot import ProducerTotals, Snapshot
from shmtelemetry.listen import Address, parse_listen
from shmtelemetry.reader import Reader
from shmtelemetry.sidecar import Sidecar


@dataclass(frozen=True)
class Web:
    """Readers whose loops run. readers: one a namespace. url: where the page is, or the metrics alone, without a path.
    metrics: what is shown → URL of its metrics. missing: the module that the page lacks, empty where there is one."""

    readers: Sequence[Reader]
    url: str
    metrics: Mapping[str, str]
    missing: str = ""

    def snapshots(self) -> list[Snapshot]:
        """Of each namespace."""
        return [reader.snapshot() for reader in self.readers]

    def producers(self) -> dict[str, ProducerTotals]:
        """The accounts of all namespaces' producers, by name."""
        return {name: totals for one in self.snapshots() for name, totals in one.producers.items()}

    def settle(self, timeout: float) -> bool:
        """Whether the readers have read everything within so many seconds each."""
        settled = [reader.settle(timeout=timeout) for reader in self.readers]
        return all(settled)


@contextmanager
def web(namespace: str, listen: str) -> Iterator[Web]:
    """Drains and serves a namespace; nothing of it is left afterwards."""
    with _page(namespace, listen, ()) as (reader, url, missing):
        yield Web((reader,), url, {namespace: f"{url}/metrics"}, missing)


@contextmanager
def platform_web(namespace: str, listen: str, services: Mapping[str, str], metrics_port: int) -> Iterator[Web]:
    """Drains and serves the namespace of each service at a port of its own, and shows all of them on one page.

    namespace: of the page's own figures. services: name → namespace. metrics_port: of the first service, the others
    follow; 0 takes free ones.
    """
    host = parse_listen(listen).host
    with ExitStack() as stack:
        sidecars = {}
        for place, (name, drained) in enumerate(services.items()):
            address = Address(host, metrics_port + place if metrics_port else 0)
            sidecars[name] = stack.enter_context(Sidecar(drained, listen=str(address), ephemeral=True))
        _, url, missing = stack.enter_context(_page(namespace, listen, tuple(services.values())))
        metrics = {name: f"{sidecar.url}/metrics" for name, sidecar in sidecars.items()}
        yield Web([sidecar.reader for sidecar in sidecars.values()], url, metrics, missing)


@contextmanager
def _page(namespace: str, listen: str, attached: tuple[str, ...]) -> Iterator[tuple[Reader, str, str]]:
    """(reader of the namespace, URL, missing module)."""
    try:
        from shmtelemetry.service.settings import ServiceSettings
        from shmtelemetry.serving import Serving
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("shmtelemetry"):
            raise
        with Sidecar(namespace, listen=listen, ephemeral=True) as sidecar:
            yield sidecar.reader, sidecar.url, error.name
        return
    with TemporaryDirectory(prefix="shmtel-demo-") as folder:
        reader = {"ephemeral": True}
        settings = ServiceSettings(namespace, attached, state_dir=Path(folder), log_level="error", reader=reader)
        with Serving(settings, listen) as serving:
            serving.start()
            yield serving.reader, serving.url, ""
