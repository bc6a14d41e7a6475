"""Inclusion proofs: the hashes that lead from an entry to the root of a tree."""

from hashlib import sha256
from typing import Any

from tests.vectors.plain import ENTRIES, LEAVES, climbed, inclusion, leaf, node, root
from tests.vectors.vector import Format, Vector, bad, flipped, good

SEVEN = [leaf(b"entry %d" % number) for number in range(7)]
# Every reader of JSON keeps such an index exact.
LARGE = 2**53 - 1


def vectors() -> Format:
    return Format(
        "inclusion",
        "The hashes of an inclusion proof, 32 bytes each, joined, from the leaf's sibling upwards."
        " Check that they lead from `leaf` at `index` to `root` in a tree of `size` entries"
        " (RFC 9162 section 2.1.3.2). `hashes` of a good one are the same hashes, for comparison.",
        {},
        [*_good(), *_bad()],
    )


def _good() -> list[Vector]:
    many = [leaf(b"entry %d" % number) for number in range(257)]
    return [
        _proof("the worked example: beta among alpha, beta, gamma", 1, LEAVES),
        *(
            _proof(f"entry {index} of {size}", index, SEVEN[:size])
            for size in (1, 2, 3, 5, 6, 7)
            for index in sorted({0, size // 2, size - 1})
        ),
        _proof("the last of 257, which has one hash: of all others", 256, many),
        _proof("the last entry below a full tile of 256", 255, many),
        _proof("the first of 257", 0, many),
        good(
            "a size of another tree whose proof has the same shape: believe the signed size alone",
            b"".join(inclusion(2, SEVEN)),
            {"hashes": [value.hex() for value in inclusion(2, SEVEN)]},
            index=2,
            size=5,
            leaf=SEVEN[2].hex(),
            root=root(SEVEN).hex(),
        ),
        _made_up("index 0 of 2^53 - 1 entries: 53 hashes", 0, LARGE, 53),
        _made_up("the last of 2^53 - 1 entries: 52 hashes", LARGE - 1, LARGE, 52),
        _made_up("the middle of 2^53 - 1 entries", 2**52, LARGE, 53),
    ]


def _proof(name: str, index: int, leaves: list[bytes]) -> Vector:
    return _holding(name, index, len(leaves), leaves[index], inclusion(index, leaves))


def _made_up(name: str, index: int, size: int, count: int) -> Vector:
    """Return a proof with chosen hashes, and the root that follows from them."""
    hashes = [leaf(b"sibling %d" % number) for number in range(count)]
    return _holding(name, index, size, leaf(b"one of many"), hashes)


def _holding(name: str, index: int, size: int, at: bytes, hashes: list[bytes]) -> Vector:
    given = {"leaf": at, "root": climbed(at, index, size, hashes)}
    texts = {key: value.hex() for key, value in given.items()}
    must = {"hashes": [value.hex() for value in hashes]}
    return good(name, b"".join(hashes), must, index=index, size=size, **texts)


def _bad() -> list[Vector]:  # the proof of entry 2 of 7, with one thing wrong
    index, size, at, top = 2, 7, SEVEN[2], root(SEVEN)
    path = inclusion(index, SEVEN)

    def wrong(name: str, why: str, data: bytes = b"".join(path), **other: Any) -> Vector:
        given = {"index": index, "size": size, "leaf": at.hex(), "root": top.hex()} | other
        return bad(name, data, "bad_proof", why, **given)

    elsewhere = "the hashes lead to another root"
    length = "a tree of 7 has three hashes for this index"
    return [
        *(
            wrong(
                f"a bit of hash {place} is another",
                elsewhere,
                flipped(b"".join(path), 32 * place + 9),
            )
            for place in range(3)
        ),
        wrong("a bit of the leaf hash is another", elsewhere, leaf=flipped(at, 0).hex()),
        wrong("a bit of the root is another", elsewhere, root=flipped(top, -1).hex()),
        wrong("another index", "left and right are exchanged at some level", index=3),
        wrong("a smaller tree", "the last of 3 has one hash", size=3),
        wrong("a larger tree", "index 2 of 9 has four hashes", size=9),
        wrong("the last hash is missing", length, b"".join(path[:-1])),
        wrong("the first hash is missing", length, b"".join(path[1:])),
        wrong("no hash", length, b""),
        wrong("a hash too many", length, b"".join([*path, at])),
        wrong("the root as a hash too many", length, b"".join([*path, top])),
        wrong("hashes from the root downwards", elsewhere, b"".join(path[::-1])),
        wrong("the last byte is missing", "a hash has 32 bytes", b"".join(path)[:-1]),
        wrong("the index is the size", "the last entry has the index 6", index=7),
        wrong("a tree of none", "it has no entry at all", b"", size=0, index=0),
        wrong("no hash in a tree of one, of another leaf", elsewhere, b"", size=1, index=0),
        wrong(
            "a node in the place of a leaf",
            "the node over entries 2 and 3 is no entry, though its path leads to the root",
            b"".join(path[1:]),
            leaf=node(SEVEN[2], SEVEN[3]).hex(),
        ),
        wrong(
            "an entry hashed without its prefix",
            "a leaf hash begins with a byte 0x00 before the entry",
            b"".join(inclusion(1, LEAVES)),
            index=1,
            size=3,
            root=root(LEAVES).hex(),
            leaf=sha256(ENTRIES[1]).hexdigest(),
        ),
        wrong("65 hashes", "no tree below 2^64 entries is so high", at * 65, size=LARGE),
    ]
