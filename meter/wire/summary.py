"""The summary of a day, which a batch may carry, and the service's answer to it in the receipt.

     "summary":{"day":"2026-11-28",
       "usage":[{"contract":"TC-2026-0001","device":"h100","records":96,
         "device_seconds":"691200.000"}],
       "scheduler":{"reported":{"runs":12,"seconds":402310},"refused":{"runs":0,"seconds":0},
         "quarantined":{"runs":1,"seconds":2},"doubtful":{"runs":0,"seconds":0},
         "ignored":{"runs":3,"seconds":811},"total":{"runs":16,"seconds":403123}}}

`usage` is what the records of the batch's own stream come to on a Shanghai day, by contract and
device kind: those that were accepted, in this batch or any before it, and were not taken back. A
record that crosses midnight counts on each day that it touches, with its part of the time. A line
without records is left out.

`scheduler` is what the scheduler knows of that day: its runs, and the seconds within the day that
they had; `total` is the sum of the others. What is `refused` was reported and is not accepted; what
is `quarantined`, `doubtful` or `ignored` was never reported. The service keeps it, and cannot check
it.

The receipt of such a batch has one member more, after its results, with the ledger's own figures:

     "summary":{"status":"agreed","entry":57,"usage":[…]}
     "summary":{"status":"differs","entry":57,"replaces":41,"usage":[…]}
     "summary":{"status":"rejected","code":"in_future","detail":"…"}

`entry` is its place in the ledger, `replaces` that of the newest summary before it of the same
stream and day. Of more than 5,000 lines, `usage` there has the first.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from meter.values.strict import Date, DeviceSeconds, Id

MAX_LINES: Final = 5_000
_Count = Annotated[int, Meta(ge=0, le=10**9)]
_Seconds = Annotated[int, Meta(ge=0, le=10**15)]


class UsageTold(Struct, frozen=True, forbid_unknown_fields=True):
    """What the records of one contract and device kind come to on the day."""

    contract: Id
    device: Id
    records: Annotated[int, Meta(ge=1, le=10**9)]
    device_seconds: DeviceSeconds


class Runs(Struct, frozen=True, forbid_unknown_fields=True):
    """Runs of the scheduler, and the seconds of the day that they had."""

    runs: _Count
    seconds: _Seconds


class Scheduler(Struct, frozen=True, forbid_unknown_fields=True):
    """The scheduler's runs of the day by what became of them."""

    reported: Runs
    refused: Runs
    quarantined: Runs
    doubtful: Runs
    ignored: Runs
    total: Runs

    @property
    def parts(self) -> list[Runs]:
        """All but the total."""
        return [self.reported, self.refused, self.quarantined, self.doubtful, self.ignored]


class Summary(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream reported of a Shanghai day, and what the scheduler knows of it."""

    day: Date
    usage: list[UsageTold]
    scheduler: Scheduler


class UsageFound(Struct, frozen=True):
    """What the ledger's records of one contract and device kind come to on the day."""

    contract: str
    device: str
    records: int
    device_seconds: str


class SummaryTaken(Struct, frozen=True):
    """The ledger's figures of the day, and whether they are those of the summary."""

    status: Literal["agreed", "differs"]
    entry: int
    usage: list[UsageFound]
    replaces: int | UnsetType = UNSET


class SummaryRejected(Struct, frozen=True):
    """A summary of a day that is not over by the ledger's clock."""

    status: Literal["rejected"]
    code: Literal["in_future"]
    detail: str


SummaryResult = SummaryTaken | SummaryRejected


def check_summary(summary: Summary) -> None:
    """Raise `ValueError` where lines of a summary are about the same, or its total is no sum."""
    if len({(each.contract, each.device) for each in summary.usage}) < len(summary.usage):
        raise ValueError("two lines of the summary have one contract and device - at `$.summary`")
    told = summary.scheduler
    sums = [sum(each.runs for each in told.parts), sum(each.seconds for each in told.parts)]
    if sums != [told.total.runs, told.total.seconds]:
        raise ValueError("the total is not the sum of the others - at `$.summary.scheduler`")


def parse_summary_result(fields: object) -> SummaryResult:
    """Return the answer to a summary from its plain fields. Raises `ValueError`."""
    is_rejected = isinstance(fields, dict) and fields.get("status") == "rejected"
    if is_rejected:
        return msgspec.convert(fields, SummaryRejected)
    return msgspec.convert(fields, SummaryTaken)
