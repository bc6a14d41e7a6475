"""Public keys of logs and cosigners, as text (C2SP signed-note, a "vkey")."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from tests.vectors import curve
from tests.vectors.plain import LOG, OTHER_LOG, WITNESS, Key, NoteKey, base64
from tests.vectors.vector import Format, Vector, bad, changed, good

_TYPES = {"log": 1, "cosigner": 4}
_KINDS = {key_type: kind for kind, key_type in _TYPES.items()}
_NO_CURVE = "it does no arithmetic on the curve"
_CAPITALS = "it reads the id as a number, whatever the letters"


def vectors() -> Format:
    return Format(
        "key",
        "The text of a public key: name, id and base64 of a type byte and 32 bytes, with a plus"
        " sign between them. `kind` says whose key it must be: a log's (type 1) or a cosigner's"
        " (type 4). The id is the beginning of the SHA-256 of name, line feed, type and key. The 32"
        " bytes must be the canonical encoding of a point of the prime-order subgroup, not the"
        " identity (RFC 8032 section 5.1).",
        {"kind": "log"},
        [*_good(), *_bad(), *_weak()],
    )


def _good() -> list[Vector]:
    return [
        _key("the worked example: a log", LOG),
        _key("the worked example: a witness", WITNESS),
        _key("one key, as a log's: another id", NoteKey(WITNESS.name, 1, WITNESS.key)),
        _key("another log", OTHER_LOG),
        _key("a name that is not ASCII", NoteKey("算力.example/log", 1, Key(0))),
        _key("a name that looks like base64 and an id", NoteKey("d455c521/AQOh=", 1, Key(0))),
        _key("a name of one letter", NoteKey("a", 4, Key(1))),
    ]


def _key(name: str, key: NoteKey) -> Vector:
    must = {
        "name": key.name,
        "type": key.kind,
        "id": key.id.hex(),
        "public_key": key.key.public.hex(),
    }
    return good(name, key.vkey.encode(), must, kind=_KINDS[key.kind])


def _bad() -> list[Vector]:
    text = LOG.vkey.encode()
    _, _, encoded = LOG.vkey.partition(f"+{LOG.id.hex()}+")

    def wrong(
        name: str,
        data: bytes,
        why: str,
        lax: Mapping[str, str] | None = None,
        kind: str = "log",
    ) -> Vector:
        return bad(name, data, "bad_key", why, lax, kind=kind)

    def named(name: str) -> bytes:
        return NoteKey(name, 1, LOG.key).vkey.encode()

    return [
        wrong("no text", b"", "a key has three parts"),
        wrong("a name alone", LOG.name.encode(), "a key has three parts"),
        wrong("name and id", text[: -len(encoded) - 1], "a key has three parts"),
        wrong("a cosigner's key, where a log's is due", WITNESS.vkey.encode(), "its type is 4"),
        wrong("a log's key, where a cosigner's is due", text, "its type is 1", kind="cosigner"),
        wrong(
            "an id of another key", changed(text, b"d455c521", b"d455c520"), "it is no hash of it"
        ),
        wrong("another name", changed(text, b"/log", b"/log2"), "the id is of name and key"),
        wrong(
            "another key",
            changed(text, encoded.encode(), base64(b"\1" + Key(1).public).encode()),
            "the id is of name and key",
        ),
        wrong(
            "an id in capitals",
            changed(text, b"d455c521", b"D455C521"),
            "an id has one spelling",
            {"go": _CAPITALS, "aics-tlog": _CAPITALS},
        ),
        wrong("an id of seven digits", changed(text, b"d455c521", b"d455c52"), "an id has eight"),
        wrong(
            "a line feed behind it",
            text + b"\n",
            "a key is one line, without its end",
            {"go": "its base64 passes over line feeds"},
        ),
        wrong("a space before it", b" " + text, "a name has no space"),
        wrong("a byte order mark", b"\xef\xbb\xbf" + text, "then the id is of another name"),
        wrong("three letters are missing", text[:-3], "base64 comes in groups of four"),
        wrong(
            "a letter of the URL alphabet",
            changed(text, b"AQOhB7/", b"AQOhB7_"),
            "it is not base64",
        ),
        wrong(
            "a key of 31 bytes", vkey(b"\1" + LOG.key.public[:-1]), "an Ed25519 key has 32 bytes"
        ),
        wrong(
            "a key of 33 bytes",
            vkey(b"\1" + LOG.key.public + b"\0"),
            "an Ed25519 key has 32 bytes",
        ),
        wrong("no key behind the type", vkey(b"\1"), "an Ed25519 key has 32 bytes"),
        wrong("a type that nobody knows", vkey(b"\x07" + LOG.key.public), "only 1 and 4 are known"),
        wrong("an empty name", named(""), "a name has at least one character"),
        wrong("a name with a space", named("a b"), "a name has no space"),
        wrong("a name with a space that is not ASCII", named("a\u00a0b"), "a name has no space"),
        wrong("a name with a plus sign", named("a+b"), "the plus sign ends a name"),
        wrong(
            "a name with a control character",
            named("a\x01b"),
            "a note may hold none, and so not the name",
            {"go": "its rule for names is about spaces and plus signs alone"},
        ),
    ]


def _weak() -> list[Vector]:
    small, respelled = curve.small(), curve.respelled()
    mixed = curve.mixed(LOG.key.public)

    def weak(name: str, kind: str, key: bytes, why: str, lax: Iterable[str]) -> Vector:
        data = vkey(bytes([_TYPES[kind]]) + key)
        name = f"{name}, as a {kind}'s key"
        return bad(name, data, "weak_key", why, dict.fromkeys(lax, _NO_CURVE), kind=kind)

    # aics-tlog has a list of the points of small order, and knows the prime.
    rules = (
        (small, "anyone can sign for a point of small order", ["go"]),
        (respelled, "it is not the canonical encoding of a point", ["go"]),
        (mixed, "verifiers differ on its signatures", ["go", "aics-tlog"]),
        (curve.off(), "it encodes no point", ["go", "aics-tlog"]),
    )
    return [
        weak(name, kind, key, why, lax)
        for keys, why, lax in rules
        for kind in _TYPES
        # The 32 bytes are read in one way, whosever they are.
        if kind == "log" or keys is not respelled
        for name, key in keys.items()
    ]


def vkey(typed: bytes) -> bytes:
    """Return a key of the log's name and of any bytes, with the right id."""
    key_id = sha256(LOG.name.encode() + b"\n" + typed).digest()[:4]
    return f"{LOG.name}+{key_id.hex()}+{base64(typed)}".encode()
