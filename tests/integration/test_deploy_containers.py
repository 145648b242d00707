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
from tests.peers import need_newest, run_command, unshared
from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PREFIX = "/opt/shmtelemetry"
USER = "10001"


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
    shutil.copy(DEPLOY / "compose.yaml", folder)
    (folder / "token").write_text("token")
    command = [need_newest("docker-compose"), "-f", str(folder / "compose.yaml"), "config", "--format", "json"]
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


@pytest.mark.peer
def test_containers_share_one_shm_one_user_and_one_namespace(services: dict[str, Any]) -> None:
    owners = {name for name, service in services.items() if service["ipc"] == "shareable"}
    assert owners == {"shm"}
    assert int(services["shm"]["shm_size"]) == 256 * 2**20
    others = {name: services[name] for name in services if name not in owners}
    assert {service["ipc"] for service in others.values()} == {"service:shm"}
    assert {service["user"] for service in services.values()} == {f"{USER}:{USER}"}
    assert {service["environment"]["SHMTEL_NAMESPACE"] for service in others.values()} == {"trading"}
    for service in services.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


@pytest.mark.peer
def test_the_service_is_reached_from_this_machine_with_a_token_and_checked_by_probe(services: dict[str, Any]) -> None:
    telemetry = services["telemetry"]
    assert telemetry["healthcheck"]["test"] == ["CMD", "shmtel", "probe"]
    assert [port["host_ip"] for port in telemetry["ports"]] == ["127.0.0.1"]
    assert telemetry["environment"]["SHMTEL_TOKEN_FILE"] == f"/run/secrets/{telemetry['secrets'][0]['source']}"
    assert set(telemetry["environment"]) <= options_of_serve()
    assert [mount["target"] for mount in telemetry["volumes"]] == [environment()["SHMTEL_STATE_DIR"]]
    assert (DEPLOY / telemetry["build"]["dockerfile"]).name == "Dockerfile"


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
def test_reader_and_producers_come_and_go_while_shm_stays(tmp_path: Path, namespace: str) -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    state = tmp_path / "state"
    state.mkdir()
    container = confined(state, "--pid", "--fork", "--kill-child", "--mount-proc")
    program = [sys.executable, "-m", "shmtelemetry.cli"]
    serve = [*container, *program, *compose["telemetry"]["command"], "--listen", "127.0.0.1:0"]
    python, option = compose["bot"]["entrypoint"]
    assert (python, option) == ("python", "-c")
    bot = [*container, sys.executable, option, *compose["bot"]["command"]]
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
