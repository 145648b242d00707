"""Coverage-guided fuzzing of definitions: an input is a YAML file that an ingester reads again.

Wanted: it is refused in one line, and the ingester goes on as before; or what it defines is taken from all its bots.
"""

import atheris
from harness import fuzz, telemetry

with atheris.instrument_imports(include=["shmtelemetry.sources", "yaml"]):
    from shmtelemetry.sources.definitions import Definitions, parse
    from shmtelemetry.sources.recorder import Recorder

BEFORE = parse(b"metrics: [{name: before_seconds, type: histogram, message: before, labels: [a]}]")


def message(definitions: Definitions, bot: str) -> list[str]:
    """A message of each type that a bot may send."""
    return [":".join([kind, *means.labels, "1"]) for kind, means in definitions.kinds(bot).items()]


def take(stored: bytes) -> None:
    try:
        definitions = parse(stored)
    except ValueError as error:
        assert str(error).isprintable(), repr(str(error))
        return
    with telemetry() as made:
        recorder = Recorder(made, BEFORE)
        try:
            recorder.define(definitions)
        except ValueError as error:
            assert str(error).isprintable(), repr(str(error))
            definitions = BEFORE
        for bot in ("own", *definitions._of_bot):
            for text in message(definitions, bot):
                recorder.text(recorder.bot(bot), text)


fuzz(take)
