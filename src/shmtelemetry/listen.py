"""The one rule for listening: loopback needs nothing, any other address must be meant; and who may ask there."""

import hmac
import ipaddress
import re
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; port 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Protection:
    """Who may ask a server, as the options of `shmtel reader` say. Files are read at the start and at SIGHUP.

    insecure: everybody. token_file: who sends the token in this file, as `Authorization: Bearer`; health probes need
    none. allowed_hosts: names under which it may be asked, beside those of this machine on loopback. tls_cert, tls_key:
    PEM files of the server's certificate, with what it is signed by, and of its key. tls_client_ca: a PEM file of the
    authorities one of which must have signed a client's certificate.

    Raises ValueError for options that need each other.
    """

    insecure: bool = False
    token_file: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS needs both a certificate and its key: give --tls-cert and --tls-key")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("--tls-client-ca needs TLS: give --tls-cert and --tls-key as well")

    @property
    def is_meant(self) -> bool:
        """Whether others may reach the server."""
        return self.insecure or self.token_file is not None or self.tls_client_ca is not None

    def allows_host(self, header: str, loopback: bool) -> bool:
        """Whether a server on a loopback address, or another one, may be asked under the name of a Host header."""
        if not self.allowed_hosts and not loopback:
            return True
        name = host_of(header)
        return name in map(str.lower, self.allowed_hosts) or (loopback and is_loopback(name))

    def read(self) -> "Access":
        """What the files say now. Raises ValueError naming one that cannot be used."""
        token = _read_token(self.token_file) if self.token_file is not None else None
        return Access(token, self._tls() if self.tls_cert else None)

    def read_again(self, before: "Access") -> "Access":
        """The same, for a server whose listener keeps the TLS that it began with: that one is renewed in place.

        Authorities of clients are added then, and none is taken away.
        """
        fresh = self.read()
        if before.tls is None:
            return fresh
        self._load(before.tls)  # after it went well with another one
        return Access(fresh.token, before.tls)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        name = self.tls_cert
        try:
            # Without a password nobody is asked for one at a terminal: an encrypted key is refused.
            context.load_cert_chain(str(self.tls_cert), self.tls_key, password="")
            if self.tls_client_ca:
                name = self.tls_client_ca
                context.load_verify_locations(name)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:
            raise ValueError(f"{name}: cannot be used for TLS: {error.strerror or error}; expected PEM") from error


UNPROTECTED: Final = Protection()


@dataclass(frozen=True, slots=True)
class Access:
    """token: what a client must send, None if nothing. tls: how connections are secured, None if not at all."""

    token: bytes | None
    tls: ssl.SSLContext | None

    def admits(self, authorization: str) -> bool:
        """Whether an Authorization header carries the token, found in a time that does not tell how much of it."""
        if self.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token)


def _read_token(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            token = file.read(4096).strip()
    except OSError as error:
        raise ValueError(f"the token file {path} cannot be read: {error.strerror}") from error
    if not re.fullmatch(rb"[A-Za-z0-9._~+/-]+=*", token):  # RFC 6750, section 2.1
        raise ValueError(f"the token file {path}: expected one line of letters, digits and -._~+/")
    return token


def parse_listen(listen: str, meant: bool = False) -> Address:
    """HOST:PORT or [IPV6]:PORT. Any host but a loopback one must be meant.

    Raises ValueError, which says what to do.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"listen {listen!r}: expected HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"listen {listen!r}: put an IPv6 address in brackets, such as [::1]:8000")
    # By its number: what the resolver says of localhost is up to files that others may have changed.
    address = Address("127.0.0.1" if host.lower() == "localhost" else host, int(port))
    if not address.loopback and not meant:
        raise ValueError(
            f"listen {listen!r}: others could read everything there; "
            f"use 127.0.0.1:{port}, or --token-file, --tls-client-ca, or --insecure if that is meant"
        )
    return address


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only be this machine: localhost, 127.0.0.0/8, ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_of(host_header: str) -> str:
    """The name in a Host header, in small letters and without a port; empty if there is none.

    A page of somebody else's, whose name was made to resolve to 127.0.0.1 (DNS rebinding), sends that name.
    """
    try:
        return urlsplit(f"//{host_header}").hostname or ""
    except ValueError:
        return ""
