"""Cosigned checkpoints: a log's note with lines of witnesses (C2SP tlog-cosignature, Ed25519)."""

from collections.abc import Mapping
from typing import Any

from tests.vectors.plain import (
    LEAVES,
    LOG,
    OTHER_WITNESS,
    SECONDS,
    STRANGER,
    TEXT,
    WITNESS,
    NoteKey,
    checkpoint,
    line,
    note,
    respelled,
    root,
)
from tests.vectors.vector import Format, Vector, bad, changed, flipped, good

BOTH = [WITNESS.vkey, OTHER_WITNESS.vkey]
LATEST = 2**63 - 1


def vectors() -> Format:
    return Format(
        "cosignature",
        "A checkpoint, to be opened with the log's public key `vkey` and those of `cosigners`."
        " Lines of others are passed over; a known cosigner's line must hold. It is base64 of the"
        " key's id, eight bytes of time (big-endian, seconds since 1970) and the signature, which"
        " covers `cosignature/v1`, `time <seconds>` and the checkpoint's text, each line ended by a"
        " line feed. A good one has `origin`, `size`, `root` and `times`, by the cosigner's name.",
        {"vkey": LOG.vkey, "cosigners": [WITNESS.vkey]},
        [*_good(), *_bad()],
    )


def _good() -> list[Vector]:
    ours, other = WITNESS.cosigned(TEXT, SECONDS), OTHER_WITNESS.cosigned(TEXT, SECONDS - 1)
    namesake = NoteKey(WITNESS.name, 4, STRANGER)
    same_key = NoteKey("example.com/renamed", 4, WITNESS.key)
    ours_only = {WITNESS.name: SECONDS}
    return [
        _cosigned("the worked example", [ours], ours_only),
        _cosigned("nobody has cosigned", [], {}),
        _cosigned("nobody is asked for", [ours], {}, cosigners=[]),
        _cosigned(
            "two known cosigners",
            [ours, other],
            {**ours_only, OTHER_WITNESS.name: SECONDS - 1},
            cosigners=BOTH,
        ),
        _cosigned("an unknown cosigner beside ours", [other, ours], ours_only),
        _cosigned("one of two known cosigners", [ours], ours_only, cosigners=BOTH),
        _cosigned(
            "another key under the same name", [namesake.cosigned(TEXT, SECONDS), ours], ours_only
        ),
        _cosigned(
            "a wrong cosignature of a cosigner who is not known here",
            [OTHER_WITNESS.cosigned(b"another text\n", SECONDS), ours],
            ours_only,
        ),
        _cosigned(
            "one key under another name: the signature does not hold the name",
            [line(same_key.name, same_key.id + _blob(TEXT, SECONDS))],
            {same_key.name: SECONDS},
            cosigners=[same_key.vkey],
        ),
        _cosigned("at the second 0", [WITNESS.cosigned(TEXT, 0)], {WITNESS.name: 0}),
        _cosigned(
            "at the second 2^53 - 1", [WITNESS.cosigned(TEXT, 2**53 - 1)], {WITNESS.name: 2**53 - 1}
        ),
        good(
            "the cosignature stands before the log's line",
            note(TEXT, ours, LOG.line(TEXT)),
            _told(ours_only),
        ),
    ]


def _cosigned(name: str, lines: list[bytes], times: Mapping[str, int], **given: Any) -> Vector:
    return good(name, note(TEXT, LOG.line(TEXT), *lines), _told(times), **given)


def _told(times: Mapping[str, int]) -> dict[str, Any]:
    return {"origin": LOG.name, "size": 3, "root": root(LEAVES).hex(), "times": times}


def _blob(text: bytes, seconds: int) -> bytes:
    """Return time and signature of our witness."""
    message = b"cosignature/v1\ntime %d\n%s" % (seconds, text)
    return seconds.to_bytes(8, "big") + WITNESS.key.sign(message)


def _bad() -> list[Vector]:
    ours, blob = WITNESS.cosigned(TEXT, SECONDS), _blob(TEXT, SECONDS)
    time, signature = blob[:8], blob[8:]
    fails = "the signature fails"

    def wrong(name: str, why: str, *lines: bytes, **given: Any) -> Vector:
        return bad(name, note(TEXT, LOG.line(TEXT), *lines), "bad_note", why, **given)

    def by(*parts: bytes) -> bytes:
        return line(WITNESS.name, WITNESS.id + b"".join(parts))

    larger = checkpoint(LOG.name, 4, root(LEAVES))
    return [
        wrong("a bit of the time is another", fails, by(flipped(time, -1), signature)),
        wrong("a bit of the signature is another", fails, by(time, flipped(signature, 33))),
        wrong("the signature in its other spelling", fails, by(time, respelled(signature))),
        wrong("a cosignature of a larger tree", fails, WITNESS.cosigned(larger, SECONDS)),
        wrong("the text signed as a log signs it", fails, by(time, WITNESS.key.sign(TEXT))),
        wrong("the signature without the time", fails, by(signature)),
        wrong("the time without a signature", fails, by(time)),
        wrong("one byte", fails, by(b"\0")),
        wrong("a byte too many", fails, by(time, signature, b"\0")),
        wrong("the time in little-endian order", fails, by(time[::-1], signature)),
        wrong("the time behind the signature", fails, by(signature, time)),
        wrong(
            "the signed lines without the first",
            "it could be the signature of something else",
            by(time, WITNESS.key.sign(b"time %d\n%s" % (SECONDS, TEXT))),
        ),
        wrong(
            "the signed time with a leading zero",
            "the time has one spelling",
            by(time, WITNESS.key.sign(b"cosignature/v1\ntime 0%d\n%s" % (SECONDS, TEXT))),
        ),
        wrong(
            "the second 2^63",
            "nobody may sign a time of 64 bits",
            WITNESS.cosigned(TEXT, LATEST + 1),
            lax={"aics-tlog": "its times have 64 bits"},
        ),
        wrong("a known cosigner twice, the same", "once is enough", ours, ours),
        wrong(
            "a known cosigner at two times",
            "one name has one time",
            ours,
            WITNESS.cosigned(TEXT, SECONDS + 1),
        ),
        wrong(
            "one known cosigner fails beside one who does not",
            "each known line must hold",
            ours,
            OTHER_WITNESS.cosigned(larger, SECONDS),
            cosigners=BOTH,
        ),
        bad(
            "cosigned, and not signed by the log",
            note(TEXT, ours),
            "not_signed",
            "the log itself must sign",
        ),
        bad(
            "the log's signature is of another text",
            changed(
                note(TEXT, LOG.line(TEXT), WITNESS.cosigned(larger, SECONDS)), b"\n3\n", b"\n4\n"
            ),
            "bad_note",
            "the log itself must sign",
        ),
        bad(
            "cosigned base64 with a space behind it",
            note(TEXT, LOG.line(TEXT), ours.replace(b"\n", b" \n")),
            "bad_note",
            "a line ends with base64",
        ),
    ]
