"""Signed notes: a text, an empty line, and signature lines (C2SP signed-note)."""

from tests.vectors.plain import (
    LOG,
    OTHER_LOG,
    SECONDS,
    STRANGER,
    TEXT,
    WITNESS,
    Key,
    NoteKey,
    base64,
    line,
    loose,
    note,
    respelled,
)
from tests.vectors.vector import Format, Vector, bad, changed, flipped, good

LINE = LOG.line(TEXT)
SIGNED = note(TEXT, LINE)
_BLOB = LOG.id + LOG.key.sign(TEXT)

_LOOSE = {"go": "its base64 ignores bits that no byte uses"}
_REPEATED = {"go": "it passes over a second line of a key that has signed"}
_UNENDED = {"aics-tlog": "it takes a last line without a line feed"}
_MANY = {"aics-tlog": "it reads up to 1,000 lines"}
_SHORT = {"aics-tlog": "it asks an unknown line for an id, and for nothing behind it"}


def vectors() -> Format:
    return Format(
        "note",
        "A signed note, to be opened with the public keys `vkeys`. Lines of other keys are passed"
        " over. A good one has a text, and `signers`: whose signatures were verified, in the order"
        " of their lines.",
        {"vkeys": [LOG.vkey]},
        [*_good(), *_bad_signatures(), *_bad_spellings()],
    )


def _good() -> list[Vector]:
    both = {"vkeys": [OTHER_LOG.vkey, LOG.vkey]}
    nobody = line("nobody.example/log", b"id: a signature of unknown kind")
    foreign = NoteKey("算力.example/log", 1, Key(0))
    lines = "first line\n\n— not a signature\n\n".encode()
    return [
        _note("the worked example", SIGNED, TEXT, LOG),
        _note(
            "two known keys", note(TEXT, LINE, OTHER_LOG.line(TEXT)), TEXT, LOG, OTHER_LOG, **both
        ),
        _note(
            "two known keys, the other first",
            note(TEXT, OTHER_LOG.line(TEXT), LINE),
            TEXT,
            OTHER_LOG,
            LOG,
            **both,
        ),
        _note("one of two known keys has signed", SIGNED, TEXT, LOG, **both),
        _note("a line of an unknown key before ours", note(TEXT, nobody, LINE), TEXT, LOG),
        _note(
            "a cosignature, which is a line of an unknown key",
            note(TEXT, LINE, WITNESS.cosigned(TEXT, SECONDS)),
            TEXT,
            LOG,
        ),
        _note("an unknown key under our name", note(TEXT, _namesake(TEXT), LINE), TEXT, LOG),
        _note(
            "a wrong signature of a key that is not known here",
            note(TEXT, LINE, OTHER_LOG.line(b"another text\n")),
            TEXT,
            LOG,
        ),
        _note("one line of an unknown key, twice", note(TEXT, nobody, nobody, LINE), TEXT, LOG),
        _note(
            "an unknown signature of 2,420 bytes, as ML-DSA-44 makes them",
            note(TEXT, LINE, line("example.com/new", bytes(2_424))),
            TEXT,
            LOG,
        ),
        _note("100 lines, and ours is the last", note(TEXT, *[nobody] * 99, LINE), TEXT, LOG),
        _note(
            "empty lines and dashes in the text: the last empty line counts",
            note(lines, LOG.line(lines)),
            lines,
            LOG,
        ),
        _note("a text of one empty line", note(b"\n", LOG.line(b"\n")), b"\n", LOG),
        _note(
            "a text that is not ASCII",
            note("算力券\n".encode(), LOG.line("算力券\n".encode())),
            "算力券\n".encode(),
            LOG,
        ),
        _note(
            "a key whose name is not ASCII",
            note(TEXT, foreign.line(TEXT)),
            TEXT,
            foreign,
            vkeys=[foreign.vkey],
        ),
    ]


def _note(name: str, data: bytes, text: bytes, *signers: NoteKey, **given: list[str]) -> Vector:
    must = {"text": text.decode(), "signers": [f"{key.name}+{key.id.hex()}" for key in signers]}
    return good(name, data, must, **given)


def _namesake(text: bytes) -> bytes:
    return NoteKey(LOG.name, 1, STRANGER).line(text)


