"""Docker Compose: the readers, the service, Prometheus, Alertmanager and Grafana, as one pod.

https://docs.docker.com/reference/compose-file/
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from . import alertmanager, prometheus
from .catalogue import Catalogue
from .yaml_text import as_yaml

SECRETS: Final = "/run/secrets"
_HERE: Final = "127.0.0.1"
_GRAFANA: Final = 3000
_IMAGES: Final = {
    "telemetry": "shmtelemetry",
    "prometheus": "prom/prometheus:v3.5.0",
    "alertmanager": "prom/alertmanager:v0.28.1",
    "grafana": "grafana/grafana:12.1.0",
}
_TOLD: Final = ("slack_url", "pagerduty_key", "smtp_password")
_COMMENTS: Final = (
    "docker build -f deploy/Dockerfile -t shmtelemetry . && docker compose up, with a file secrets/NAME here for",
    "each name at its end, readable for all: a container sees those that it lists. Then http://localhost:8000, where a",
    "browser asks for the token, and :9999, :9193 and :3000 (admin, grafana_password).",
    "The container `pod` holds /dev/shm and the network and does nothing else, so that rings and totals outlive every",
    "other one: 127.0.0.1 is the same for all. Producers join with ipc: service:pod and the same user, as the example",
    "does (docker compose --profile example up): a reader drains no other user's segments.",
)
_CONFINED: Final = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}
_OURS: Final = {"image": _IMAGES["telemetry"], "user": "10001:10001", **_CONFINED}
_EXAMPLE: Final = """\
import random, time
from shmtelemetry.trading import record_trade
while True:
    record_trade("bot-1", "AAPL", random.choice(("buy", "sell")), quantity=100, price=random.gauss(150, 1))
    time.sleep(0.01)
"""

Service = dict[str, Any]


def files(catalogue: Catalogue) -> Mapping[str, str]:
    """compose/compose.yaml, and the configurations that are others in a container; the rest is mounted from beside."""
    where = msgspec.structs.replace(catalogue.deployment, secrets=SECRETS, token_file=f"{SECRETS}/token")
    inside = replace(catalogue, deployment=where)
    configured = {**prometheus.files(inside), **alertmanager.files(inside)}
    made = {"compose.yaml": as_yaml(_document(inside), *_COMMENTS), **configured}
    return {f"compose/{path}": text for path, text in made.items()}


def _document(catalogue: Catalogue) -> dict[str, Any]:
    where = catalogue.deployment
    service_port, alert_port = _port_here(urlsplit(where.service).netloc), _port_here(where.alertmanager)
    readers = {
        job.name: port
        for job in catalogue.jobs.values()
        for port in map(_port_here, job.targets)
        if not job.optional and port not in (None, service_port)
    }
    optional = any(job.optional for job in catalogue.jobs.values())
    ports = prometheus.PORT, _GRAFANA, service_port, alert_port
    services = {
        "pod": _pod(port for port in ports if port is not None),
        **{name: _reader(name, port) for name, port in readers.items()},
        "telemetry": _telemetry(where.namespace, service_port, readers) if service_port is not None else None,
        "example": _example(where.namespace),
        "prometheus": _prometheus(optional),
        "alertmanager": _alertmanager(alert_port) if alert_port is not None else None,
        "grafana": _grafana(),
    }
    here = {name: service for name, service in services.items() if service is not None}
    return {
        "name": "shmtelemetry",
        "services": here,
        "volumes": {volume.split(":")[0]: {} for volume in _used(here, "volumes") if isinstance(volume, str)},
        "secrets": {name: {"file": f"secrets/{name}"} for name in dict.fromkeys(_used(here, "secrets"))},
    }


def _used(services: Mapping[str, Service], what: str) -> list[Any]:
    """Of all of them."""
    return [one for service in services.values() for one in service.get(what, ())]


def _port_here(address: str) -> int | None:
    """Of HOST:PORT; None where another machine is meant."""
    host, _, port = address.rpartition(":")
    return int(port) if host == _HERE else None


# ---- the pod, and who joins it ----


def _pod(ports: Iterable[int]) -> Service:
    return {
        **_OURS,
        "entrypoint": ["sleep", "infinity"],
        "stop_signal": "SIGKILL",  # there is nothing to lose, and sleep as process 1 heeds no other
        "ipc": "shareable",
        "shm_size": "256m",  # of Docker's own 64 MiB the windows of one reader alone may take all
        "ports": [f"{_HERE}:{port}:{port}" for port in sorted(ports)],
        "healthcheck": {"disable": True},
    }


def _joined(*healthcheck: str, **service: Any) -> Service:
    health = {"test": ["CMD", *healthcheck], "interval": "10s", "timeout": "5s", "start_period": "30s", "retries": 3}
    return {**service, "network_mode": "service:pod", "healthcheck": health}


def _reader(namespace: str, port: int | None) -> Service:
    environment = {"SHMTEL_NAMESPACE": namespace, "SHMTEL_LISTEN": f"{_HERE}:{port}", "SHMTEL_LOG_FORMAT": "json"}
    ours = {**_OURS, "command": ["reader"], "ipc": "service:pod", "environment": environment}
    return _joined("shmtel", "probe", **ours, stop_grace_period="30s", mem_limit="256m")


def _telemetry(namespace: str, port: int, readers: Iterable[str]) -> Service:
    environment = {
        "SHMTEL_NAMESPACE": namespace,
        "SHMTEL_ATTACH": ",".join(readers),
        "SHMTEL_LISTEN": f"0.0.0.0:{port}",
        "SHMTEL_TOKEN_FILE": f"{SECRETS}/token",
        "SHMTEL_ALLOWED_HOST": "localhost 127.0.0.1",  # beside these, the names under which others ask
    }
    ours = {**_OURS, "command": ["serve"], "ipc": "service:pod", "environment": environment, "secrets": ["token"]}
    state = ["state:/var/lib/shmtelemetry"]
    return _joined("shmtel", "probe", **ours, volumes=state, stop_grace_period="30s", mem_limit="512m")


def _example(namespace: str) -> Service:
    """A producer: one's own comes in its place."""
    return {
        **_OURS,
        "profiles": ["example"],
        "entrypoint": ["python", "-c"],
        "command": [_EXAMPLE],
        "ipc": "service:pod",
        "environment": {"SHMTEL_NAMESPACE": namespace},
        "network_mode": "none",
        "healthcheck": {"disable": True},
    }


