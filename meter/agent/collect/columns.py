"""What the columns of a file of jobs are, and the run that a line of it tells: pure.

    name = "bills"                        # in each run's id: `file:bills:<run>`
    form = "csv"                          # or "jsonl"
    time = "iso"                          # with a zone; or "seconds", since `origin` or 1970

    [columns]
    run = ["job", "attempt"]              # one or several, which name a run for ever
    devices = "cards"                     # how many; "0.25" is a quarter of one
    start = "started_at"                  # empty: it never ran
    end = "ended_at"                      # empty: it is not known yet

    [constants]
    account = "acc-a"                     # what each line has, where no column tells it
    resource = "gpu"

`partition`, `state` and `milli` (the thousandths that were held of each device) may be told too.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from meter.agent.devices import THOUSANDTHS
from meter.agent.usage import Run
from meter.values.strict import Id, Instant
from meter.values.text import check_text
from meter.values.units import parse_instant

_NAME: Final = re.compile(r"[\x21-\x7e]{1,80}")
_RESOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")
_SECONDS: Final = re.compile(r"([0-9]{1,12})(?:\.0+)?", re.ASCII)
_DEVICES: Final = re.compile(r"([0-9]{1,6})(?:\.([0-9]{1,3})0*)?", re.ASCII)
_TEXT_LENGTH: Final = 200
_STATE_LENGTH: Final = 128

Column = Annotated[str, Meta(min_length=1, max_length=200)]
Names = Annotated[Sequence[Column], Meta(min_length=1)]


class Columns(Struct, frozen=True, forbid_unknown_fields=True, rename={"of_run": "run"}):
    """The names of columns."""

    of_run: Column | Names
    start: Column
    end: Column
    account: Column | None = None
    partition: Column | None = None
    resource: Column | None = None
    devices: Column | None = None
    milli: Column | None = None
    state: Column | None = None

    @property
    def run(self) -> Sequence[str]:
        return [self.of_run] if isinstance(self.of_run, str) else self.of_run

    def names(self) -> set[str]:
        """Return the columns that a file has to have."""
        single = (getattr(self, name) for name in (*_TEXTS, "start", "end"))
        return {*self.run, *(name for name in single if name is not None)}


class Constants(Struct, frozen=True, forbid_unknown_fields=True):
    """What each line has where no column tells it."""

    account: str | None = None
    partition: str = ""
    resource: str | None = None
    devices: str | int | None = None
    milli: int = 1_000
    state: str = "ENDED"


_TEXTS: Final = tuple(Constants.__struct_fields__)


class Layout(Struct, frozen=True, forbid_unknown_fields=True):
    """The form of a file and its columns."""

    name: Id
    form: Literal["csv", "jsonl"]
    time: Literal["seconds", "iso"]
    columns: Columns
    constants: Constants = Constants()
    origin: Instant = Instant(0)

    def check(self) -> None:
        """Raise `ValueError` where neither a column nor a constant tells something."""
        missing = [
            name
            for name in _TEXTS
            if getattr(self.columns, name) is None and getattr(self.constants, name) is None
        ]
        if missing:
            raise ValueError(f"neither a column nor a constant tells {', '.join(missing)}")


def run_of(layout: Layout, line: Mapping[str, str]) -> Run | None:
    """Return the run of a line, or None where it never ran. Raises `ValueError`."""
    texts = {name: _text(layout, name, line) for name in _TEXTS}
    name = ":".join(line[each] for each in layout.columns.run)
    if not _NAME.fullmatch(name):
        raise ValueError(f"a run's name is 1 to 80 visible ASCII characters: {name!r:.100}")
    begin = _instant(layout, line[layout.columns.start])
    end = _instant(layout, line[layout.columns.end])
    if begin is None:
        return None
    if end is not None and end < begin:
        raise ValueError("it ends before it begins")
    return Run(
        id=f"file:{layout.name}:{name}",
        account=texts["account"],
        partition=texts["partition"],
        state=texts["state"][:_STATE_LENGTH],
        allocation=_allocation(texts["resource"], texts["devices"], texts["milli"]),
        begin=begin,
        end=end,
        ran=0 if end is None else end - begin,
        was_suspended=False,
        standing="doubtful" if end is None else "ended",
    )


def _text(layout: Layout, name: str, line: Mapping[str, str]) -> str:
    column = getattr(layout.columns, name)
    text = str(getattr(layout.constants, name)) if column is None else line[column]
    check_text(text)
    if len(text) > _TEXT_LENGTH:
        raise ValueError(f"{name} is longer than {_TEXT_LENGTH} characters")
    return text


def _instant(layout: Layout, text: str) -> int | None:
    if not text:
        return None
    if layout.time == "iso":
        return parse_instant(text)
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise ValueError(f"not a number of seconds: {text!r:.80}")
    return layout.origin + int(found[1])


def _allocation(resource: str, devices: str, milli: str) -> str:
    """Return what a run held, as `devices.py` reads it."""
    if not _RESOURCE.fullmatch(resource):
        raise ValueError(f"not the name of a resource: {resource!r:.120}")
    count, share = _DEVICES.fullmatch(devices), _SECONDS.fullmatch(milli)
    if count is None:
        raise ValueError(f"not a number of devices: {devices!r:.80}")
    if share is None or int(share[1]) > 1_000:
        raise ValueError(f"not the thousandths of a device: {milli!r:.80}")
    held = (int(count[1]) * 1_000 + int((count[2] or "").ljust(3, "0"))) * int(share[1])
    if held % 1_000:
        raise ValueError(f"{devices} × {milli} is no whole number of thousandths")
    return f"{THOUSANDTHS}{resource}={held // 1_000}" if held else ""
