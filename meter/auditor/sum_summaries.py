"""Summaries of days in the independent sums: the figures that an entry states are those of then.

A part of `auditor.sums`; nothing of the core is used here. What a provider told is in its envelope,
which the sums do not read: of that, what an entry states must fit together.
"""

from datetime import date
from typing import Any, Final

from ledger.errors import Violation
from meter.auditor.sum_meters import Provider
from meter.auditor.sum_records import Figures, Records

_MOST_NAMED: Final = 20
_SCHEDULER: Final = ("reported", "refused", "quarantined", "doubtful", "ignored")


class Summaries:
    """The newest summary of each stream's day."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str, str], int] = {}

    def entry(
        self, number: int, fields: dict[str, Any], provider: Provider, records: Records
    ) -> None:
        """Compare a summary with the records so far. Raises `Violation`."""
        name = fields["provider"], fields["stream"], fields["day"]
        _agree(number, "the entry before it", fields.get("replaces"), self._newest.get(name))
        self._newest[name] = number
        day = date.fromisoformat(fields["day"]).toordinal()
        found = records.figures(provider, fields["stream"], day)
        sums = [sum(column) for column in zip(*found.values(), strict=True)] or [0, 0]
        stated = [fields["records"], fields["device_seconds"]]
        _agree(number, "the ledger's figures", stated, [sums[0], _seconds(sums[1])])
        self._check_lines(number, fields, found)
        told = fields["scheduler"]
        total = [sum(told[name][place] for name in _SCHEDULER) for place in (0, 1)]
        _agree(number, "the scheduler's total", told["total"], total)

    @staticmethod
    def _check_lines(number: int, fields: dict[str, Any], found: Figures) -> None:
        """Compare the lines that differ, and what all lines of the provider come to."""
        differs = fields["differs"]
        lines = [(contract, device) for contract, device, *_ in differs]
        _agree(number, "the order of lines", lines, sorted(set(lines)))
        named = min(fields["differing"], _MOST_NAMED)
        _agree(number, "the lines that differ", len(differs), named)
        records, thousandths, more = 0, 0, 0
        for contract, device, *figures in differs:
            ours, theirs = figures[:2], figures[2:]
            count, time = found.get((contract, device), [0, 0])
            _agree(number, f"{contract}, {device}", ours, [count, _seconds(time)])
            if ours == theirs:
                raise Violation("sum_summary", f"{contract}, {device} does not differ", number)
            records += theirs[0] - ours[0]
            thousandths += _thousandths(theirs[1]) - _thousandths(ours[1])
            more += not count
        if fields["differing"] > _MOST_NAMED:
            return  # the others are not named
        _agree(number, "the number of lines", fields["lines"], len(found) + more)
        told = fields["told_records"], _thousandths(fields["told_device_seconds"])
        held = fields["records"], _thousandths(fields["device_seconds"])
        _agree(number, "what was told", told, (held[0] + records, held[1] + thousandths))


def _seconds(thousandths: int) -> str:
    return f"{thousandths // 1_000}.{thousandths % 1_000:03d}"


def _thousandths(text: str) -> int:
    return int(text.replace(".", ""))


def _agree(number: int, what: str, stated: object, ours: object) -> None:
    if stated != ours:
        detail = f"{what} of a summary: {stated!r:.200}, not {ours!r:.200}"
        raise Violation("sum_summary", detail, number)
