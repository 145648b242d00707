"""The demo's reader, and what shows it: the service with its page where that is installed, else the metrics alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from shmtelemetry.reader import Reader
from shmtelemetry.sidecar import Sidecar


@dataclass(frozen=True)
class Web:
    """A reader whose loop runs. url: where the server listens, without a path. missing: the module that the page lacks,
    empty where there is one."""

    reader: Reader
    url: str
    missing: str = ""


@contextmanager
def web(namespace: str, listen: str) -> Iterator[Web]:
    """Drains and serves a namespace; nothing of it is left afterwards."""
    try:
        from shmtelemetry.service.settings import ServiceSettings
        from shmtelemetry.serving import Serving
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("shmtelemetry"):
            raise
        with Sidecar(namespace, listen=listen, ephemeral=True) as sidecar:
            yield Web(sidecar.reader, sidecar.url, error.name)
        return
    with TemporaryDirectory(prefix="shmtel-demo-") as folder:
        settings = ServiceSettings(namespace, state_dir=Path(folder), log_level="error", reader={"ephemeral": True})
        with Serving(settings, listen) as serving:
            serving.start()
            yield Web(serving.reader, serving.url)
