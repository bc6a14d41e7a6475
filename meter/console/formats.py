"""How figures and times are written for people, in Chinese and English.

Money comes as the API's yuan text and is never computed here. Tables and sentences have all of it,
`¥1,438,941.60`; only the axis of a chart is short, `144万` or `1.4M`. Times are Beijing's, and say
so, whatever the reader's clock is set to.
"""

import re
from datetime import datetime, timedelta, timezone
from typing import Final, Literal

Language = Literal["zh", "en"]

LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")
MINUS: Final = "\N{MINUS SIGN}"
BEIJING: Final = timezone(timedelta(hours=8))

_DECIMAL: Final = re.compile(r"(-?)([0-9]+)((?:\.[0-9]+)?)")
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SHORT: Final[dict[Language, tuple[tuple[int, str], ...]]] = {
    "zh": ((10**8, "亿"), (10**4, "万")),
    "en": ((10**9, "bn"), (10**6, "M"), (10**3, "k")),
}
_LABEL: Final[dict[Language, str]] = {"zh": "北京时间", "en": "Beijing time"}
_UNITS_OF_TIME: Final[tuple[tuple[int, dict[Language, str]], ...]] = (
    (86_400, {"zh": "天前", "en": "d ago"}),
    (3_600, {"zh": "小时前", "en": "h ago"}),
    (60, {"zh": "分钟前", "en": "min ago"}),
    (1, {"zh": "秒前", "en": "s ago"}),
)


def money(yuan: str) -> str:
    """`1438941.60` -> `¥1,438,941.60`."""
    sign, whole, rest = _parts(yuan)
    return f"{sign}¥{whole}{rest}"


def number(text: str) -> str:
    """`-1234567.8900` -> `−1,234,567.89`: device-hours and counts, without zeros at the end."""
    sign, whole, rest = _parts(text)
    return f"{sign}{whole}{rest.rstrip('0').rstrip('.')}"


def short(units: int, language: Language) -> str:
    """Return a figure of an axis with at most one decimal: `144万`, `1.4M`."""
    sign, units = (MINUS, -units) if units < 0 else ("", units)
    for size, name in _SHORT[language]:
        if units >= size:
            tenths = (units * 10 + size // 2) // size
            whole, rest = divmod(tenths, 10)
            return f"{sign}{whole:,}{f'.{rest}' if rest else ''}{name}"
    return f"{sign}{units:,}"


def percent(part: int, whole: int) -> str:
    """Return a share cut to one decimal; only all is `100%`, and only nothing is `0%`."""
    if whole <= 0 or part <= 0:
        return "0%"
    if part >= whole:
        return f"{part * 100 // whole}%"
    tenths = part * 1_000 // whole
    return f"{tenths // 10}.{tenths % 10}%" if tenths else "<0.1%"


def percent_of_bp(basis_points: int) -> str:
    """`6000` -> `60%`."""
    return f"{number(f'{basis_points // 100}.{basis_points % 100:02}')}%"


def date(text: str, language: Language) -> str:
    """`2025-03-01` -> `2025年3月1日`, `1 March 2025`."""
    year, month, day = _date(text)
    if language == "zh":
        return f"{year}年{month}月{day}日"
    return f"{day} {_MONTHS[month - 1]} {year}"


def short_date(text: str, language: Language) -> str:
    """`2025-03-01` -> `3月1日`, `1 Mar`: on an axis, and where the year stands beside it."""
    _, month, day = _date(text)
    return f"{month}月{day}日" if language == "zh" else f"{day} {_MONTHS[month - 1][:3]}"


def minute(text: str) -> str:
    """Return an instant of the API to the minute, in Beijing time: `2025-03-01 08:00`."""
    return f"{datetime.fromisoformat(text).astimezone(BEIJING):%Y-%m-%d %H:%M}"


def moment(text: str, language: Language) -> str:
    """Return an instant of the API to the second, in Beijing time, and say so."""
    there = datetime.fromisoformat(text).astimezone(BEIJING)
    time = f"{date(there.date().isoformat(), language)} {there:%H:%M:%S}"
    return f"{time}（{_LABEL[language]}）" if language == "zh" else f"{time} ({_LABEL[language]})"


def age(seconds: int, language: Language) -> str:
    """Return how long ago something was, in the largest unit of which one has passed: `3 min`."""
    units = (each for each in _UNITS_OF_TIME if seconds >= each[0])
    size, names = next(units, _UNITS_OF_TIME[-1])
    return f"{max(0, seconds) // size:,} {names[language]}"


def _date(text: str) -> tuple[int, int, int]:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a date: {text!r:.40}")
    year, month, day = map(int, match.groups())
    return year, month, day


def _parts(text: str) -> tuple[str, str, str]:
    """Return sign, whole part with separators, and the rest with its point."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not a figure: {text!r:.40}")
    sign, whole, rest = match.groups()
    return MINUS if sign else "", f"{int(whole):,}", rest
