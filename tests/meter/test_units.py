"""Texts outside and integers inside: conversions both ways, and refused spellings."""

import zoneinfo
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.values.units import (
    DAY_SECONDS,
    MAX_FEN,
    add_months,
    format_date,
    format_instant,
    format_moment,
    format_money,
    format_price,
    parse_date,
    parse_instant,
    parse_moment,
    parse_money,
    parse_price,
    year_of,
    year_start,
)
from tests.books import properties

SHANGHAI = timezone(timedelta(hours=8))
dates = st.dates(date(1900, 1, 1), date(9899, 12, 31))
instants = st.datetimes(datetime(1901, 1, 1), datetime(9898, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0, tzinfo=SHANGHAI)
)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017


def seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


# Money


@pytest.mark.parametrize(
    ("text", "fen"),
    [
        ("0.00", 0),
        ("0.01", 1),
        ("0.10", 10),
        ("1.00", 100),
        ("288.00", 28_800),
        ("10000000.00", 10**9),
        ("10000000000000.00", MAX_FEN),
    ],
)
def test_money_is_read_to_the_fen(text, fen):
    assert parse_money(text) == fen
    assert format_money(fen) == text


def test_negative_money_is_written_with_its_sign_and_never_read():
    assert format_money(-1) == "-0.01"
    assert format_money(-28_850) == "-288.50"
    assert format_money(-100) == "-1.00"
    with pytest.raises(ValueError, match="amount"):
        parse_money("-0.01")


@properties
@given(st.integers(0, MAX_FEN))
def test_money_comes_back_as_it_went(fen):
    assert parse_money(format_money(fen)) == fen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1",
        "1.",
        ".50",
        "1.0",
        "1.000",
        "00.00",
        "01.00",
        "+1.00",
        "-1.00",
        "1,000.00",
        "1_000.00",
        "1 000.00",
        " 1.00",
        "1.00 ",
        "1.00\n",
        "1.5e3",
        "1e2",
        "0x1.00",
        "１.00",
        "1.0٠",
        "NaN",
        "Infinity",
        "¥1.00",
        "10000000000000.01",
        "99999999999999.00",
        "100000000000000.00",
    ],
)
def test_money_has_one_spelling(text):
    with pytest.raises(ValueError, match="amount"):
        parse_money(text)


# Prices


@pytest.mark.parametrize(
    ("text", "price", "written"),
    [
        ("4.50", 45_000, "4.50"),
        ("4.5", 45_000, "4.50"),
        ("4", 40_000, "4.00"),
        ("0.0001", 1, "0.0001"),
        ("12.34", 123_400, "12.34"),
        ("7.3333", 73_333, "7.3333"),
        ("7.330", 73_300, "7.33"),
        ("99999.9999", 999_999_999, "99999.9999"),
    ],
)
def test_prices_have_up_to_four_decimals(text, price, written):
    assert parse_price(text) == price
    assert format_price(price) == written


@properties
@given(st.integers(1, 10**9 - 1))
def test_prices_come_back_as_they_went(price):
    assert parse_price(format_price(price)) == price


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.00", "0.0000", ".5", "5.", "-1", "+1", "01", "1.00000", "1e2", "1,0", "１", "1\n"],
)
def test_a_price_is_above_zero_and_has_no_other_spelling(text):
    with pytest.raises(ValueError, match="price"):
        parse_price(text)


@pytest.mark.parametrize("text", ["100000", "100000.00", "1000000", "99999999"])
def test_a_price_is_below_100000_yuan_an_hour(text):
    with pytest.raises(ValueError, match="price"):
        parse_price(text)


# Instants


@properties
@given(instants, st.integers(-(24 * 60 - 1), 24 * 60 - 1))
def test_an_instant_is_the_same_under_every_offset(moment, minutes):
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_instant(local.isoformat()) == seconds(moment)
    assert parse_instant(moment.astimezone(EPOCH.tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")) == (
        seconds(moment)
    )


@properties
@given(instants)
def test_an_instant_is_written_as_shanghai_reads_it(moment):
    assert format_instant(seconds(moment)) == moment.isoformat()
    assert parse_instant(format_instant(seconds(moment))) == seconds(moment)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T08:00:00+08:00", 0),
        ("1969-12-31T23:59:59Z", -1),
        ("2025-03-01T08:00:00+08:00", 1_740_787_200),
        ("2024-02-29T00:00:00Z", 1_709_164_800),
        ("2000-02-29T12:00:00-12:00", 951_868_800),
    ],
)
def test_known_instants(text, value):
    assert parse_instant(text) == value


