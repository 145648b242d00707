"""Settings of the command line: options before variables before the file, and one line for what is wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shmtelemetry import Telemetry
from shmtelemetry.cli import main
from tests.processes import wait_until
from tests.readers import Running, reader, shmtel

Write = Callable[[str], Path]
Wrong = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes shmtel.toml into a folder of the test's own."""

    def written(text: str) -> Path:
        path = tmp_path / "shmtel.toml"
        path.write_text(text)
        return path

    return written


def labels_of(text: str, name: str) -> dict[str, str]:
    (labels,) = [sample.labels for family in parse_text(text) for sample in family.samples if sample.name == name]
    return labels


def env_of(namespace: str, *options: str, folder: Path, **environment: str) -> str:
    """The value of the constant label env in what a reader with these settings prints."""
    with Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.counter("orders_total", "Orders.").inc()
        done = shmtel(
            "reader", "--namespace", namespace, "--once", "--ephemeral", *options, folder=folder, **environment
        )
    assert done.returncode == 0, done.stderr
    return labels_of(done.stdout, "orders_total").get("env", "")


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrong:
    """Runs a command, in the test's folder, and gives the one line of its error of usage."""
    monkeypatch.chdir(tmp_path)

    def line_of(*arguments: str, **environment: str) -> str:
        done = CliRunner().invoke(main, arguments, env=environment)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith("shmtel: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    return line_of


# ---- where they come from ----


def test_options_come_before_variables_before_the_file(namespace: str, write: Write) -> None:
    folder = write('[reader]\nconst-label = ["env=file"]').parent
    assert env_of(namespace, folder=folder) == "file"
    assert env_of(namespace, folder=folder, SHMTEL_CONST_LABEL="env=variable") == "variable"
    assert (
        env_of(namespace, "--const-label", "env=option", folder=folder, SHMTEL_CONST_LABEL="env=variable") == "option"
    )


def test_a_source_documents_variable_comes_after_ours_and_before_the_file(write: Write, wrong: Wrong) -> None:
    write('[reader]\nlog-level = "debug"\ninclude = ["a b"]')
    assert "'ours' is not one of" in wrong("reader", SHMTEL_LOG_LEVEL="ours", LOG_LEVEL="theirs")
    assert "'theirs' is not one of" in wrong("reader", LOG_LEVEL="theirs")
    assert "'a b'" in wrong("reader", LOG_LEVEL="INFO")


def test_the_file_is_found_in_the_working_directory_then_in_the_users_folder(
    namespace: str, write: Write, tmp_path: Path
) -> None:
    own = tmp_path / "home" / "shmtel" / "shmtel.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[reader]\nconst-label = ["env=home"]')
    named = tmp_path / "named.toml"
    named.write_text('[reader]\nconst-label = ["env=named"]')
    home = str(tmp_path / "home")
    assert env_of(namespace, folder=tmp_path, XDG_CONFIG_HOME=home) == "home"
    write('[reader]\nconst-label = ["env=here"]')
    assert env_of(namespace, folder=tmp_path, XDG_CONFIG_HOME=home) == "here"
    assert env_of(namespace, folder=tmp_path, SHMTEL_CONFIG=str(named)) == "named"
    assert env_of(namespace, "--config", "shmtel.toml", folder=tmp_path, SHMTEL_CONFIG=str(named)) == "here"


def test_every_command_has_its_own_table(namespace: str, write: Write) -> None:
    folder = write(f'[reader]\nnamespace = "{namespace}"\nephemeral = true\n[ls]\nnamespace = "{namespace}"').parent
    with Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.counter("orders_total", "Orders.").inc()
        assert f"{namespace}  bot" in shmtel("ls", folder=folder).stdout
        assert "orders_total 1.0" in shmtel("reader", "--once", folder=folder).stdout
    assert shmtel("reader", "--once", folder=folder).stdout.count("orders_total") == 0  # it was ephemeral


def test_several_values_in_a_variable_are_words_that_may_be_quoted(namespace: str, tmp_path: Path) -> None:
    with Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.counter("orders_total", "Orders.").inc()
        done = shmtel(
            "reader", "--once", folder=tmp_path, SHMTEL_NAMESPACE=namespace, SHMTEL_EPHEMERAL="1",
            SHMTEL_CONST_LABEL="""env=prod desk="fx spot" rule='a="b"'""", SHMTEL_INCLUDE="orders_* no_such",
        )  # fmt: skip
    assert labels_of(done.stdout, "orders_total") == {"env": "prod", "desk": "fx spot", "rule": 'a="b"'}
    assert "shmtel_" not in done.stdout


# ---- what is wrong with them ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[reader]\nnamespaces = 'x'", "[reader] has no setting namespaces: did you mean namespace?"),
        ("[reader]\nonce = true", "[reader] has no setting once: expected one of namespace, listen, "),
        ("[reader]\ngauge_ttl = 5", "has no setting gauge_ttl: did you mean gauge-ttl?"),
        ("[raeder]\nnamespace = 'x'", "the file has no table raeder: did you mean reader?"),
        (
            "[bench]\njson = true",
            "the file has no table bench: expected one of reader, serve, ls, tail, dump, doctor, gc, ingest.",
        ),
        ("namespace = 'x'", "namespace = 'x' is in no table"),
        ("[reader]\nnamespace = 7", "[reader] namespace: expected a text, got 7"),
        ("[reader]\ngauge-ttl = '5m'", "[reader] gauge-ttl: expected a number, got '5m'"),
        ("[reader]\ngauge-ttl = true", "[reader] gauge-ttl: expected a number, got True"),
        ("[reader]\ngauge-ttl = -1", "[reader] gauge-ttl: expected a number, got -1: "),
        ("[reader]\ninterval = 1", "[reader] interval: expected a number, got 1: "),
        ("[reader]\nmax-series = 1.5", "[reader] max-series: expected an integer, got 1.5"),
        ("[reader]\nephemeral = 'yes'", "[reader] ephemeral: expected true or false, got 'yes'"),
        ("[reader]\ninclude = 'orders_*'", "[reader] include: expected a list of texts, got 'orders_*'"),
        ("[reader]\nconst-label = ['env']", "expected a list of texts, got ['env']: expected KEY=VALUE, got 'env'"),
        ("[reader]\nlog-level = 'loud'", "[reader] log-level: expected a text, got 'loud': 'loud' is not one of"),
        ("[reader\n", "is no TOML: "),
    ],
)
def test_a_file_that_cannot_be_is_one_line(text: str, said: str, write: Write, wrong: Wrong) -> None:
    write(text)
    line = wrong("reader", "--once")
    assert line.startswith("shmtel: shmtel.toml")
    assert said in line


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, wrong: Wrong) -> None:
    assert "nowhere.toml cannot be read: No such file" in wrong("reader", "--config", "nowhere.toml")
    assert "nowhere.toml cannot be read: No such file" in wrong("ls", SHMTEL_CONFIG="nowhere.toml")
    (tmp_path / "shmtel.toml").mkdir()
    assert "shmtel.toml cannot be read: Is a directory" in wrong("reader")
    (tmp_path / "shmtel.toml").rmdir()
    (tmp_path / "shmtel.toml").write_bytes(b"[reader]\nnamespace = '\xff'")
    assert "shmtel.toml is no TOML" in wrong("reader")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-series", "0"], "--max-series"),
        (["--gauge-ttl", "-1"], "--gauge-ttl"),
        (["--include", "orders-*"], "include 'orders-*': no metric name matches it"),
        (["--exclude", ""], "exclude '': no metric name matches it"),
        (["--const-label", "env"], "expected KEY=VALUE, got 'env'"),
        (["--const-label", "env="], "expected KEY=VALUE, got 'env='"),
        (["--const-label", "le=1"], "const label 'le'"),
        (["--const-label", "__env=1"], "const label '__env'"),
        (["--const-label", "a=1", "--const-label", "a=2"], "const label 'a' is given more than once"),
        (["--const-label", "a=1\n"], "expected a printable value"),
        (["--log-level", "loud"], "--log-level"),
    ],
)
def test_settings_that_cannot_be_are_one_line(options: list[str], said: str, wrong: Wrong) -> None:
    assert said in wrong("reader", "--once", *options)