def _bad_signatures() -> list[Vector]:
    both = {"vkeys": [LOG.vkey, OTHER_LOG.vkey]}
    fit = "the signature is of another text"
    unknown = "nobody known has signed"

    def wrong(name, data, why, lax=None, **given):
        code = "not_signed" if why == unknown else "bad_note"
        return bad(name, data, code, why, lax, **given)

    def signed(blob: bytes) -> bytes:
        return note(TEXT, line(LOG.name, blob))

    return [
        wrong("another origin", changed(SIGNED, b"example.com/log\n3", b"example.com/lot\n3"), fit),
        wrong("another size", changed(SIGNED, b"\n3\n", b"\n4\n"), fit),
        wrong("another root", changed(SIGNED, b"OF2j", b"OF2k"), fit),
        wrong("a line more in the text", changed(SIGNED, b"\n\n", b"\nmore\n\n"), fit),
        wrong("a line less in the text", changed(SIGNED, b"\n3\n", b"\n"), fit),
        wrong("a bit of the first half of the signature", signed(flipped(_BLOB, 4)), "it fails"),
        wrong("a bit of the second half of the signature", signed(flipped(_BLOB, 40)), "it fails"),
        wrong("a bit of the key's id", signed(flipped(_BLOB, 0)), unknown),
        wrong("another key under our name", note(TEXT, _namesake(TEXT)), unknown),
        wrong("our line under another name", note(TEXT, line("example.com/lot", _BLOB)), unknown),
        wrong(
            "the key of the signature is not known here", note(TEXT, OTHER_LOG.line(TEXT)), unknown
        ),
        wrong("no key is known", SIGNED, unknown, vkeys=[]),
        wrong(
            "the same signature in its other spelling",
            signed(LOG.id + respelled(LOG.key.sign(TEXT))),
            "the second half is not below the order of the group (RFC 8032 section 5.1.7)",
        ),
        wrong("a signature of 63 bytes", signed(_BLOB[:-1]), "it fails"),
        wrong("a signature of 65 bytes", signed(_BLOB + b"\0"), "it fails"),
        wrong(
            "a signature of the text without its last line feed",
            signed(LOG.id + LOG.key.sign(TEXT[:-1])),
            "the last line feed is signed too",
        ),
        wrong(
            "a signature of the text with the empty line",
            signed(LOG.id + LOG.key.sign(TEXT + b"\n")),
            "the empty line is not signed",
        ),
        wrong(
            "one known key signs rightly, the other one does not",
            note(TEXT, LINE, OTHER_LOG.line(b"another text\n")),
            "each known line must hold",
            **both,
        ),
        wrong(
            "a known key signs twice, the same", note(TEXT, LINE, LINE), "once is enough", _REPEATED
        ),
        wrong(
            "a known key signs rightly, and then wrongly",
            note(TEXT, LINE, signed(flipped(_BLOB, 9))[len(TEXT) + 1 :]),
            "each known line must hold",
            _REPEATED,
        ),
    ]


def _bad_spellings() -> list[Vector]:
    encoded = base64(_BLOB)
    stranger = line("nobody.example/log", b"an id and more")

    def wrong(name, data, why, lax=None):
        return bad(name, data, "bad_note", why, lax)

    def spelled(line_: str) -> bytes:
        return note(TEXT, line_.encode())

    def controlled(byte: bytes) -> bytes:
        text = changed(TEXT, b"\n3\n", b"\n3" + byte + b"\n")
        return note(text, LOG.line(text))

    form = "a line is a dash, a space, a name, a space and base64"
    parts = "a note is a text, an empty line and signature lines"
    control = "of control characters, only line feeds may be there"
    return [
        wrong("no bytes", b"", parts),
        wrong("the text alone", TEXT, parts),
        wrong("text and empty line", TEXT + b"\n", parts),
        wrong("the signature line alone", LINE, parts),
        wrong("empty line and signature", b"\n" + LINE, parts),
        wrong("the signature line without an empty line before it", TEXT + LINE, parts),
        wrong("the last line feed is missing", SIGNED[:-1], "each line ends", _UNENDED),
        wrong("an empty line at the end", SIGNED + b"\n", parts),
        wrong("lines that end with CR and LF", SIGNED.replace(b"\n", b"\r\n"), control),
        wrong("a signed tab", controlled(b"\t"), control),
        wrong("a signed NUL", controlled(b"\0"), control),
        wrong("a signed carriage return", controlled(b"\r"), control),
        wrong("a signed text that is not UTF-8", controlled(b"\xff"), "a note is UTF-8"),
        wrong("a signed lone surrogate", controlled(b"\xed\xa0\x80"), "that is not UTF-8"),
        wrong("a byte order mark", b"\xef\xbb\xbf" + SIGNED, "it is part of the text"),
        wrong("a hyphen for the dash", spelled(f"- {LOG.name} {encoded}\n"), form),
        wrong("an en dash for the dash", spelled(f"– {LOG.name} {encoded}\n"), form),
        wrong("no space behind the dash", spelled(f"—{LOG.name} {encoded}\n"), form),
        wrong("two spaces behind the dash", spelled(f"—  {LOG.name} {encoded}\n"), form),
        wrong("two spaces behind the name", spelled(f"— {LOG.name}  {encoded}\n"), form),
        wrong("a space at the end of the line", spelled(f"— {LOG.name} {encoded} \n"), form),
        wrong("no name", spelled(f"— {encoded}\n"), form),
        wrong("no base64", note(TEXT, LINE, f"— {LOG.name} \n".encode()), form),
        wrong(
            "base64 without its padding",
            spelled(f"— {LOG.name} {encoded.rstrip('=')}\n"),
            "base64 is padded",
        ),
        wrong(
            "base64 with a bit that no byte uses",
            spelled(f"— {LOG.name} {loose(encoded)}\n"),
            "base64 has one spelling",
            _LOOSE,
        ),
        wrong(
            "base64 of the URL alphabet",
            spelled(f"— {LOG.name} {_of_url(encoded)}\n"),
            "base64 has one alphabet",
        ),
        wrong("a line of text among the signatures", note(TEXT, LINE, b"not a signature\n"), form),
        wrong(
            "an unknown line without a signature behind the id",
            note(TEXT, LINE, line("nobody.example/log", b"only")),
            "there is room for none",
            _SHORT,
        ),
        wrong(
            "an unknown line of three bytes",
            note(TEXT, LINE, line("nobody.example/log", b"one")),
            "an id has four",
        ),
        wrong(
            "an unknown name with a plus sign",
            note(TEXT, LINE, line("a+b", b"an id and more")),
            "a name has no plus sign",
        ),
        wrong(
            "an unknown name with a space that is not ASCII",
            note(TEXT, LINE, line("a\u3000b", b"an id and more")),
            "a name has no space",
        ),
        wrong("101 lines", note(TEXT, *[stranger] * 100, LINE), "there are at most 100", _MANY),
    ]


def _of_url(encoded: str) -> str:
    found = encoded.replace("+", "-").replace("/", "_")
    assert found != encoded
    return found
