"""deploy/Dockerfile, compose.yaml, kubernetes.yaml: what they say is valid, fits together, and works without Docker."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from shmtelemetry.cli import main
from tests.confinement import confined
from tests.monitoring import DEPLOY as MONITORING
from tests.peers import need, need_newest, run_command, unshared
from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PREFIX = "/opt/shmtelemetry"
USER = "10001"
ALERTMANAGER_SECRETS = {"token", "slack_url", "pagerduty_key", "smtp_password"}


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, with their arguments."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def arguments(instruction: str) -> list[str]:
    """Those of the last instruction of a kind, in exec form."""
    found = [text for kind, text in instructions() if kind == instruction][-1]
    words: list[str] = json.loads(found[found.index("[") :])
    return words


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for kind, text in instructions() if kind == "ENV" for word in text.split())


def options_of_serve() -> set[str]:
    """The variables that `shmtel serve` knows."""
    named = (option.envvar or () for option in main.commands["serve"].params)
    return {name for names in named for name in ([names] if isinstance(names, str) else names)}


# ---- the image ----


def test_the_dockerfile_has_no_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = run_command([str(hadolint), "--failure-threshold", "style", str(DEPLOY / "Dockerfile")])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_no_root_and_asks_itself_without_curl() -> None:
    said = dict(instructions())
    assert said["USER"] == f"{USER}:{USER}"
    assert arguments("HEALTHCHECK") == ["shmtel", "probe"]
    assert set(environment()) - {"PATH"} <= options_of_serve()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile's own COPY and RUN lines install, from the files that reach it."""
    folder = tmp_path_factory.mktemp("image")
    source, prefix, commands = folder / "source", folder / "installed", folder / "bin"
    source.mkdir()
    commands.mkdir()
    (commands / "python").symlink_to(sys.executable)
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert rules[0] == "*"
    kept, left = {rule[1:] for rule in rules if rule[0] == "!"}, [Path(rule).name for rule in rules[1:] if "**" in rule]
    for kind, text in instructions():
        if kind == "COPY" and not text.startswith("--from"):
            *names, target = text.split()
            assert set(names) <= kept
            for name in names:
                copied = source / target if (ROOT / name).is_dir() else source / target / name
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, copied, ignore=shutil.ignore_patterns(*left))
                else:
                    shutil.copy(ROOT / name, copied)
        elif kind == "RUN" and "venv" in text:
            command = text.replace(PREFIX, str(prefix))
            path = f"{commands}:{os.environ['PATH']}"
            done = subprocess.run(
                command, shell=True, cwd=source, capture_output=True, text=True, env={**os.environ, "PATH": path}
            )
            assert done.returncode == 0, done.stderr
    shutil.rmtree(source)  # as the image has none
    return prefix