def test_a_variable_that_cannot_be_is_named(wrong: Wrong) -> None:
    assert "SHMTEL_MAX_SERIES" in wrong("reader", SHMTEL_MAX_SERIES="many")
    assert "No closing quotation" in wrong("reader", SHMTEL_CONST_LABEL="a='b")


# ---- SIGHUP ----


def reloaded(running: Running, said: Path, line: str) -> None:
    """Send SIGHUP, and wait until the log has one more line with this."""
    before = said.read_text().count(line)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: said.read_text().count(line) > before, f"the log says {line!r}")


def test_sighup_reads_the_file_again_and_a_bad_one_changes_nothing(
    namespace: str, write: Write, tmp_path: Path
) -> None:
    path, said = write('[reader]\nconst-label = ["env=old"]\nlog-level = "info"\nmax-series = 3'), tmp_path / "said"
    with (
        Telemetry("bot", namespace=namespace) as telemetry,
        reader(namespace, "--ephemeral", "--exclude", "shmtel_build_*", said=said, folder=tmp_path) as running,
    ):
        orders = telemetry.counter("orders_total", "Orders.", labels=("n",))
        orders.labels(1).inc()
        orders.labels(2).inc()
        orders.labels(3).inc()  # the reader's own series is the third
        assert labels_of(running.get("/metrics"), "shmtel_series")["env"] == "old"
        assert 'orders_total{env="old",n="overflow"} 1.0' in running.get("/metrics")

        path.write_text('[reader]\nconst-label = ["env=new"]\nlog-level = "info"\nexclude = ["orders_*"]')
        reloaded(running, said, "settings are read again")
        orders.labels(4).inc()
        text = running.get("/metrics")
        assert labels_of(text, "shmtel_series")["env"] == "new"
        assert 'orders_total{env="new",n="4"} 1.0' in text  # the bound is the default's now
        assert "shmtel_build_info" not in text  # options stay, so what the file excludes is not asked

        for bad, why in (
            ("[reader]\nnothing = 1", "no setting nothing"),
            ('[reader]\ninclude = ["a b"]', "'a b'"),
            ("[reader]\ngauge-ttl = nan", "gauge_ttl nan: expected 0 or more"),
        ):
            path.write_text(bad)
            reloaded(running, said, "settings stay as they were: ")
            assert why in said.read_text().splitlines()[-1]
            assert running.get("/metrics").count('env="new"') == text.count('env="new"')

        path.write_text('[reader]\nlisten = "127.0.0.1:1"\nephemeral = true\nlog-level = "info"')
        reloaded(running, said, "settings are read again")
        assert "listen changes" not in said.read_text()  # the option's stands
        path.unlink()
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "env" not in labels_of(running.get("/metrics"), "shmtel_series"), "defaults are back")
        assert running.end(signal.SIGTERM) == 0


