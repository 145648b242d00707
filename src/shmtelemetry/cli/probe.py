"""shmtel probe"""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import click

from . import options

TIMEOUT = 2.0  # seconds


@click.command("probe")
@click.argument("url", default="http://127.0.0.1:8000")
@click.option("--tls-ca", metavar="FILE", help="Authorities, one of which signed the reader's certificate, PEM.")
@click.option("--tls-cert", metavar="FILE", help="Certificate to show, PEM, for a reader with --tls-client-ca.")
@click.option("--tls-key", metavar="FILE", help="Key of --tls-cert, PEM.")
def command(url: str, tls_ca: str | None, tls_cert: str | None, tls_key: str | None) -> int:
    """Ask a running reader whether it is well, for health checks of containers.

    Asks URL/health/ready, or URL itself if it has a path. Exits 0 with one line if the answer is good, and 1
    if it is not, or does not come within 2 seconds.

    \b
    Example:
      shmtel probe http://127.0.0.1:8000
      shmtel probe https://localhost:8000 --tls-ca ca.pem
      HEALTHCHECK CMD ["shmtel", "probe"]
    """
    target = _target(url)
    # Health checks ask a neighbour: a proxy of the environment has no business there.
    with options.wrong_use():
        https = urllib.request.HTTPSHandler(context=_tls(tls_ca, tls_cert, tls_key))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
    try:
        with opener.open(target, timeout=TIMEOUT) as response:
            click.echo(f"{target}: {response.status} {response.reason}")
            return 0
    except urllib.error.HTTPError as error:
        with error:
            problem = f"{error.code} {error.reason}{_reason(error.read(4096))}"
    except urllib.error.URLError as error:
        problem = f"{getattr(error.reason, 'strerror', None) or error.reason}; does a reader listen there?"
    except (OSError, http.client.HTTPException) as error:
        problem = str(error) or type(error).__name__
    raise click.ClickException(f"{target}: {problem}")


def _tls(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert, key, password="")
    except OSError as error:
        files = ", ".join(filter(None, (ca, cert, key)))
        raise ValueError(f"{files}: cannot be used for TLS: {error.strerror or error}; expected PEM") from error
    return context


def _target(url: str) -> str:
    with_scheme = url if "://" in url else f"http://{url}"
    with options.wrong_use():
        parts = urlsplit(with_scheme)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"URL {url!r}: expected http://HOST:PORT or https://HOST:PORT")
    return with_scheme if parts.path.strip("/") else f"{with_scheme.rstrip('/')}/health/ready"


def _reason(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    return f": {said['reason']}" if isinstance(said, dict) and "reason" in said else ""