# ---- others' servers, each as the user that its image has ----


def _server(name: str, user: str, healthcheck: Iterable[str], **service: Any) -> Service:
    return _joined(*healthcheck, image=_IMAGES[name], user=user, **_CONFINED, tmpfs=["/tmp"], **service)


def _mounted(source: str, target: str) -> dict[str, Any]:
    return {
        "type": "bind", "source": source, "target": target, "read_only": True, "bind": {"create_host_path": False},
    }  # fmt: skip


def _prometheus(optional: bool) -> Service:
    folder = "/etc/prometheus"
    mounts = [
        _mounted("prometheus.yml", f"{folder}/prometheus.yml"),
        *(_mounted(f"../{name}.yml", f"{folder}/{name}.yml") for name in ("rules", "alerts")),
    ]
    if optional:
        mounts.append(_mounted("targets", f"{folder}/targets") | {"bind": {"create_host_path": True}})
    command = [f"--config.file={folder}/prometheus.yml", "--storage.tsdb.path=/prometheus", *prometheus.FLAGS]
    ready = "promtool", "check", "ready", f"--url=http://{_HERE}:{prometheus.PORT}"
    return _server(
        "prometheus", "65534:65534", ready, secrets=["token"],
        command=[*command, f"--web.listen-address=:{prometheus.PORT}"], volumes=["prometheus:/prometheus", *mounts],
    )  # fmt: skip


def _alertmanager(port: int) -> Service:
    path = "/etc/alertmanager/alertmanager.yml"
    command = [
        f"--config.file={path}", "--storage.path=/alertmanager", f"--web.listen-address=:{port}",
        "--cluster.listen-address=",
    ]  # fmt: skip
    return _server(
        "alertmanager", "65534:65534", _wget(port, "/-/ready"), secrets=["token", *_TOLD], command=command,
        volumes=["alertmanager:/alertmanager", _mounted("alertmanager.yml", path)],
    )  # fmt: skip


def _grafana() -> Service:
    environment = {
        "GF_SERVER_HTTP_PORT": str(_GRAFANA),
        "GF_SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS}/grafana_password",
        "GF_USERS_ALLOW_SIGN_UP": "false",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }
    mounts = [
        _mounted("../grafana/provisioning", "/etc/grafana/provisioning"),
        _mounted("../grafana/dashboards", "/etc/grafana/dashboards"),
    ]
    return _server(
        "grafana", "472:472", _wget(_GRAFANA, "/api/health"), secrets=["grafana_password"], environment=environment,
        volumes=["grafana:/var/lib/grafana", *mounts],
    )  # fmt: skip


def _wget(port: int, path: str) -> tuple[str, ...]:
    return "wget", "--quiet", "--spider", f"http://{_HERE}:{port}{path}"
