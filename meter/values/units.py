"""Money, prices, instants and dates: their text at the edge and their integer inside.

    money    fen (1/100 yuan)       "288.00"                      <-> 28800
    price    1/10000 yuan per hour  "4.50"                        <-> 45000
    instant  whole seconds, UTC     "2025-03-01T08:00:00+08:00"   <-> 1740787200
    moment   microseconds, UTC      "2025-03-01T08:00:00.250000+08:00" <-> 1740787200250000
    hours    thousandths × seconds  "1.5000"                      <-  5400000
    device-seconds  the same        "5400.000"                    <-> 5400000
    date     Asia/Shanghai          "2025-03-01"                  <-> its midnight, an instant
    year     calendar year there    2025                          <-> [midnight, midnight)

Each value has one accepted spelling, except that an instant may name any offset, and a price or a
moment may end with zeros. Any other text raises `ValueError` with a sentence. No float is used.
"""

import re
from calendar import monthrange
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

FEN_PER_YUAN: Final = 100
MICROSECONDS: Final = 1_000_000
DAY_SECONDS: Final = 86_400
# Fixed: the city has kept UTC+8 without summer time since 1991, and no policy is older.
SHANGHAI_OFFSET_SECONDS: Final = 8 * 3600
MAX_FEN: Final = 10**15  # ten trillion yuan: far above any pool, far below the 2^53 of an entry

_MONEY = re.compile(r"(0|[1-9][0-9]{0,13})\.([0-9]{2})", re.ASCII)
# Below 100,000 yuan, so that the dearest record's cost stays below the 2^53 of an entry.
_PRICE = re.compile(r"(0|[1-9][0-9]{0,4})(?:\.([0-9]{1,4}))?", re.ASCII)
_DEVICE_SECONDS = re.compile(r"(0|[1-9][0-9]{0,17})\.([0-9]{3})", re.ASCII)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))",
    re.ASCII,
)
_FRACTION = re.compile(r"(.{19})(?:\.([0-9]{1,6}))?(.+)", re.ASCII)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the offset is added as text
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
# An instant of these years has a date in every offset, even with months added to it. The range
# begins early because companies are founded early.
_YEARS: Final = range(1900, 9900)


def parse_money(text: str) -> int:
    """Yuan with exactly two decimals -> fen, 0 to `MAX_FEN`."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise ValueError(f"not an amount in yuan with two decimals: {text!r:.80}")
    fen = int(match[1]) * FEN_PER_YUAN + int(match[2])
    if fen > MAX_FEN:
        raise ValueError(f"amount too large: {text!r:.80}")
    return fen


@lru_cache(maxsize=65_536)  # the records of a run cost the same again and again
def format_money(fen: int) -> str:
    """Fen -> yuan with exactly two decimals, with a sign where negative."""
    yuan, rest = divmod(abs(fen), FEN_PER_YUAN)
    return f"{'-' if fen < 0 else ''}{yuan}.{rest:02d}"


def parse_price(text: str) -> int:
    """Yuan per device-hour with up to four decimals -> 1/10000 yuan, above zero."""
    match = _PRICE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a price in yuan with up to four decimals: {text!r:.80}")
    price = int(match[1]) * 10_000 + int((match[2] or "").ljust(4, "0"))
    if price == 0:
        raise ValueError("a price must be above zero")
    return price


def format_price(price: int) -> str:
    """1/10000 yuan -> yuan with two to four decimals."""
    yuan, rest = divmod(price, 10_000)
    decimals = f"{rest:04d}"
    return f"{yuan}.{decimals[:2]}{decimals[2:].rstrip('0')}"


def format_hours(device_time: int) -> str:
    """Thousandths × seconds -> device-hours, cut to four decimals."""
    return write_hours(hours_of(device_time))


def hours_of(device_time: int) -> int:
    """Thousandths × seconds -> 1/10000 of device-hours, cut."""
    return device_time // 360


def write_hours(hours: int) -> str:
    """1/10000 of device-hours -> device-hours with four decimals."""
    whole, rest = divmod(hours, 10_000)
    return f"{whole}.{rest:04d}"


def parse_device_seconds(text: str) -> int:
    """Device-seconds with exactly three decimals -> thousandths × seconds."""
    match = _DEVICE_SECONDS.fullmatch(text)
    if match is None:
        raise ValueError(f"not device-seconds with three decimals: {text!r:.80}")
    return int(match[1]) * 1_000 + int(match[2])


def format_device_seconds(device_time: int) -> str:
    """Thousandths × seconds -> device-seconds with exactly three decimals."""
    return f"{device_time // 1_000}.{device_time % 1_000:03d}"


def parse_instant(text: str) -> int:
    """`YYYY-MM-DDThh:mm:ss` with `Z` or `±hh:mm` -> seconds since 1970 UTC."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"not an instant YYYY-MM-DDThh:mm:ss with Z or an offset: {text!r:.80}")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"no such time of day: {text!r:.80}")
    local = _days(year, month, day, text) * DAY_SECONDS + hour * 3600 + minute * 60 + second
    if match[7] is None:
        return local
    offset = int(match[8]) * 3600 + int(match[9]) * 60
    return local + offset if match[7] == "-" else local - offset


