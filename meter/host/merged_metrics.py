"""The metrics of several processes of one service, added up.

All have the same families, as they run the same code; each figure is counted by one process, or by
each for its own part. So a sample of the whole is the sum over the processes.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.utils import floatToGoString

_BEGIN: Final = re.compile(rb"(?m)^(?=# HELP )")
_HEAD_LINES: Final = 2  # what it is, and its kind


def merged(texts: Iterable[bytes]) -> bytes:
    """Return the sums of metrics in the text format, family by family."""
    sums: dict[bytes, dict[bytes, float]] = {}
    for text in texts:
        for head, lines in _families(text):
            samples = sums.setdefault(head, {})
            for line in lines:
                sample, _, value = line.rpartition(b" ")
                samples[sample] = samples.get(sample, 0.0) + float(value)
    return b"".join(
        head + b"".join(b"%s %s\n" % (sample, _spelled(samples[sample])) for sample in samples)
        for head, samples in sums.items()
    )


def counted(text: bytes) -> bytes:
    """Return what a process that has ended leaves behind: what it counted, not how it stood."""
    return b"".join(
        head + b"".join(line + b"\n" for line in lines)
        for head, lines in _families(text)
        if not head.endswith(b" gauge\n")
    )


def _families(text: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield the head of each family and the lines of its samples."""
    for family in _BEGIN.split(text)[1:]:
        lines = family.splitlines()
        yield b"\n".join(lines[:_HEAD_LINES]) + b"\n", lines[_HEAD_LINES:]


def _spelled(value: float) -> bytes:
    spelled: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return spelled.encode()
