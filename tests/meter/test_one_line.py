"""Texts of others, as one line for people."""

import pytest

from meter.values.foreign_text import MAX_CHARACTERS, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("as it is: 中文", "as it is: 中文"),
        ("two\n  lines\r\n", "two lines"),
        ("\x1b[2J\u202e", r"\x1b[2J\u202e"),
        ("Bad status line:\n\n  b'HTTP/9 what'", "Bad status line: HTTP/9 what"),
        (r"b'\xe4\xb8\xad' and b\"it's\"".replace('\\"', '"'), "中 and it's"),
        (r"b'\xff'", "\ufffd"),
        (r"b'\x1b[2J'", r"\x1b[2J"),
        ("a club's own", "a club's own"),
        ("b'never ended", "b'never ended"),
        ("x" * 1_000, "x" * MAX_CHARACTERS),
    ],
)
def test_a_text_becomes_one_line_that_a_terminal_shows_as_it_is(text, line):
    assert one_line(text) == line
    assert one_line(text).isprintable()
