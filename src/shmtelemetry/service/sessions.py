"""The cookie by which a browser that has shown the token is known again, in whichever worker."""

import hashlib
import hmac
from typing import Final

COOKIE: Final = "shmtel_session"
LASTS: Final = 12 * 3600  # seconds


def session(token: bytes, now: float) -> str:
    """What says until when it holds, signed with the token: nothing is stored, and a new token ends all of them."""
    until = str(int(now) + LASTS)
    return f"{until}.{_signature(token, until)}"


def holds(token: bytes, cookies: str, now: float) -> bool:
    """Whether a Cookie header has a session of this token that has not ended."""
    # Not http.cookies: one bad cookie of somebody else's, such as of another port's, would end its parsing.
    values = [value for name, _, value in (one.strip().partition("=") for one in cookies.split(";")) if name == COOKIE]
    until, _, signature = values[0].partition(".") if values else ("", "", "")
    if not (until.isascii() and until.isdigit() and len(until) < 16 and signature.isascii()):
        return False
    return hmac.compare_digest(signature, _signature(token, until)) and now < int(until)


def _signature(token: bytes, until: str) -> str:
    return hmac.new(token, f"shmtelemetry session until {until}".encode(), hashlib.sha256).hexdigest()
