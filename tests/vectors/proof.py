"""Proof files: an entry's hashes and a checkpoint, in one text (C2SP tlog-proof)."""

from typing import Any

from tests.vectors.plain import (
    ENTRIES,
    LEAVES,
    LOG,
    OTHER_LOG,
    SECONDS,
    TEXT,
    WITNESS,
    base64,
    checkpoint,
    inclusion,
    leaf,
    loose,
    note,
    root,
)
from tests.vectors.vector import Format, Vector, bad, changed, good

KIND = "c2sp.org/tlog-proof@v1"
NOTE = note(TEXT, LOG.line(TEXT), WITNESS.cosigned(TEXT, SECONDS))
PATH = inclusion(1, LEAVES)
_COSIGNERS = {"sigstore": "it passes over cosigners"}
_LINES = {"sigstore": "it looks for lines of signatures, and passes over all else"}


def vectors() -> Format:
    return Format(
        "proof",
        "A proof file. Check with the log's public key `vkey` and those of `cosigners` that the"
        " checkpoint in it is signed, and that `entry` (base64) is in its tree. A good one has"
        " `index`, `hashes`, `extra` (base64, which nobody has signed), the checkpoint's `origin`,"
        " `size` and `root`, and `times` of the cosigners by name.",
        {"entry": base64(b"beta"), "vkey": LOG.vkey, "cosigners": [WITNESS.vkey]},
        [*_good(), *_bad_claims(), *_bad_spellings()],
    )


def _good() -> list[Vector]:
    many = [leaf(b"entry %d" % number) for number in range(257)]
    alone, empty = [leaf(b"alone")], [leaf(b"")]
    uncosigned = note(TEXT, LOG.line(TEXT))
    return [
        _proof("the worked example", 1, LEAVES, NOTE),
        _proof("nobody is asked to cosign", 1, LEAVES, NOTE, cosigners=[]),
        _proof("a checkpoint that nobody has cosigned", 1, LEAVES, uncosigned),
        _proof("the first entry", 0, LEAVES, NOTE, entry=base64(ENTRIES[0])),
        _proof("the last entry, which has one hash", 2, LEAVES, NOTE, entry=base64(ENTRIES[2])),
        _proof(
            "the only entry, which has no hash", 0, alone, _signed(alone), entry=base64(b"alone")
        ),
        _proof("the last of 257", 256, many, _signed(many), entry=base64(b"entry 256")),
        _proof("an entry without bytes", 0, empty, _signed(empty), entry=""),
        _proof("extra data", 1, LEAVES, NOTE, b"a file's name"),
    ]


def file(index: int, hashes: list[bytes], signed: bytes, extra: bytes = b"") -> bytes:
    head = [KIND, *([f"extra {base64(extra)}"] if extra else []), f"index {index}"]
    lines = [*head, *map(base64, hashes), ""]
    return "".join(f"{line}\n" for line in lines).encode() + signed


def _signed(leaves: list[bytes]) -> bytes:
    text = checkpoint(LOG.name, len(leaves), root(leaves))
    return note(text, LOG.line(text))


def _proof(
    name: str, index: int, leaves: list[bytes], signed: bytes, extra: bytes = b"", **given: Any
) -> Vector:
    path = inclusion(index, leaves)
    asked = given.get("cosigners", [WITNESS.vkey])
    must = {
        "index": index,
        "hashes": [value.hex() for value in path],
        "extra": base64(extra),
        "origin": LOG.name,
        "size": len(leaves),
        "root": root(leaves).hex(),
        "times": {WITNESS.name: SECONDS} if asked and signed == NOTE else {},
    }
    return good(name, file(index, path, signed, extra), must, **given)


def _bad_claims() -> list[Vector]:
    right = file(1, PATH, NOTE)
    elsewhere = "the hashes lead to another root"

    def wrong(name: str, data: bytes, why: str, code: str = "bad_proof", **given: Any) -> Vector:
        return bad(name, data, code, why, **given)

    lie = checkpoint(LOG.name, 3, bytes(32))
    other = note(TEXT, OTHER_LOG.line(TEXT))
    return [
        wrong("another entry", right, "its hash is another", entry=base64(b"gamma")),
        wrong("the entry with a byte more", right, "its hash is another", entry=base64(b"beta\n")),
        wrong("another index", file(0, PATH, NOTE), elsewhere),
        wrong("the index is the size", file(3, PATH, NOTE), "the last entry has the index 2"),
        wrong("the hash of another leaf", file(1, [LEAVES[2], PATH[1]], NOTE), elsewhere),
        wrong("the hashes in the other order", file(1, PATH[::-1], NOTE), elsewhere),
        wrong("a hash is missing", file(1, PATH[:1], NOTE), "entry 1 of 3 has two hashes"),
        wrong("a hash too many", file(1, [*PATH, LEAVES[0]], NOTE), "entry 1 of 3 has two hashes"),
        wrong("63 hashes", file(1, LEAVES * 21, NOTE), "entry 1 of 3 has two hashes"),
        wrong("64 hashes", file(1, [*LEAVES * 21, LEAVES[0]], NOTE), "no tree is so high"),
        wrong("a hash of 31 bytes", file(1, [PATH[0][:31], PATH[1]], NOTE), "a hash has 32"),
        wrong(
            "an empty hash",
            changed(right, base64(PATH[0]).encode(), b""),
            "the head ends there, and no checkpoint follows",
            "bad_note",
        ),
        wrong(
            "a signed root of other entries",
            file(1, PATH, note(lie, LOG.line(lie))),
            elsewhere,
        ),
        wrong("a checkpoint of another log", file(1, PATH, other), "nobody known", "not_signed"),
        wrong("a checkpoint without signature", file(1, PATH, TEXT), "it is no note", "bad_note"),
        wrong(
            "another size than the signed one",
            changed(right, b"\n3\n", b"\n4\n"),
            "the log has not signed that",
            "bad_note",
        ),
        wrong(
            "a cosignature of another checkpoint",
            file(1, PATH, note(TEXT, LOG.line(TEXT), WITNESS.cosigned(lie, SECONDS))),
            "a known cosigner's line must hold",
            "bad_note",
            lax=_COSIGNERS,
        ),
        wrong(
            "a note that is no checkpoint",
            file(1, PATH, note(b"any text\n", LOG.line(b"any text\n"))),
            "it has neither size nor root",
            "bad_note",
        ),
    ]


