"""Trees: entries in an entry bundle, their hashes, their root, and the tiles of such a log."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from tests.vectors.plain import ENTRIES, files, framed, leaf, root
from tests.vectors.vector import Format, Vector, bad, good

_NO_ROOT = {"go": "its root of a tree without entries is zeros"}
FEW = 9  # up to this many entries, each leaf hash is listed


def vectors() -> Format:
    return Format(
        "tree",
        "An entry bundle of `count` entries (a length of two bytes, big-endian, before each). Read"
        " it, and compute the leaf hashes, the root, and the SHA-256 of each file of a log that"
        " consists of these entries (RFC 9162 section 2.1, C2SP tlog-tiles). More than 256 entries"
        " are framed in the same way here; a log has them in several files.",
        {},
        [*_good(), *_bad()],
    )


def _good() -> list[Vector]:
    numbered = [b"entry %d" % number for number in range(600)]
    return [
        _tree("the worked example: alpha, beta, gamma", ENTRIES),
        _tree("no entry: the root is the hash of nothing", [], _NO_ROOT),
        *(_tree(f"a tree of {size}", numbered[:size]) for size in range(1, FEW + 1)),
        _tree("an entry without bytes is an entry", [b"", b"x", b""]),
        _tree("two equal entries have equal leaves", [b"same", b"same"]),
        _tree("an entry that looks like two hashes with a prefix", [b"\x01" + bytes(64), b"x"]),
        _tree("an entry of 300 bytes: both bytes of its length count", [b"a" * 300]),
        _tree("255 entries: the last size with one partial tile", numbered[:255]),
        _tree("256 entries: a full tile, and one hash above it", numbered[:256]),
        _tree("257 entries: a full tile and a partial one of width 1", numbered[:257]),
        _tree("600 entries: two full tiles and a partial one", numbered),
    ]


def _tree(name: str, entries: list[bytes], strict: Mapping[str, str] | None = None) -> Vector:
    leaves = [leaf(entry) for entry in entries]
    must: dict[str, Any] = {"root": root(leaves).hex()}
    if len(entries) <= FEW:
        must["leaves"] = [value.hex() for value in leaves]
    must["files"] = {path: sha256(data).hexdigest() for path, data in files(entries).items()}
    return good(name, framed(*entries), must, strict, count=len(entries))


def _bad() -> list[Vector]:
    three = framed(*ENTRIES)

    def broken(name: str, data: bytes, why: str, count: int = 3) -> Vector:
        return bad(name, data, "bad_bundle", why, count=count)

    def cut(name: str, data: bytes, why: str) -> Vector:
        return bad(name, data, "incomplete_file", why, count=3)

    return [
        cut("no bytes where there are entries", b"", "the first length is missing"),
        cut("the last byte is missing", three[:-1], "the last entry is shorter than it says"),
        broken("a byte too many", three + b"\0", "nothing follows the last entry"),
        broken("an entry too many", three + framed(b"x"), "nothing follows the last entry"),
        cut("an entry too few", framed(*ENTRIES[:2]), "the third length is missing"),
        cut("half a length at the end", framed(*ENTRIES[:2]) + b"\0", "a length has two bytes"),
        cut("a length and no entry", framed(*ENTRIES[:2]) + b"\0\5", "its five bytes are missing"),
        cut(
            "lengths in little-endian order",
            b"".join(len(entry).to_bytes(2, "little") + entry for entry in ENTRIES),
            "0x0500 is a length of 1,280",
        ),
        broken("bytes where there is no entry", framed(b""), "the bundle of no entry is empty", 0),
    ]
