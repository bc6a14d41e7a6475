"""Bundles: many entries in one file, or many files that belong to entries.

An entry bundle (C2SP tlog-tiles) holds up to 256 entries in order: for each its length in two
bytes, big-endian, then its bytes. The entries `alpha` and `beta` make

    0005 616c706861  0004 62657461

An attachment bundle, a format of our own, holds files that belong to entries; the ledger does not
read them. Each file is written as the index of its entry within the bundle in one byte, its length
in four bytes, and its bytes. Indexes never decrease, and the files of an entry keep their order.
The files `x` and `yz` of entry 3 make

    03 00000001 78  03 00000002 797a

A segment holds what one commit added: entries framed as in a bundle, however many, and the files
that belong to some of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from struct import Struct
from typing import Final

from ledger.canon import MAX_ENTRY_BYTES
from ledger.errors import BadBundle, CutBundle
from ledger.tlog import TILE_WIDTH

# Four bytes can say 4 GiB. Checking one file must not take that much memory.
MAX_ATTACHMENT_BYTES: Final = 16 * 1024 * 1024
# The most of one entry. Without a limit, a terabyte of zeros would be billions of empty files.
MAX_ATTACHMENTS: Final = 64

_ENTRY: Final = Struct(">H")
_ATTACHMENT: Final = Struct(">BI")


# Files by the index of their entry, which never decreases.
Attachments = Sequence[tuple[int, Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class Segment:
    """`count` entries as a bundle, and the files of some, by index within the segment."""

    count: int
    bundle: bytes
    attachments: Attachments = ()

    @property
    def size_bytes(self) -> int:
        return len(self.bundle) + sum(len(file) for _, files in self.attachments for file in files)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    parts = []
    for number, entry in enumerate(entries):
        if len(entry) > MAX_ENTRY_BYTES:
            raise BadBundle(f"an entry of {len(entry)} bytes is too long", number)
        parts += [_ENTRY.pack(len(entry)), entry]
    return b"".join(parts)


def decode_bundle(data: bytes, count: int) -> list[bytes]:
    """Return the `count` entries of a bundle; it must end with the last of them."""
    return list(iter_bundle(data, count))


def iter_bundle(data: bytes, count: int) -> Iterator[bytes]:
    """Yield the entries up to the place where the framing breaks, then raise `BadBundle`.

    Bytes after the last entry are its fault.
    """
    size, end = len(data), 0
    for number in range(count):
        start = end + _ENTRY.size
        if start > size:
            raise CutBundle(f"the bundle ends before its entry {number}", number)
        end = start + int.from_bytes(data[end:start], "big")
        if end > size:
            raise CutBundle(f"the bundle ends within its entry {number}", number)
        if number == count - 1 and end < size:
            raise BadBundle(f"{size - end} bytes follow entry {number}", number)
        yield data[start:end]
    if end < size:
        raise BadBundle(f"{size} bytes are of no entry", 0)


def encode_attachments(attachments: Mapping[int, Sequence[bytes]]) -> bytes:
    """Return the bundle of files by index of their entry; an entry without files adds no byte."""
    return b"".join(encode_attachment(index, attachments[index]) for index in sorted(attachments))


def encode_attachment(index: int, files: Iterable[bytes]) -> bytes:
    """Return the part of a bundle that holds the files of one entry."""
    parts = []
    for place, file in enumerate(files):
        too_many = place >= MAX_ATTACHMENTS
        if not 0 <= index < TILE_WIDTH or len(file) > MAX_ATTACHMENT_BYTES or too_many:
            raise BadBundle(f"no room for {len(file)} bytes beside entry {index}", index)
        parts += [_ATTACHMENT.pack(index, len(file)), file]
    return b"".join(parts)


def decode_attachments(data: bytes) -> dict[int, list[bytes]]:
    attachments: dict[int, list[bytes]] = {}
    for index, file in iter_attachments(BytesIO(data).read, len(data)):
        attachments.setdefault(index, []).append(file)
    return attachments


def iter_attachments(read: Callable[[int], bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Yield each file with the index of its entry, from `size` bytes that `read` returns in pieces.

    Only one file at a time is in memory.
    """
    last, rest, beside = 0, size, 0
    while rest:
        header = read(min(_ATTACHMENT.size, rest))
        if len(header) < _ATTACHMENT.size:
            raise CutBundle("the bundle ends within the head of a file", last)
        index, length = _ATTACHMENT.unpack(header)
        rest -= _ATTACHMENT.size
        if index < last:
            raise BadBundle(f"a file of entry {index} follows one of entry {last}", index)
        beside = beside + 1 if index == last else 1
        if beside > MAX_ATTACHMENTS:
            raise BadBundle(f"more than {MAX_ATTACHMENTS} files are beside entry {index}", index)
        if length > MAX_ATTACHMENT_BYTES:
            raise BadBundle(f"a file of {length} bytes has no room here", index)
        if length > rest:
            raise CutBundle("the bundle ends within a file", index)
        file = read(length)
        if len(file) < length:
            raise CutBundle("the bundle ends within a file", index)
        yield index, file
        last, rest = index, rest - length
