"""The one rule for listening: loopback needs nothing, any other address must be meant."""

import ipaddress
from dataclasses import dataclass
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


def parse_listen(listen: str, insecure: bool = False) -> Address:
    """HOST:PORT or [IPV6]:PORT. Any host but a loopback one needs `insecure`.

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
    if not address.loopback and not insecure:
        raise ValueError(
            f"listen {listen!r}: others could read everything there; "
            f"use 127.0.0.1:{port}, or say insecure (--insecure) if that is meant"
        )
    return address


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only be this machine: localhost, 127.0.0.0/8, ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_loopback(host_header: str) -> bool:
    """Whether a Host header names this machine.

    A page of somebody else's, whose name was made to resolve to 127.0.0.1 (DNS rebinding), sends that name.
    """
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False
