"""Coverage-guided fuzzing of column maps: an input is a TOML file.

Wanted: it is refused in one line; or a file with these columns can be ingested, and a reader reads its records.
"""

import atheris
from harness import NAMESPACE, File, fuzz, telemetry

with atheris.instrument_imports(include=["shmtelemetry.sources", "shmtelemetry.schema", "tomllib"]):
    from shmtelemetry import Producer, Reader
    from shmtelemetry.sources.csv import files
    from shmtelemetry.sources.csv.columns import MAX_COLUMNS, read_columns
    from shmtelemetry.sources.csv.feed import Feed
    from shmtelemetry.sources.intake import Intake

toml, rows = File(), File()


def take(stored: bytes) -> None:
    try:
        columns = read_columns(toml.write(stored))
        columns.schema.metrics("columns")
    except ValueError as error:
        assert str(error).isprintable(), repr(str(error))
        return
    assert 0 < len(columns.names) <= MAX_COLUMNS
    with (
        telemetry() as made,
        Producer("columns", columns.schema, NAMESPACE, capacity=8) as producer,
        Reader(NAMESPACE, ephemeral=True) as reader,
        files.File(rows.write(b",".join([b"1"] * len(columns.names)) + b"\n")) as file,
    ):
        feed = Feed(columns, producer, Intake(made, "csv"), 0, lambda _: False, print)
        assert feed.take(file, file.read(0))
        assert feed.rows == 1
        reader.poll()
        assert reader.snapshot().producers["columns"].consumed == 1


fuzz(take)