@properties
@given(st.text("0123456789-+:TZtz. ", max_size=27))
def test_a_text_is_an_instant_or_a_value_error(text):
    try:
        value = parse_instant(text)
    except ValueError:
        return
    assert datetime.fromisoformat(text) == EPOCH + timedelta(seconds=value)


# Dates and years


@properties
@given(dates)
def test_a_date_is_its_midnight_in_shanghai(day):
    midnight = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    assert parse_date(day.isoformat()) == seconds(midnight)
    assert format_date(parse_date(day.isoformat())) == day.isoformat()
    assert format_date(parse_date(day.isoformat()) + DAY_SECONDS - 1) == day.isoformat()


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-29",
        "2025-00-01",
        "2025-13-01",
        "2025-01-32",
        "2025-1-01",
        "2025-01-1",
        "20250101",
        "2025/01/01",
        "2025-W01-1",
        "2025-001",
        "2025-01-01T00:00:00Z",
        " 2025-01-01",
        "2025-01-01\n",
        "２025-01-01",
        "1899-12-31",
        "9900-01-01",
        "",
    ],
)
def test_a_date_has_one_spelling(text):
    with pytest.raises(ValueError, match=r"date|day|year"):
        parse_date(text)


@pytest.mark.parametrize("year", [1970, 2000, 2024, 2025, 2026, 2027, 9999])
def test_a_year_begins_at_midnight_of_1_january_in_shanghai(year):
    start = year_start(year)
    assert start == seconds(datetime(year, 1, 1, tzinfo=SHANGHAI))
    assert (year_of(start - 1), year_of(start)) == (year - 1, year)


def test_the_year_edge_lies_at_16_o_clock_utc():
    assert year_of(parse_instant("2025-12-31T15:59:59Z")) == 2025
    assert year_of(parse_instant("2025-12-31T16:00:00Z")) == 2026


@properties
@given(instants)
def test_the_year_of_an_instant_is_the_calendars(moment):
    assert year_of(seconds(moment)) == moment.year


@properties
@given(st.datetimes(datetime(1992, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_shanghai_has_this_offset_whenever_a_policy_is_in_force(naive):
    try:
        zone = zoneinfo.ZoneInfo("Asia/Shanghai")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zone data")
    moment = naive.replace(microsecond=0, tzinfo=zone)
    assert format_instant(seconds(moment)) == moment.isoformat()
    assert year_of(seconds(moment)) == moment.year


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [
        ("2024-01-15", 12, "2025-01-15"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2023-02-28", 12, "2024-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2025-01-31", 1, "2025-02-28"),
        ("2025-03-31", 1, "2025-04-30"),
        ("2025-08-31", 6, "2026-02-28"),
        ("2025-12-31", 2, "2026-02-28"),
        ("2025-11-30", 1, "2025-12-30"),
        ("2025-12-01", 1, "2026-01-01"),
        ("2025-01-01", 0, "2025-01-01"),
        ("9899-12-31", 120, "9909-12-31"),
    ],
)
def test_months_later_is_the_corresponding_day_or_the_months_last(day, months, later):
    # Civil Code, article 202
    assert add_months(day, months) == later


@properties
@given(dates, st.integers(0, 120))
def test_months_later_is_in_the_right_month_and_never_on_a_later_day(day, months):
    later = date.fromisoformat(add_months(day.isoformat(), months))
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == day.day or (
        later.day < day.day and (later + timedelta(days=1)).month != later.month
    )


# Moments


@properties
@given(st.integers(-(10**15), 2**57))
def test_a_moment_reads_back_to_the_microsecond(microseconds):
    assert parse_moment(format_moment(microseconds)) == microseconds


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T08:00:00.000001+08:00", 1),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.120-00:01", 60_120_000),
    ],
)
def test_a_moment_has_up_to_six_decimals(text, microseconds):
    assert parse_moment(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        *("1970-01-01T00:00:00.Z", "1970-01-01T00:00:00.1234567Z", "1970-01-01T00:00:00,5Z"),
        *("1970-01-01T00:00:00.5", "1970-01-01T00:00:00.5 Z", "1970-01-01T00:00.5:00Z", "", "x"),
        *("1970-01-01T00:00:00.+5Z", "1970-01-01T00:00:00.٥Z", "1970-01-01T00:00:00.5Z\n"),
    ],
)
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ValueError, match="not an instant"):
        parse_moment(text)
