"""Consistency proofs: hashes that show that a tree begins with the whole of an older one."""

from hashlib import sha256
from typing import Any

from tests.vectors.plain import LEAVES, consistency, leaf, root
from tests.vectors.vector import Format, Vector, bad, flipped, good

EIGHT = [leaf(b"entry %d" % number) for number in range(8)]
EMPTY = sha256(b"").digest()
_NO_EMPTY_TREE = {"go": "it knows no proof from a tree without entries"}


def vectors() -> Format:
    return Format(
        "consistency",
        "The hashes of a consistency proof, 32 bytes each, joined, in the order of RFC 9162."
        " Check that the tree of `new_size` entries and `new_root` begins with all entries of that"
        " of `old_size` and `old_root` (section 2.1.4.2). Every tree begins with the empty one, and"
        " each with itself; both proofs are empty. `hashes` of a good one are the same hashes.",
        {},
        [*_good(), *_bad()],
    )


def _good() -> list[Vector]:
    many = [leaf(b"entry %d" % number) for number in range(257)]
    sizes = [(1, 2), (1, 8), (2, 5), (3, 7), (4, 7), (4, 8), (6, 8), (7, 8)]
    return [
        _proof("the worked example: from 2 to 3", 2, LEAVES),
        *(_proof(f"from {old} to {new}", old, EIGHT[:new]) for old, new in sizes),
        _proof("from 255 to 257", 255, many),
        _proof("from a full tile of 256 to 257", 256, many),
        _proof("a tree begins with itself", 8, EIGHT),
        _proof("a tree of one begins with itself", 1, EIGHT[:1]),
        _proof("every tree begins with the empty one", 0, EIGHT, strict=_NO_EMPTY_TREE),
        _proof("the empty tree begins with itself", 0, [], strict=_NO_EMPTY_TREE),
    ]


def _proof(name: str, old: int, leaves: list[bytes], **more: Any) -> Vector:
    hashes = consistency(old, leaves)
    must = {"hashes": [value.hex() for value in hashes]}
    return good(name, b"".join(hashes), must, **more, **_given(old, leaves))


def _given(old: int, leaves: list[bytes]) -> dict[str, Any]:
    return {
        "old_size": old,
        "old_root": root(leaves[:old]).hex(),
        "new_size": len(leaves),
        "new_root": root(leaves).hex(),
    }


def _bad() -> list[Vector]:  # the proof from 3 to 7 entries, with one thing wrong
    grown = consistency(3, EIGHT[:7])
    same = {"old_size": 7, "old_root": root(EIGHT[:7]).hex()}
    none = {"old_size": 0, "old_root": EMPTY.hex()}

    def wrong(name: str, why: str, data: bytes = b"".join(grown), **other: Any) -> Vector:
        return bad(name, data, "bad_proof", why, **(_given(3, EIGHT[:7]) | other))

    elsewhere = "the hashes lead to another root"
    length = "a proof from 3 to 7 has four hashes"
    forked = [EIGHT[0], leaf(b"another entry"), *EIGHT[2:7]]
    return [
        *(
            wrong(
                f"a bit of hash {place} is another", elsewhere, flipped(b"".join(grown), 32 * place)
            )
            for place in range(4)
        ),
        wrong(
            "a bit of the old root is another",
            "the old tree was another",
            old_root=flipped(root(EIGHT[:3]), 5).hex(),
        ),
        wrong(
            "a bit of the new root is another",
            "the new tree is another",
            new_root=flipped(root(EIGHT[:7]), 5).hex(),
        ),
        wrong(
            "a fork: the new tree has another entry 1",
            "only its other entries are those of the old tree",
            b"".join(consistency(3, forked)),
            new_root=root(forked).hex(),
        ),
        wrong("another old size", "its proof has another shape", old_size=2),
        wrong("another new size", "its proof has another shape", new_size=4),
        wrong("the last hash is missing", length, b"".join(grown[:-1])),
        wrong("the first hash is missing", length, b"".join(grown[1:])),
        wrong("no hash", length, b""),
        wrong("a hash too many", length, b"".join([*grown, EIGHT[0]])),
        wrong("the hashes in the other order", elsewhere, b"".join(grown[::-1])),
        wrong("the last byte is missing", "a hash has 32 bytes", b"".join(grown)[:-1]),
        wrong(
            "the old root before the proof from 4 entries",
            "where the old tree is perfect, its root is left out",
            root(EIGHT[:4]) + b"".join(consistency(4, EIGHT[:7])),
            **_given(4, EIGHT[:7]),
        ),
        wrong("the old tree is the larger one", "a log never shrinks", old_size=7, new_size=3),
        wrong("one size and two roots", "that is a fork", b"", **{**same, "old_root": EMPTY.hex()}),
        wrong("one size, and a hash", "a tree begins with itself without proof", EIGHT[0], **same),
        wrong("from the empty tree, with a hash", "that needs no proof", EIGHT[0], **none),
        wrong(
            "from an empty tree of another root",
            "the root of no entry is the hash of nothing",
            b"",
            **{**none, "old_root": bytes(32).hex()},
        ),
        wrong(
            "two empty trees of another root",
            "the root of no entry is the hash of nothing",
            b"",
            **{**none, "old_root": bytes(32).hex(), "new_size": 0, "new_root": bytes(32).hex()},
        ),
    ]
