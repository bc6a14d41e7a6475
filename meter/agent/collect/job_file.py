"""Read runs from a file of jobs: CSV, or JSON lines, one job a line (`columns.py` has the mapping).

A file only grows: what was read is not read again, and a last line without its end waits. The last
line of a run counts; one that begins at another time is another job under the same name, and not
chosen from. A line that cannot be read is kept with its number and the reason, and stops no other.
"""

import csv
import json
import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import Struct

from meter.agent.collect.columns import Layout, run_of
from meter.agent.usage import BadLine, FilePart, Reading, Run, first_end
from meter.values.strict import convert_texts
from meter.values.text import check_texts

MAX_LINES: Final = 20_000  # of one reading
MAX_LINE_BYTES: Final = 1 << 20
_SHIPPED: Final = re.compile(r"[a-z0-9-]+")
_SHOWN: Final = 200  # characters of a line that cannot be read
_BOM: Final = b"\xef\xbb\xbf"


class Cursor(Struct, frozen=True):
    """How far a file was read: the bytes, the lines, and the header's columns.

    `layout` is of the mapping, `head` of the first lines: where either is another one, or the file
    is shorter, it is read from its beginning.
    """

    layout: str
    head: str
    offset: int
    line: int
    header: Sequence[str]


def read_layout(place: Path) -> Layout:
    """Return the mapping in a file, or the one of this name that comes with the package.

    Raises `ValueError`, whose text names the place, and `OSError`.
    """
    if _SHIPPED.fullmatch(place.name) and not place.exists():
        shipped = files("meter.agent") / "mappings" / f"{place.name}.toml"
        text = shipped.read_text(encoding="utf-8")
    else:
        text = place.read_text(encoding="utf-8")
    try:
        fields = tomllib.loads(text)
        check_texts(fields)
        layout = convert_texts(fields, Layout)
        layout.check()
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return layout


def read(file: Path, mapping: Path, cursor: str | None, max_lines: int = MAX_LINES) -> Reading:
    """Return the runs that a file tells, from where the last reading ended."""
    now = int(time.time())
    try:
        layout = read_layout(mapping)
        with file.open("rb") as stream:
            part, runs, end = _read(stream, layout, cursor, max_lines)
    except (OSError, ValueError) as error:
        return Reading(at=now, since=now, runs={}, faults=(str(error),))
    since = first_end(runs.values(), now)
    return Reading(at=now, since=since, runs=runs, cursor=end, part=part)


def _read(
    stream: BinaryIO, layout: Layout, cursor: str | None, max_lines: int
) -> tuple[FilePart, dict[str, Run], str]:
    known = None if not cursor else msgspec.json.decode(cursor, type=Cursor)
    start = _start(stream, layout)
    is_anew = known is None or not _goes_on(stream, known, start)
    here = start if known is None or is_anew else known
    stream.seek(here.offset)
    runs: dict[str, Run] = {}
    bad: list[BadLine] = []
    offset, number = here.offset, here.line
    for line, length in _lines(stream, max_lines):
        offset, number = offset + length, number + 1
        try:
            values = _values(layout, here.header, line.removeprefix(_BOM))
            run = None if values is None else run_of(layout, values)
        except ValueError as error:
            bad.append(BadLine(number, str(error), _shown(line)))
            continue
        if run is not None:
            runs[run.id] = _newer(runs.get(run.id), run)
    end = Cursor(start.layout, start.head, offset, number, here.header)
    part = FilePart(
        source=start.head,
        is_anew=is_anew,
        has_more=number - here.line == max_lines,
        bad=tuple(bad),
    )
    return part, runs, msgspec.json.encode(end).decode() if start.head else ""


def _newer(before: Run | None, run: Run) -> Run:
    """Return what two lines say of a run; jobs that began at two times have one name."""
    is_one = before is None or (before.begin == run.begin and before.standing != "twice")
    return run if is_one else replace(run, standing="twice")


def _shown(line: bytes) -> str:
    """Return how a line begins, for a person's terminal."""
    text = line[:_SHOWN].decode(errors="replace").strip()
    return "".join(each if each.isprintable() else "?" for each in text)


def _start(stream: BinaryIO, layout: Layout) -> Cursor:
    """Return the cursor of a file's beginning; its `head` is empty while there is no whole line.

    Raises `ValueError` where a column is missing.
    """
    digest = sha256(msgspec.json.encode(layout, enc_hook=int)).hexdigest()
    stream.seek(0)
    first = stream.readline(MAX_LINE_BYTES)
    if layout.form == "jsonl":
        head = sha256(first).hexdigest() if _is_settled(first) else ""
        return Cursor(digest, head, 0, 0, ())
    second = stream.readline(MAX_LINE_BYTES)
    try:
        header = _cells(first.removeprefix(_BOM))
    except ValueError as error:
        raise ValueError(f"line 1: {error}") from None
    missing = sorted(layout.columns.names() - set(header))
    if missing:
        raise ValueError(f"line 1 has no column {', '.join(missing)}")
    if len(set(header)) < len(header):
        raise ValueError("line 1 has a column twice")
    head = sha256(first + second).hexdigest() if _is_settled(second) else ""
    return Cursor(digest, head, len(first), 1, header)


def _is_settled(line: bytes) -> bool:
    """Return whether what was read of a line stays as it is when the file grows."""
    return line.endswith(b"\n") or len(line) == MAX_LINE_BYTES


def _goes_on(stream: BinaryIO, known: Cursor, start: Cursor) -> bool:
    """Return whether a file is the one that was read, by the same mapping, and not shorter."""
    length = stream.seek(0, 2)
    return (known.layout, known.head) == (start.layout, start.head) and length >= known.offset


def _lines(stream: BinaryIO, max_lines: int) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines and their lengths; one that is too long is cut."""
    for _ in range(max_lines):
        line = rest = stream.readline(MAX_LINE_BYTES + 1)
        length = len(line)
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 1)
            length += len(rest)
        if not rest.endswith(b"\n"):
            return
        yield line, length


def _values(layout: Layout, header: Sequence[str], line: bytes) -> dict[str, str] | None:
    """Return the cells of a line by column, or None for an empty line. Raises `ValueError`."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a line has more than {MAX_LINE_BYTES} bytes")
    if not line.strip():
        return None
    if layout.form == "jsonl":
        return _members(layout, line)
    cells = _cells(line)
    if len(cells) != len(header):
        raise ValueError(f"it has {len(cells)} cells, and the first line {len(header)}")
    return dict(zip(header, cells, strict=True))


def _cells(line: bytes) -> list[str]:
    """Return the cells of a line of CSV. A cell with a line feed is not read."""
    text = line.decode("utf-8").rstrip("\r\n")
    try:
        (cells,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"not a line of CSV: {error}") from None
    return [each.strip() for each in cells]


def _members(layout: Layout, line: bytes) -> dict[str, str]:
    """Return the wanted members of a line of JSON, as text; null is empty."""
    try:
        found = json.loads(line, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("not an object of JSON")  # noqa: TRY004 - a fault of the line
    return {name: _plain(name, found) for name in layout.columns.names()}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member stands twice in an object")
    return found


def _plain(name: str, found: dict[str, Any]) -> str:
    value = found.get(name, "")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} is neither a text nor a number")  # noqa: TRY004 - the same
    return str(value).strip()
