"""One run by the three: which reason explains which difference."""

import pytest

from meter.agent.adopt import Reported
from meter.agent.compare import Sides, judge
from meter.agent.plan import Known, Slice
from meter.values.strict import Instant
from tests.agents import T0, config, run

RUN = run(1, T0, T0 + 100)
SHORTER = run(1, T0, T0 + 90)
ID = f"{RUN.id}:h100:{T0}:0"


def piece(standing: str, code: str = "") -> Slice:
    return Slice(
        id=ID,
        run=RUN.id,
        contract="A",
        device="h100",
        milli_devices=2_000,
        start=T0,
        end=T0 + 100,
        revision=0,
        state="COMPLETED",
        final=True,
        standing=standing,
        code=code,
    )


def counted(end: int = T0 + 100, id_: str = ID, voided_by: str | None = None) -> Reported:
    return Reported(id_, "A", "h100", 2_000, Instant(T0), Instant(end), voided_by=voided_by)


@pytest.mark.parametrize(
    ("told", "slice_", "record", "reason"),
    [
        (RUN, piece("held"), counted(), ""),
        (RUN, piece("sent"), None, "on_its_way"),
        (RUN, piece("sent"), counted(), "on_its_way"),
        (RUN, piece("waiting", "in_future"), None, "on_its_way"),
        (RUN, piece("refused", "unknown_device"), None, "unknown_device"),
        (RUN, piece("refused", "conflict"), counted(), "differs"),
        (RUN, piece("held"), None, "differs"),
        (RUN, piece("held"), counted(T0 + 99), "differs"),
        (RUN, piece("held"), counted(id_=f"{ID}9"), "differs"),
        (RUN, piece("held"), counted(voided_by="provider"), "differs"),
        (RUN, piece("held"), counted(voided_by="authority"), "voided"),
        (SHORTER, piece("held"), counted(voided_by="authority"), "differs"),
        (SHORTER, piece("voiding"), counted(), "on_its_way"),
        (SHORTER, piece("voiding"), counted(voided_by="provider"), "on_its_way"),
        (SHORTER, piece("held", "in_claim"), counted(), "not_voided"),
        (SHORTER, piece("void"), counted(), "differs"),
        (None, piece("held"), counted(), "gone"),
        (None, piece("held"), None, "differs"),
        (None, piece("held"), counted(voided_by="authority"), "gone"),
    ],
)
def test_a_reason(tmp_path, told, slice_, record, reason):
    records = [] if record is None else [record]
    known = Known([slice_], RUN.terms)
    found = judge(Sides(told, RUN, known, records), config(tmp_path), T0 + 4_000)
    assert (found.reason, found.is_wrong) == (reason, reason == "differs")