@pytest.mark.stress
def test_what_the_image_installs_serves_and_probes_itself(installed: Path, tmp_path: Path, namespace: str) -> None:
    said = {**os.environ, **environment(), "PATH": f"{installed}/bin:{os.environ['PATH']}"}
    said |= {"SHMTEL_NAMESPACE": namespace, "SHMTEL_STATE_DIR": str(tmp_path), "SHMTEL_EPHEMERAL": "1"}
    entry = [str(installed / "bin" / arguments("ENTRYPOINT")[0]), *arguments("CMD")]
    refused = subprocess.run(entry, capture_output=True, text=True, env=said, timeout=PATIENCE, check=False)
    assert (refused.returncode, "--token-file" in refused.stderr) == (2, True)  # others could read it
    said["SHMTEL_LISTEN"] = "127.0.0.1:0"
    with subprocess.Popen(entry, stdout=subprocess.PIPE, text=True, env=said, cwd=tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        program, *probe = arguments("HEALTHCHECK")
        done = run_command([str(installed / "bin" / program), *probe, url])
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert (done.returncode, done.stdout) == (0, f"{url}/health/ready: 200 OK\n")


# ---- compose ----


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What compose makes of the file."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copytree(MONITORING, folder / "monitoring")
    command = [need_newest("docker-compose"), "-f", str(folder / "monitoring/compose/compose.yaml")]
    done = run_command([*command, "--profile", "example", "config", "--format", "json"])
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


OURS = {"market-data", "signal-bridge", "risk-manager", "execution-engine", "telemetry", "example"}


@pytest.mark.peer
def test_containers_share_one_shm_one_user_and_one_network(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service.get("ipc") == "shareable"} == {"pod"}
    assert int(services["pod"]["shm_size"]) == 256 * 2**20
    assert {services[name]["ipc"] for name in OURS} == {"service:pod"}
    assert {services[name]["user"] for name in {*OURS, "pod"}} == {f"{USER}:{USER}"}
    namespaces = {name: services[name]["environment"]["SHMTEL_NAMESPACE"] for name in OURS}
    assert namespaces == {name: name for name in OURS} | {"telemetry": "trading", "example": "trading"}
    assert {services[name]["network_mode"] for name in services.keys() - {"pod", "example"}} == {"service:pod"}
    for service in services.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert int(service["user"].split(":")[0]) > 0
        assert service["image"] == "shmtelemetry" or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert service["healthcheck"].get("disable") or service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.peer
def test_the_pod_is_reached_from_this_machine_alone_and_the_service_with_a_token(services: dict[str, Any]) -> None:
    ports = [(port["host_ip"], port["published"]) for port in services["pod"]["ports"]]
    assert ports == [("127.0.0.1", port) for port in ("3000", "8000", "9193", "9999")]
    assert not any("ports" in service for name, service in services.items() if name != "pod")
    telemetry = services["telemetry"]
    assert telemetry["healthcheck"]["test"] == ["CMD", "shmtel", "probe"]
    assert telemetry["environment"]["SHMTEL_TOKEN_FILE"] == telemetry["secrets"][0]["target"] == "/run/secrets/token"
    assert set(telemetry["environment"]) <= options_of_serve()
    assert [mount["target"] for mount in telemetry["volumes"]] == [environment()["SHMTEL_STATE_DIR"]]
    listens = {services[name]["environment"]["SHMTEL_LISTEN"] for name in OURS - {"telemetry", "example"}}
    assert listens == {f"127.0.0.1:{port}" for port in (9090, 9091, 9092, 9093)}


@pytest.mark.peer
def test_what_is_mounted_is_generated_and_each_sees_its_own_secrets(services: dict[str, Any]) -> None:
    by_file = {"alertmanager": ALERTMANAGER_SECRETS, "prometheus": {"token"}, "grafana": {"grafana_password"}}
    for name, wanted in by_file.items():
        assert {secret["source"] for secret in services[name]["secrets"]} == wanted
        for mount in services[name]["volumes"]:
            if mount["type"] == "bind" and not mount["bind"].get("create_host_path"):
                below = mount["source"].partition("/monitoring/")[2]
                assert (MONITORING / below).exists() or below.startswith("grafana/"), below
    told = (MONITORING / "compose/alertmanager.yml").read_text()
    assert set(re.findall(r"_file: /run/secrets/(\w+)", told)) == ALERTMANAGER_SECRETS
    assert services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"


@pytest.mark.peer
def test_real_servers_take_the_flags_and_the_configurations(services: dict[str, Any], tmp_path: Path) -> None:
    flags = services["prometheus"]["command"]
    assert {"--storage.tsdb.retention.time=30d", "--storage.tsdb.retention.size=10GB"} <= set(flags)
    shutil.copytree(MONITORING, tmp_path / "etc")
    shutil.copy(MONITORING / "compose/prometheus.yml", tmp_path / "etc")
    shutil.copy(MONITORING / "compose/alertmanager.yml", tmp_path / "etc")
    for command in (
        # It says what is wrong with flags before it says that there is no such file.
        [need_newest("promtool"), "check", "config", "--syntax-only", str(tmp_path / "etc/prometheus.yml")],
        [need("amtool"), "check-config", str(tmp_path / "etc/alertmanager.yml")],
    ):
        done = run_command(command)
        assert done.returncode == 0, done.stdout + done.stderr
    for program, name in ((need_newest("prometheus"), "prometheus"), (need("prometheus-alertmanager"), "alertmanager")):
        here = [re.sub("path=/", f"path={tmp_path}/", flag) for flag in services[name]["command"][1:]]
        command = [program, *here, "--config.file=/nowhere"]
        assert "/nowhere" in run_command(command).stderr
        assert "/nowhere" not in run_command([*command, "--no-such-flag"]).stderr


CONTAINERS = """
import os, signal, subprocess, sys
from tests.processes import wait_until
from tests.services import ask

serve, bot, name = eval(sys.argv[1]), eval(sys.argv[2]), os.environ["SHMTEL_NAMESPACE"]

def started(command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]

def total(url):
    lines = ask(url, "/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("trading_bot_trades_total{"))

def count(url, more_than):
    wait_until(lambda: total(url) > more_than, "trades are counted")
    return total(url)

def end(container):  # by the end of its first process, as Docker does
    with open(f"/proc/{container.pid}/task/{container.pid}/children") as children:
        os.kill(int(children.read()), signal.SIGKILL)
    container.wait()

first, url = started(serve)
producer = subprocess.Popen(bot)
before = count(url, 10)
end(first)
second, url = started(serve)
go_on = count(url, before)
end(producer)
wait_until(lambda: not any(file.startswith(f"shmtel.{name}.trading") for file in os.listdir("/dev/shm")), "it ends")
ended = total(url)
third = subprocess.Popen(bot)
again = count(url, ended)
end(third)
end(second)
print(before, go_on, ended, again)
"""


@pytest.mark.slow
@pytest.mark.peer
def test_reader_and_producers_come_and_go_while_the_pod_stays(tmp_path: Path, namespace: str) -> None:
    compose = yaml.safe_load((MONITORING / "compose/compose.yaml").read_text())["services"]
    state = tmp_path / "state"
    state.mkdir()
    container = confined(state, "--pid", "--fork", "--kill-child", "--mount-proc")
    program = [sys.executable, "-m", "shmtelemetry.cli"]
    serve = [*container, *program, *compose["telemetry"]["command"], "--listen", "127.0.0.1:0"]
    python, option = compose["example"]["entrypoint"]
    assert (python, option) == ("python", "-c")
    bot = [*container, sys.executable, option, *compose["example"]["command"]]
    (tmp_path / "containers.py").write_text(CONTAINERS)
    mount = 'mount -t tmpfs -o size=256m tmpfs /dev/shm && exec "$0" "$@"'
    script = [sys.executable, str(tmp_path / "containers.py"), repr(serve), repr(bot)]
    said = {"SHMTEL_NAMESPACE": namespace, "SHMTEL_STATE_DIR": str(state), "PYTHONPATH": str(ROOT)}
    command = ["env", *(f"{name}={value}" for name, value in said.items())]
    done = run_command([*unshared("--mount"), *command, "sh", "-c", mount, *script])
    assert done.returncode == 0, done.stdout + done.stderr
    before, go_on, ended, again = map(float, done.stdout.split())
    assert 10 < before < go_on <= ended < again


# ---- Kubernetes ----


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_the_manifests_are_what_kubernetes_takes(manifests: dict[str, Any], version: str) -> None:
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_pods_containers_share_shm_user_and_namespace(manifests: dict[str, Any]) -> None:
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (sidecar,), (bot,) = pod["initContainers"], pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in sidecar, bot:
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert {"name": "SHMTEL_NAMESPACE", "value": "trading"} in container["env"]
        assert container["resources"].keys() == {"requests", "limits"}
        context = container["securityContext"]
        assert "runAsUser" not in context  # which is the pod's
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (int(USER), True)
    assert sidecar["restartPolicy"] == "Always"
    assert {variable["name"] for variable in sidecar["env"]} <= options_of_serve()
    places = [mount["mountPath"] for mount in sidecar["volumeMounts"]]
    assert environment()["SHMTEL_STATE_DIR"] in places
    token = {variable["name"]: variable["value"] for variable in sidecar["env"]}["SHMTEL_TOKEN_FILE"]
    assert str(Path(token).parent) in places
    service = manifests["Service"]["spec"]
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["targetPort"] in [port["name"] for port in sidecar["ports"]]


KUBELET = """
import sys
from pathlib import Path
from tests.services import ask, service

namespace, listen, address, *paths = sys.argv[1:]
Path("token").write_text("token")
with service(namespace, Path.cwd(), "--listen", listen, "--token-file", "token") as running:
    url = running.url.replace("0.0.0.0", address)
    print(*(ask(url, path).status for path in (*paths, "/latest")))
"""


@pytest.mark.peer
def test_what_the_kubelet_asks_is_answered_without_a_token(
    manifests: dict[str, Any], tmp_path: Path, namespace: str
) -> None:
    (sidecar,) = manifests["Deployment"]["spec"]["template"]["spec"]["initContainers"]
    asked = [sidecar[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {probe["port"] for probe in asked} == {sidecar["ports"][0]["name"]}
    # It asks by the pod's address: here that of a network that this test has for itself.
    pod = 'ip link set lo up && ip address add "$1" dev lo && cd "$0" && shift && exec "$@"'
    listen = environment()["SHMTEL_LISTEN"]
    script = [sys.executable, "-c", KUBELET, namespace, listen, "10.1.2.3", *(probe["path"] for probe in asked)]
    inside = ["sh", "-c", pod, str(tmp_path), "10.1.2.3/32", "env", f"PYTHONPATH={ROOT}", *script]
    done = run_command([*unshared("--net"), *inside])
    assert (done.returncode, done.stdout) == (0, "200 200 200 401\n"), done.stderr
