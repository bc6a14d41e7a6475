r"""Text that people see (names, reasons, notes), and ids that people could take for one another.

    "鹏城实验室", "node failed, not charged"   taken
    "paid\u202edeiraw"                        refused: U+202E turns what follows it around
    "e\u0301"                                 refused: form C (NFC) of Unicode writes it U+00E9

A character is taken if Unicode 3.2 has it, or if it is an ideograph: those still come. Not taken
are control and format characters, private use, line separators, and what shows nothing at all.
Version 3.2 is the one that every Python holds. So an auditor with another Python judges as the
service did, whatever later versions add; and form C of these characters is the same for ever.
"""

import re
from functools import lru_cache
from typing import Any, Final
from unicodedata import is_normalized, normalize, ucd_3_2_0

# Not blank: something is there beside spaces, and U+2800, which is a Braille cell without dots.
VISIBLE: Final = r"^[\s\u2800]*[^\s\u2800][\s\S]*\Z"

ALIKE: Final = "differs only in case, or in dots at its end"

_CONTROL: Final = "Cc"
_REFUSED: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# They show nothing, and 3.2 has them in none of those categories: a soft hyphen, joiners, fillers,
# variation selectors.
_SHOWS_NOTHING: Final = re.compile(
    r"[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u3164\ufe00-\ufe0f\uffa0]"
)
_IDEOGRAPH: Final = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002fa1d\U00030000-\U0003fffd]"
)


def check_text(text: str) -> None:
    """Raise `ValueError` for a text that hides something, or that form C writes otherwise."""
    for character in sorted(set(text)):
        if not _is_taken(character):
            raise ValueError(f"a text holds {_named(character)}")
    if not is_normalized("NFC", text):
        raise ValueError("a text is not in Unicode's form C (NFC)")


def check_texts(value: Any) -> None:
    """Raise `ValueError` for a text in a JSON-like value, or a key, that `check_text` refuses."""
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, list):
        for item in value:
            check_texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(key)
            check_texts(item)


def in_form_c(value: Any) -> Any:
    """Return a value of JSON with each of its texts in form C; keys stay as they are."""
    if isinstance(value, str):
        return normalize("NFC", value)
    if isinstance(value, list):
        return [in_form_c(item) for item in value]
    if isinstance(value, dict):
        return {key: in_form_c(item) for key, item in value.items()}
    return value


def folded(id_: str) -> str:
    """Return what ids share that differ by case or by dots at their end alone."""
    return id_.lower().rstrip(".")


@lru_cache(maxsize=65_536)
def _is_taken(character: str) -> bool:
    if _IDEOGRAPH.match(character):
        return True
    return ucd_3_2_0.category(character) not in _REFUSED and not _SHOWS_NOTHING.match(character)


def _named(character: str) -> str:
    name = f"U+{ord(character):04X}"
    is_control = ucd_3_2_0.category(character) == _CONTROL
    return f"the control character {name}" if is_control else f"{name}, which is not taken"
