"""Real certificates for tests, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from tests.peers import need


class Authority:
    """Signs certificates; what it makes is in a folder, each NAME.pem with its NAME.key."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder, self.name = folder, name
        self._run("req", "-x509", "-subj", f"/CN={name}", *self._new_key(name), "-out", str(self.pem(name)))

    def pem(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def sign(self, name: str, hosts: str = "DNS:localhost,IP:127.0.0.1") -> tuple[Path, Path]:
        """A certificate for hosts, by default this machine, and its key."""
        names = f"subjectAltName={hosts}"
        signer = "-CA", str(self.pem(self.name)), "-CAkey", str(self.key(self.name))
        subject = "-subj", f"/CN={name}", "-addext", names, "-addext", "basicConstraints=critical,CA:FALSE"
        self._run("req", "-x509", *subject, *signer, *self._new_key(name), "-out", str(self.pem(name)))
        return self.pem(name), self.key(name)

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """A client that trusts this authority, and shows a certificate if one is named."""
        context = ssl.create_default_context(cafile=str(self.pem(self.name)))
        if name:
            context.load_cert_chain(self.pem(name), self.key(name))
        return context

    def _new_key(self, name: str) -> tuple[str, ...]:
        kind = "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"
        return *kind, "-keyout", str(self.key(name)), "-days", "2"

    def _run(self, *arguments: str) -> None:
        subprocess.run([need("openssl"), *arguments], check=True, capture_output=True)
