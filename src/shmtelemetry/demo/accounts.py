"""What became of every record of the demo, told by those who wrote them and by the one who read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields

from shmtelemetry.aggregate.snapshot import ProducerTotals
from shmtelemetry.demo.services import Report


@dataclass(frozen=True)
class Account:
    """One producer's records: attempted is what the service counted, the other terms say where they went.

    consumed, in_ring and aborted come from the reader; coalesced, dropped, overwritten and rejected from the
    producer. holds says whether the terms add up to attempted, and the producer's own counter to the same.
    """

    name: str
    attempted: int
    consumed: int
    in_ring: int
    coalesced: int
    dropped: int
    overwritten: int
    rejected: int
    aborted: int
    holds: bool


def settle_account(read: ProducerTotals, report: Report | None) -> Account:
    """The account of a producer that has ended and of which the reader has read everything.

    read: what the reader knows.
    report: what the service said in the end; None of one that was killed: then all is as the reader found it.
    """
    stats = read if report is None else report.stats
    attempted = read.attempted if report is None else report.emits
    dropped = sum(stats.dropped.values())
    told = stats.coalesced + dropped + stats.overwritten + stats.rejected
    accounted = read.consumed + read.in_ring + told + read.aborted
    return Account(
        name=read.name,
        attempted=attempted,
        consumed=read.consumed,
        in_ring=read.in_ring,
        coalesced=stats.coalesced,
        dropped=dropped,
        overwritten=stats.overwritten,
        rejected=stats.rejected,
        aborted=read.aborted,
        holds=attempted == stats.attempted == accounted,
    )


def table(accounts: Sequence[Account]) -> str:
    """All accounts as lines of text, with every term in a column of its own."""
    titles = [field.name for field in fields(Account)]
    rows = [titles, *([_cell(value) for value in astuple(account)] for account in accounts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    return "\n".join(_line(row, widths) for row in rows)


def as_rows(accounts: Iterable[Account]) -> list[dict[str, object]]:
    """All accounts as JSON takes them."""
    return [asdict(account) for account in accounts]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join((name, *numbers))