def test_what_sighup_cannot_change_is_said(namespace: str, write: Write, tmp_path: Path) -> None:
    path, said = write("[reader]\nephemeral = true"), tmp_path / "said"
    with reader(namespace, said=said, folder=tmp_path) as running:
        path.write_text("[reader]\nephemeral = false\nlabel-producer = true")
        reloaded(running, said, "label-producer changes with the reader's next start only")
        assert "ephemeral changes with" in said.read_text()
        assert running.end(signal.SIGTERM) == 0
    assert not Path(f"/dev/shm/shmtel.{namespace}.@state.{os.getuid()}").exists()  # as it was started


def test_sighup_changes_when_gauges_of_the_dead_expire(namespace: str, write: Write, tmp_path: Path) -> None:
    path, said = write('[reader]\ngauge-ttl = inf\nlog-level = "info"'), tmp_path / "said"
    with reader(namespace, "--ephemeral", said=said, folder=tmp_path) as running:
        with Telemetry("bot", namespace=namespace) as telemetry:
            telemetry.gauge("depth").set(3.0)
        assert "\ndepth 3.0\n" in running.get("/metrics")
        path.write_text('[reader]\ngauge-ttl = 0\nlog-level = "info"')
        reloaded(running, said, "settings are read again")
        wait_until(lambda: "\ndepth 3.0\n" not in running.get("/metrics"), "the gauge expires")