def _bad_spellings() -> list[Vector]:
    right = file(1, PATH, NOTE)
    first, second = (base64(value).encode() for value in PATH)

    def wrong(name: str, old: bytes, new: bytes, why: str, code: str = "bad_proof") -> Vector:
        return bad(name, changed(right, old, new), code, why)

    head = "a head is the kind, perhaps extra data, an index, and hashes"
    number = "a number has one spelling"
    spelling = "base64 has one spelling"
    return [
        bad("no bytes", b"", "bad_proof", head),
        bad("the checkpoint alone", NOTE, "bad_proof", head),
        bad("a byte order mark", b"\xef\xbb\xbf" + right, "bad_proof", "the head is ASCII"),
        bad("CR and LF", right.replace(b"\n", b"\r\n"), "bad_proof", head),
        bad("the last line feed is missing", right[:-1], "bad_note", "each line ends", _LINES),
        bad("an empty line at the end", right + b"\n", "bad_note", "no line follows", _LINES),
        wrong("another version", b"@v1", b"@v2", head),
        wrong("no kind", f"{KIND}\n".encode(), b"", head),
        wrong("no index", b"index 1\n", b"", head),
        wrong("two indexes", b"index 1\n", b"index 1\nindex 1\n", "a hash is base64", "bad_note"),
        wrong("an index with a leading zero", b"index 1", b"index 01", number, "bad_note"),
        wrong("an index with a plus sign", b"index 1", b"index +1", number, "bad_note"),
        wrong("an index below zero", b"index 1", b"index -1", number, "bad_note"),
        wrong("an index with a space behind it", b"index 1", b"index 1 ", number, "bad_note"),
        wrong("two spaces before the index", b"index 1", b"index  1", number, "bad_note"),
        wrong("digits of another script", b"index 1", "index １".encode(), "the head is ASCII"),
        wrong("an index of 20 digits", b"index 1", b"index " + b"9" * 20, number, "bad_note"),
        wrong("the index 2^63 - 1", b"index 1", b"index %d" % (2**63 - 1), "no log has that entry"),
        wrong(
            "extra data behind the index",
            b"index 1\n",
            b"index 1\nextra AA==\n",
            spelling,
            "bad_note",
        ),
        wrong("extra data twice", b"index 1\n", b"extra AA==\nextra AA==\nindex 1\n", head),
        wrong("empty extra data", b"index 1\n", b"extra \nindex 1\n", head),
        wrong(
            "extra data that is not base64",
            b"index 1\n",
            b"extra =\nindex 1\n",
            spelling,
            "bad_note",
        ),
        wrong(
            "extra data with a bit that no byte uses",
            b"index 1\n",
            b"extra AB==\nindex 1\n",
            spelling,
            "bad_note",
        ),
        wrong(
            "a hash with a bit that no byte uses",
            second,
            loose(second.decode()).encode(),
            spelling,
            "bad_note",
        ),
        wrong(
            "a hash without padding", second, second.rstrip(b"="), "base64 is padded", "bad_note"
        ),
        wrong("a hash with a space behind it", first, first + b" ", spelling, "bad_note"),
        wrong("two hashes on one line", first + b"\n", first, spelling, "bad_note"),
        wrong(
            "an empty line before the hashes",
            b"index 1\n",
            b"index 1\n\n",
            "the note begins there",
            "bad_note",
        ),
        wrong(
            "two empty lines before the checkpoint",
            b"\n\nexample.com/log",
            b"\n\n\nexample.com/log",
            "an origin has a name",
            "bad_note",
        ),
        wrong(
            "no empty line before the checkpoint",
            b"\n\nexample.com/log",
            b"\nexample.com/log",
            "the head has no end",
            "bad_note",
        ),
    ]
