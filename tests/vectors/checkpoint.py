"""Checkpoints: notes in which a log says its size and its root (C2SP tlog-checkpoint)."""

from collections.abc import Mapping
from hashlib import sha256

from tests.vectors.plain import (
    LEAVES,
    LOG,
    OTHER_LOG,
    SECONDS,
    TEXT,
    WITNESS,
    Key,
    NoteKey,
    base64,
    checkpoint,
    loose,
    note,
    respelled,
    root,
)
from tests.vectors.vector import Format, Vector, bad, changed, flipped, good

ROOT = sha256(b"\x00entry").digest()
_NO_END = {"aics-tlog": "its sizes have no largest"}
_MORE_LINES = {
    "aics-tlog": "C2SP allows extension lines, and does not recommend them",
    "sigstore": "it passes over further lines",
}
_SIZE = {"sigstore": "its sizes are read by BigInt, which takes many spellings"}
_ROOT = {"sigstore": "its base64 takes many spellings, and lengths are left to the proof"}
_ORIGIN = {"sigstore": "it does not compare the origin with the name of the key"}


def vectors() -> Format:
    return Format(
        "checkpoint",
        "A checkpoint, to be opened with the log's public key `vkey`, whose name must be its"
        " origin. The text is three lines: origin, size, base64 of the root. A good one has"
        " `origin`, `size` and `root`; a size beyond 2^53 - 1 is left out, for not every reader of"
        " JSON keeps it.",
        {"vkey": LOG.vkey},
        [*_good(), *_bad_notes(), *_bad_texts()],
    )


def _good() -> list[Vector]:
    foreign = NoteKey("算力.example/log", 1, Key(0))
    cosigned = note(TEXT, LOG.line(TEXT), WITNESS.cosigned(TEXT, SECONDS))
    return [
        _checkpoint("the worked example", LOG, 3, root(LEAVES)),
        _checkpoint("a log without entries", LOG, 0, root([])),
        _checkpoint("a log of one entry", LOG, 1, ROOT),
        _checkpoint("a log of 2^53 - 1 entries", LOG, 2**53 - 1, ROOT),
        _checkpoint("a log of 2^63 - 1 entries, the most there can be", LOG, 2**63 - 1, ROOT),
        _checkpoint("an origin that is not ASCII", foreign, 1, ROOT),
        good("cosigned by a witness who is not asked for", cosigned, _told(LOG, 3, root(LEAVES))),
    ]


def _checkpoint(name: str, key: NoteKey, size: int, root_hash: bytes) -> Vector:
    text = checkpoint(key.name, size, root_hash)
    return good(name, note(text, key.line(text)), _told(key, size, root_hash), vkey=key.vkey)


def _told(key: NoteKey, size: int, root_hash: bytes) -> dict[str, str | int]:
    exact = {"size": size} if size < 2**53 else {}
    return {"origin": key.name, **exact, "root": root_hash.hex()}


def _bad_notes() -> list[Vector]:
    signed, signature = note(TEXT, LOG.line(TEXT)), LOG.key.sign(TEXT)

    def wrong(name: str, data: bytes, why: str, code: str = "bad_note") -> Vector:
        return bad(name, data, code, why)

    def by(blob: bytes) -> bytes:
        return note(TEXT, f"— {LOG.name} {base64(LOG.id + blob)}\n".encode())

    return [
        wrong("the text without a signature", TEXT, "nobody has signed"),
        wrong("another size than the signed one", changed(signed, b"\n3\n", b"\n4\n"), "it fails"),
        wrong("another root than the signed one", changed(signed, b"OF2j", b"OF2k"), "it fails"),
        wrong("a bit of the signature", by(flipped(signature, 20)), "it fails"),
        wrong("the signature in its other spelling", by(respelled(signature)), "it fails"),
        wrong(
            "signed by another log",
            note(TEXT, OTHER_LOG.line(TEXT)),
            "the log has not signed",
            "not_signed",
        ),
        wrong(
            "cosigned by a witness, and not signed by the log",
            note(TEXT, WITNESS.cosigned(TEXT, SECONDS)),
            "the log has not signed",
            "not_signed",
        ),
    ]


def _bad_texts() -> list[Vector]:
    """Return what the log itself has signed, so only the text is wrong."""
    encoded = base64(root(LEAVES))

    def wrong(name: str, text: str, why: str, lax: Mapping[str, str] | None = None) -> Vector:
        data = text.encode()
        return bad(name, note(data, LOG.line(data)), "bad_note", why, lax)

    def sized(size: str) -> str:
        return f"{LOG.name}\n{size}\n{encoded}\n"

    def rooted(base64_root: str) -> str:
        return f"{LOG.name}\n3\n{base64_root}\n"

    spelling = "a size has one spelling"
    lines = "there are three lines"
    length = "a root has 32 bytes"
    return [
        wrong("a size with a leading zero", sized("03"), spelling, _SIZE),
        wrong("a size with a plus sign", sized("+3"), spelling, _SIZE),
        wrong("a size with a space before it", sized(" 3"), spelling, _SIZE),
        wrong("a size with a space behind it", sized("3 "), spelling, _SIZE),
        wrong("a size with a point", sized("3.0"), spelling),
        wrong("a size with an exponent", sized("3e0"), spelling),
        wrong("a hexadecimal size", sized("0x3"), spelling, _SIZE),
        wrong("a size with a separator", sized("1_000"), spelling),
        wrong("a size of another script's digits", sized("３"), spelling),
        wrong("zero with a minus sign", sized("-0"), spelling, _SIZE),
        wrong("a size below zero", sized("-3"), "a log has no fewer than 0 entries", _SIZE),
        wrong("no size", sized(""), "the second line is a number"),
        wrong("2^63 entries", sized(f"{2**63}"), "a size has 63 bits", {**_SIZE, **_NO_END}),
        wrong("a size of 5,000 digits", sized("9" * 5_000), "a size has 63 bits", _SIZE),
        wrong("a root of 31 bytes", rooted(base64(bytes(31))), length, _ROOT),
        wrong("a root of 33 bytes", rooted(base64(bytes(33))), length, _ROOT),
        wrong("an empty root", rooted(""), length),
        wrong("a root in hexadecimal", rooted(root(LEAVES).hex()), "it is base64", _ROOT),
        wrong("a root without padding", rooted(encoded.rstrip("=")), "base64 is padded", _ROOT),
        wrong(
            "a root with a bit that no byte uses",
            rooted(loose(encoded)),
            "base64 has one spelling",
            _ROOT,
        ),
        wrong("a root with a space behind it", rooted(f"{encoded} "), "base64 has none", _ROOT),
        wrong("no root", f"{LOG.name}\n3\n", lines),
        wrong("no size and no root", f"{LOG.name}\n", lines),
        wrong("an extension line", f"{TEXT.decode()}extension\n", lines, _MORE_LINES),
        wrong("an empty line before the origin", f"\n{TEXT.decode()}", lines),
        wrong("an empty line at the end", f"{TEXT.decode()}\n", lines),
        wrong("an empty origin", f"\n3\n{encoded}\n", "a log has a name", _ORIGIN),
        wrong(
            "the origin of another log",
            f"{OTHER_LOG.name}\n3\n{encoded}\n",
            "a log signs for itself only",
            _ORIGIN,
        ),
        wrong(
            "an origin in capitals",
            f"{LOG.name.upper()}\n3\n{encoded}\n",
            "a log signs for itself only",
            _ORIGIN,
        ),
    ]
