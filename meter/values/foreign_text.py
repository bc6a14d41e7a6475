r"""Text of others, as one line for people.

    one_line("400, message:\n  Bad status line:\n\n    b'HTTP/9 \\x1b'")

returns `400, message: Bad status line: HTTP/9 \x1b`: decoded, on one line, and without characters
that a terminal obeys.
"""

import re
from ast import literal_eval
from typing import Final

MAX_CHARACTERS: Final = 200

# What `repr` writes of bytes, as messages of libraries have it.
_BYTES: Final = re.compile(r"""\bb'(?:[^'\\]|\\.)*'|\bb"(?:[^"\\]|\\.)*\"""")


def one_line(text: str) -> str:
    """Return a text of unknown origin, decoded and cut, with its control characters escaped."""
    words = _BYTES.sub(_decoded, text).split()
    return "".join(map(_visible, " ".join(words)[:MAX_CHARACTERS]))


def _decoded(match: re.Match[str]) -> str:
    try:
        return bytes(literal_eval(match[0])).decode("utf-8", "replace")
    except (ValueError, SyntaxError):
        return match[0]


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