def format_instant(seconds: int) -> str:
    """Seconds since 1970 UTC -> the instant in Shanghai's offset, as people there read it."""
    local = _EPOCH + timedelta(seconds=seconds + SHANGHAI_OFFSET_SECONDS)
    return f"{local.isoformat()}+08:00"


def parse_moment(text: str) -> int:
    """An instant with up to six decimals of a second -> microseconds since 1970 UTC."""
    match = _FRACTION.fullmatch(text)
    if match is None:
        raise ValueError(f"not an instant YYYY-MM-DDThh:mm:ss with Z or an offset: {text!r:.80}")
    fraction = match[2] or ""
    return parse_instant(match[1] + match[3]) * MICROSECONDS + int(fraction.ljust(6, "0"))


def format_moment(microseconds: int) -> str:
    """Microseconds since 1970 UTC -> the instant, with six decimals unless it is a whole second."""
    seconds, rest = divmod(microseconds, MICROSECONDS)
    text = format_instant(seconds)
    return f"{text[:19]}.{rest:06d}{text[19:]}" if rest else text


@lru_cache(maxsize=4_096)
def parse_date(text: str) -> int:
    """`YYYY-MM-DD` in Asia/Shanghai -> the instant at which that day begins there."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a date YYYY-MM-DD: {text!r:.80}")
    year, month, day = map(int, match.groups())
    return _days(year, month, day, text) * DAY_SECONDS - SHANGHAI_OFFSET_SECONDS


def format_date(seconds: int) -> str:
    """Return the Shanghai date on which an instant falls."""
    return format_instant(seconds)[:10]


def day_of(seconds: int) -> int:
    """Return the Shanghai day on which an instant falls, counted from 1970-01-01 there."""
    return (seconds + SHANGHAI_OFFSET_SECONDS) // DAY_SECONDS


def days_of_month(day: int) -> int:
    """Return how many days the calendar month of a Shanghai day has."""
    found = date.fromordinal(day + _EPOCH_ORDINAL)
    return monthrange(found.year, found.month)[1]


def day_start(day: int) -> int:
    """Return the instant at which a Shanghai day begins; the inverse of `day_of`."""
    return day * DAY_SECONDS - SHANGHAI_OFFSET_SECONDS


def add_months(day: str, months: int) -> str:
    """Return the same day some months later, or that month's last day where it is shorter.

    Source: Civil Code of the PRC, article 202.
    """
    year, month, number = map(int, day.split("-"))
    year, month = year + (month - 1 + months) // 12, (month - 1 + months) % 12 + 1
    first_of_next = date(year + month // 12, month % 12 + 1, 1)
    last = (first_of_next - timedelta(days=1)).day
    return f"{year:04d}-{month:02d}-{min(number, last):02d}"


@lru_cache(maxsize=1_024)
def year_start(year: int) -> int:
    """Return the instant at which a calendar year begins in Shanghai."""
    return (date(year, 1, 1).toordinal() - _EPOCH_ORDINAL) * DAY_SECONDS - SHANGHAI_OFFSET_SECONDS


def year_of(seconds: int) -> int:
    """Return the Shanghai calendar year in which an instant falls."""
    days = (seconds + SHANGHAI_OFFSET_SECONDS) // DAY_SECONDS
    return date.fromordinal(days + _EPOCH_ORDINAL).year


def _days(year: int, month: int, day: int, text: str) -> int:
    if year not in _YEARS:
        raise ValueError(f"a year outside {_YEARS.start} to {_YEARS.stop - 1}: {text!r:.80}")
    try:
        return date(year, month, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise ValueError(f"no such day: {text!r:.80}") from None
