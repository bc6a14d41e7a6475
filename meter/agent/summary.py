"""The daily summary: what the stream reported of a Shanghai day, and what its scheduler knows.

Two hours after a day, when all that was sent is answered, the agent sums it up (`wire/summary.py`),
and the service answers with the ledger's figures. Where a slice of such a day is taken or taken
back later, the day is summed up again. The first day is that of the agent's first reading.

What is reported is counted from the slices that the ledger has, the scheduler's total from its
runs; a run counts once, by the first of these that is so:

    quarantined   it waits for the map or for Slurm, though a part of it may be reported
    doubtful      it has no end, and does not run
    refused       the service does not take a slice of the day
    reported      the ledger has slices of it
    ignored       it held no device of the map, or the map leaves it out
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from meter.agent.store import RunOfDay, Spool
from meter.values.units import day_of, day_start, format_date, format_device_seconds

DELAY_SECONDS: Final = 2 * 3_600  # after the end of a day: its last slices are reported by then
RETRY_SECONDS: Final = 3_600  # until a summary is sent again that the service found too early
MAX_SUMMARIES: Final = 35  # of a round, after a long time without one
_STANDINGS: Final = ("reported", "refused", "quarantined", "doubtful", "ignored")


def due_days(spool: Spool, at: int) -> list[int]:
    """Return the days to be summed up at an instant (seconds), the oldest first."""
    first = spool.fact("first_day")
    if first is None:
        return []
    last = day_of(at - DELAY_SECONDS) - 1
    known = spool.summed_up(at - RETRY_SECONDS)
    days = (day for day in range(int(first), last + 1) if known.get(day, True))
    return list(islice(days, MAX_SUMMARIES))


def summary_of(spool: Spool, day: int) -> Mapping[str, Any]:
    """Return the summary of a day, counted from 1970-01-01, as the JSON of a batch has it."""
    begin, end = day_start(day), day_start(day + 1)
    counted = {name: [0, 0] for name in _STANDINGS}
    for run in spool.runs_of_day(begin, end):
        sums = counted[_standing(run)]
        sums[0] += 1
        sums[1] += run.seconds
    counted["total"] = list(spool.total_of_day(begin, end))
    return {
        "day": format_date(begin),
        "usage": [
            {
                "contract": contract,
                "device": device,
                "records": records,
                "device_seconds": format_device_seconds(time),
            }
            for contract, device, records, time in spool.usage_of_day(begin, end)
        ],
        "scheduler": {
            name: {"runs": runs, "seconds": seconds} for name, (runs, seconds) in counted.items()
        },
    }


def _standing(run: RunOfDay) -> str:
    if run.is_quarantined:
        return "quarantined"
    if run.is_doubtful:
        return "doubtful"
    if run.is_refused:
        return "refused"
    return "reported" if run.is_reported else "ignored"
