"""Where servers may listen."""

from __future__ import annotations

import pytest

from shmtelemetry.listen import host_of, is_loopback, parse_listen


@pytest.mark.parametrize("listen", ["0.0.0.0:8000", "[::]:8000", "192.168.1.2:8000", "example.com:80"])
def test_an_address_that_others_reach_must_be_meant(listen: str) -> None:
    with pytest.raises(ValueError, match="--insecure"):
        parse_listen(listen)
    assert not parse_listen(listen, meant=True).loopback


@pytest.mark.parametrize("listen", ["", "8000", ":8000", "localhost", "localhost:", "::1:8000", "127.0.0.1:65536"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match=r"expected HOST:PORT|in brackets"):
        parse_listen(listen, meant=True)


@pytest.mark.parametrize(
    ("listen", "host", "shown"),
    [
        ("127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000"),
        ("127.9.9.9:0", "127.9.9.9", "127.9.9.9:0"),
        ("localhost:80", "127.0.0.1", "127.0.0.1:80"),
        ("[::1]:8000", "::1", "[::1]:8000"),
    ],
)
def test_loopback_needs_nothing(listen: str, host: str, shown: str) -> None:
    address = parse_listen(listen)
    assert (address.host, address.loopback, str(address)) == (host, True, shown)


def test_only_loopback_names_are_loopback() -> None:
    names = ["localhost", "127.0.0.1:1", "[::1]", "LocalHost:99"]
    assert all(is_loopback(host_of(name)) for name in names)
    others = ["", "[", "localhost.example", "10.0.0.1", "[::2]:80", "1", "a b"]
    assert not any(is_loopback(host_of(name)) for name in others)
