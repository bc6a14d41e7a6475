"""The field `as_of` of a page: how a person names an instant or a size, for the API to read.

2025-03-31                   the end of that day in Beijing
2025-03-31 18:00             that time in Beijing
2025-03-31T18:00:00+08:00    as the API writes it
1,234                        after so many entries
"""

import re
from typing import Final

from meter.values.problems import Problem

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2})(:\d{2})?", re.ASCII)
_SIZE: Final = re.compile(r"\d{1,3}(,\d{3})+", re.ASCII)


def read_as_of(text: str) -> str:
    """Return what the API is asked for. Raises `malformed` for what is none of these."""
    text = text.strip()
    if _DAY.fullmatch(text):
        return f"{text}T23:59:59.999999+08:00"
    if time := _TIME.fullmatch(text):
        day, minute, seconds = time.groups(":00")
        return f"{day}T{minute}{seconds}+08:00"
    if _SIZE.fullmatch(text):
        return text.replace(",", "")
    if text and not text.isdecimal() and "T" not in text:
        raise Problem("malformed", "as_of: a day 2025-03-31, a time 2025-03-31 18:00, or entries")
    return text
