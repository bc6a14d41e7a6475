"""Each day of the access log has a digest in the ledger, against which its rows are checked."""

import asyncio
import random
from collections.abc import Iterator

import asyncpg
import pytest

from ledger.canon import encode
from ledger.errors import Violation
from meter.auditor.papers.access_log import COLUMNS
from meter.console.access_log import HEAD
from meter.rules import commands
from meter.rules.entries import AccessDigested
from meter.rules.kinds.access_digests import SERVICE
from meter.service.access_digests import GRACE_SECONDS, AccessDigests
from meter.tables import access_log
from meter.tables.connections import connect_readers, reading
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, format_instant, parse_instant
from meter.wire.access_log import Access, DayDigest, day_of_access, digest_of
from tests.accesses import digests
from tests.commands import code, elsewhere, good, kashi, told
from tests.meter.test_access_log import written
from tests.meter.test_persons import audit, refusal
from tests.people import sign_in
from tests.services import Clock, address_of, ask, serving, until
from tests.summing import Fields, found, summed
from tests.summing import told as as_told
from tests.writer import Writer

FIRST, SECOND, THIRD = "2025-03-01", "2025-03-02", "2025-03-03"
BEFORE, FOURTH, FIFTH = "2025-02-28", "2025-03-04", "2025-03-05"
NOON = f"{FIRST}T12:00:00+08:00"
DAY = 86_400


# The rules


def writer(now: str = f"{THIRD}T00:00:00+08:00") -> Writer:
    return Writer(NOON).at(now)


def test_a_day_has_a_digest_once_after_it_is_over_and_after_those_before_it():
    books = writer(f"{FIRST}T23:59:59+08:00")
    assert refusal(books.digest_accesses, FIRST) == "bad_dates"
    books.at(f"{SECOND}T00:00:00+08:00")
    number = books.digest_accesses(FIRST)
    assert books.digest_accesses(FIRST) == number  # asked for again
    for other in ({"rows": 3}, {"sha256": "0e" * 32}):
        assert refusal(books.digest_accesses, FIRST, **other) == "exists_differently"
    assert refusal(books.digest_accesses, SECOND) == "bad_dates"
    books.at(f"{THIRD}T00:00:00+08:00")
    books.digest_accesses(SECOND)
    assert refusal(books.digest_accesses, FIRST) == "bad_dates"
    assert [each.day for each in of_days(books)] == [FIRST, SECOND]
    assert {(each.by, each.person) for each in of_days(books)} == {(SERVICE, "")}
    audit(books)


def of_days(books: Writer) -> list[AccessDigested]:
    return [each for each in books.entries if isinstance(each, AccessDigested)]


def test_days_without_a_row_are_left_out():
    books = writer()
    books.digest_accesses(SECOND)
    assert refusal(books.digest_accesses, FIRST) == "bad_dates"
    audit(books)


def test_the_service_alone_makes_a_digest_and_nothing_else():
    books = writer()
    digest = commands.DigestAccesses(day=FIRST, rows=1, sha256="0d" * 32)
    assert refusal(books.do, digest, "op-1") == "unauthorized"
    person = commands.RegisterPerson(id="li")
    assert refusal(books.do, person, SERVICE) == "unauthorized"


LIES = {
    "a person makes it": ({"by": "op-1", "person": "op"}, "sum_persons"),
    "it is a person's": ({"person": "op"}, "sum_persons"),
    "a token makes it": ({"by": "op-1"}, "sum_persons"),
    "it has no row": ({"rows": 0}, "sum_access"),
    "its day is not over": ({"day": THIRD}, "sum_access"),
    "it has a day again": ({"day": FIRST}, "sum_access"),
    "it has an earlier day": ({"day": "2025-02-28"}, "sum_access"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_digest_that_the_rules_refuse_is_found_by_audit_and_sums(lie):
    changes, code = LIES[lie]
    books = writer()
    books.digest_accesses(FIRST)
    number = books.digest_accesses(SECOND)
    entries = as_told(books)
    summed(entries)
    entries[number] |= changes
    assert found(entries, code).entry == number
    with pytest.raises(Violation):
        audited(entries)


def test_the_service_gives_no_other_command_by_the_sums():
    books = writer()
    number = books.person("li")
    entries = as_told(books)
    entries[number] |= {"by": SERVICE, "person": ""}
    assert found(entries, "sum_persons", SERVICE).entry == number


def audited(entries: list[Fields]) -> None:
    """Judge entries as an auditor does. Raises `Violation`."""
    forged = writer()
    forged.leaves = [encode(fields) for fields in entries]
    audit(forged)


# The service


def accesses(count: int, day: str = FIRST, seed: int = 1) -> Iterator[Access]:
    """Yield what was asked on a day, in any order."""
    chance = random.Random(seed)
    begins = parse_instant(f"{day}T00:00:00+08:00") // 60
    for number in range(count):
        yield Access(
            at=(begins + chance.randrange(1_440)) * 60 * MICROSECONDS,
            token=f"bureau-{number % 3}",
            person=chance.choice(("", "wang")),
            role="auditor",
            route="/v1/contracts/{contract}",
            subjects=tuple(f"contract:{n}" for n in range(chance.randrange(3))),
            count=chance.randrange(1, 9),
        )


async def note(service, *noted: Access) -> None:
    """Have rows written, as a process does that is told of them."""
    log = access_log.AccessLog(service.running.readers)
    async with log.writing():
        for each in noted:
            log._counted[each] += each.count


async def days(database: str) -> list[tuple[str, list[Access]]]:
    """Return the stored rows by day."""
    rows = await ask(database, "SELECT * FROM meter.access ORDER BY day, number")
    held: dict[int, list[Access]] = {}
    for row in rows:
        fields = {name: row[name] for name in Access.__struct_fields__}
        access = Access(**fields | {"subjects": tuple(row["subjects"])})
        held.setdefault(row["day"], []).append(access)
    names = {day_of_access(parse_instant(f"{d}T00:00:00+08:00") * MICROSECONDS): d for d in ALL}
    return [(names[day], held[day]) for day in held]


ALL = [format_instant(parse_instant(NOON) + n * DAY)[:10] for n in range(10)]


async def made(service) -> list[AccessDigested]:
    return [each for each in await service.entries() if isinstance(each, AccessDigested)]


async def check(service, database: str) -> None:
    """Check each digest against the rows that the database has."""
    held = await days(database)
    stated = [(each.day, each.rows, each.sha256) for each in await made(service)]
    assert stated == [(day, len(rows), digest_of(rows)) for day, rows in held]


async def test_a_day_is_digested_minute_by_minute(database, tmp_path, monkeypatch):
    held, add = [], DayDigest.add

    def adding(digest, rows):
        held.append(len({each.at for each in rows}))
        add(digest, rows)

    monkeypatch.setattr(DayDigest, "add", adding)
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(500))
        await ask(database, OF_A_WRONG_CLOCK)
        service.clock.set(f"{THIRD}T00:00:00+08:00")
        await digests(service).look()
        assert (set(held), len(held) > 100) == ({1}, True)
        monkeypatch.undo()
        await check(service, database)


OF_A_WRONG_CLOCK = """
INSERT INTO meter.access (day, at, token, person, role, route, subjects, count)
SELECT 20148, at, 'bureau', '', 'auditor', '/v1/log', '{}', 1
FROM unnest(ARRAY[0, 60000000, 9960000000, -60000000]) AS early (at)
"""


async def test_each_day_gets_the_digest_of_its_rows_once(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(50), *accesses(20, THIRD))
        service.clock.set(f"{SECOND}T00:00:00+08:00")
        service.clock.advance(GRACE_SECONDS - 1)
        await digests(service).look()
        assert await made(service) == []
        service.clock.advance(1)
        await digests(service).look()
        assert [each.day for each in await made(service)] == [FIRST]
        service.clock.advance(3 * DAY)
        for _ in range(2):
            await digests(service).look()
            assert [each.day for each in await made(service)] == [FIRST, THIRD]
        await check(service, database)


async def test_a_row_that_comes_late_is_counted_into_the_first_open_day(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(3))
        service.clock.set(f"{THIRD}T01:00:00+08:00")
        await digests(service).look()
        await note(service, *accesses(2, FIRST, seed=2), *accesses(1, SECOND))
        service.clock.advance(DAY)
        await digests(service).look()
        assert [(each.day, each.rows) for each in await made(service)] == [(FIRST, 3), (THIRD, 3)]
        await check(service, database)


async def test_who_writes_rows_is_waited_for_before_a_day_is_closed(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        service.clock.set(f"{SECOND}T01:00:00+08:00")
        writing = await asyncpg.connect(database)
        async with writing.transaction():
            await access_log._add(writing, {next(accesses(1)): 1})
            looking = asyncio.create_task(digests(service).look())
            await until(lambda: waits(database))
        await looking
        await writing.close()
        assert [each.rows for each in await made(service)] == [1]
        await check(service, database)


async def waits(database):
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    (row,) = await ask(database, query)
    return row["count"] > 0


class ProcessEndError(Exception):
    """The process ends here."""


class Interrupted:
    """An intake whose process ends before or after it has committed."""

    def __init__(self, intake, *, after: bool) -> None:
        self._intake, self._after = intake, after

    async def command(self, command, by, request):
        if self._after:
            await self._intake.command(command, by, request)
        raise ProcessEndError


@pytest.mark.parametrize("after", [False, True])
async def test_a_leader_that_ends_between_closing_and_entry_is_followed_by_one(
    database, tmp_path, after
):
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(5))
        service.clock.set(f"{SECOND}T01:00:00+08:00")
        running = service.running
        ended = Interrupted(running.intake, after=after)
        with pytest.raises(ProcessEndError):
            await AccessDigests(running.readers, ended, running.clock).look()
        assert len(await made(service)) == after
        await note(service, *accesses(1, FIRST, seed=3))  # too late for its day
    async with serving(database, tmp_path, clock=Clock(f"{SECOND}T01:01:00+08:00")) as service:
        for _ in range(2):
            await digests(service).look()
        assert [(each.day, each.rows) for each in await made(service)] == [(FIRST, 5)]


async def test_two_leaders_at_once_put_a_digest_once(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(5), *accesses(5, SECOND))
        service.clock.set(f"{THIRD}T01:00:00+08:00")
        await asyncio.gather(*(digests(service).look() for _ in range(3)))
        assert [each.day for each in await made(service)] == [FIRST, SECOND]


async def test_a_service_puts_digests_while_it_runs(database, tmp_path, monkeypatch):
    monkeypatch.setattr("meter.service.access_digests.PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(access_log, "PAUSE_SECONDS", 0.05)
    async with serving(database, tmp_path, NOON) as service:
        assert (await service.get("/v1/me")).status == 200
        await until(lambda: written(database, 1))
        service.clock.advance(DAY)

        async def is_made():
            return bool(await made(service))

        await until(is_made)
        await check(service, database)


async def test_a_database_that_is_away_is_asked_again(database, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("meter.service.access_digests.PAUSE_SECONDS", 0.05)
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(2))
        await ask(database, "ALTER TABLE meter.closed_access_day RENAME TO away")
        service.clock.advance(DAY)

        async def is_told():
            return "access_log_not_digested" in caplog.text

        await until(is_told)
        await ask(database, "ALTER TABLE meter.away RENAME TO closed_access_day")

        async def is_made():
            return bool(await made(service))

        await until(is_made)


async def test_a_closed_day_is_never_opened(database, tmp_path):
    async with serving(database, tmp_path, f"{SECOND}T01:00:00+08:00") as service:
        await digests(service).look()
        readers = await connect_readers(address_of(database))
        async with reading(readers, snapshot=False) as connection:
            await access_log.close_days(connection, 0)
        await readers.close()
    for change in ("DELETE FROM", "UPDATE", "TRUNCATE"):
        rest = " SET day = 1" if change == "UPDATE" else ""
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await ask(database, f"{change} meter.closed_access_day{rest}")
    rows = await ask(database, "SELECT * FROM meter.closed_access_day")
    assert len(rows) == 1


async def test_a_clock_that_has_jumped_closes_no_day(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(1))
        service.clock.set(f"{SECOND}T01:00:00+08:00")
        looking = digests(service)

        def jumped():
            raise Problem("unavailable", "the clock has jumped")

        looking._clock = type("Jumped", (), {"now": staticmethod(jumped)})
        with pytest.raises(Problem, match="jumped"):
            await looking.look()
        assert await made(service) == []


# The auditor


@pytest.fixture
async def published(database, tmp_path):
    """Return a log with digests of three days of four, and what the console gives of them all."""
    async with serving(database, tmp_path, NOON) as service:
        await note(service, *accesses(30), *accesses(10, THIRD))
        service.clock.set(f"{THIRD}T01:00:00+08:00")
        await digests(service).look()
        await note(service, *accesses(2, FIRST, seed=4))  # late: they are of the third day
        await note(service, *accesses(5, FOURTH))
        service.clock.advance(2 * DAY)
        await digests(service).look()
        await note(service, *accesses(4, FIFTH))
        await service.published()
        visitor = await sign_in(service, "auditor")
        files = {}
        for name, until_ in (("good", FIFTH), ("more", "2025-03-06")):
            path = f"/en/access-log.csv?from={FIRST}&until={until_}"
            answer = await service.get(path, **visitor.headers)
            assert answer.status == 200
            files[name] = answer.body
        assert [each.rows for each in await made(service)] == [30, 12, 5]
    return tmp_path / "kashi", files


def run(published, content: bytes, *words: str):
    data, _ = published
    file = data.parent / "access-log.csv"
    file.write_bytes(content)
    return kashi("audit", "access-log", file, data / "log", "--vkey", data / "log.vkey", *words)


def test_the_file_of_the_console_is_as_its_digests_say(published):
    _, files = published
    lines = good(run(published, files["good"])).splitlines()
    assert [line.partition(" rows")[0] for line in lines] == [
        f"good: {FIRST}: 30",
        f"good: {THIRD}: 12",
        f"good: {FOURTH}: 5",
    ]
    chinese = good(run(published, files["good"], "--lang", "zh"))
    assert f"相符：{FIRST}：30 行" in chinese
    assert COLUMNS == HEAD


def test_an_operator_writes_the_same_file_without_a_token(database, published):
    data, files = published
    out = data.parent / "rows.csv"
    words = ("access-log", "export", "--data", data, out)
    several = ("--from", FIRST, "--until", FIFTH)
    with elsewhere(database):
        assert good(kashi(*words, *several)) == f"{out} has 47 rows\n"
        assert out.read_bytes() == files["good"]
        assert out.stat().st_mode & 0o777 == 0o600
        assert len(good(run(published, out.read_bytes())).splitlines()) == 3
        assert code(told(kashi(*words, "--day", FIRST))) == "bad_target"
        assert out.read_bytes() == files["good"]
        out.unlink()
        assert good(kashi(*words, "--day", THIRD)) == f"{out} has 12 rows\n"
        assert good(run(published, out.read_bytes())).startswith(f"good: {THIRD}: 12")
        out.unlink()
        assert good(kashi(*words, "--day", SECOND)) == f"{out} has 0 rows\n"
        out.unlink()
        assert "not a date" in told(kashi(*words, "--day", "1 March"))
        wrong = ((), ("--from", FIRST), ("--day", FIRST, *several), (*several[:3], FIRST))
        assert {kashi(*words, *each).exit_code for each in wrong} == {2}
        assert list(data.parent.glob("rows.csv*")) == []


def changed(content: bytes, change) -> bytes:
    head, *lines = content.decode("utf-8-sig").splitlines(keepends=True)
    return "".join([head, *change(lines)]).encode()


CHANGES = {
    "a row is left out": lambda lines: lines[1:],
    "a row is there twice": lambda lines: [lines[0], *lines],
    "a role is another": lambda lines: [lines[0].replace(",auditor,", ",authority,"), *lines[1:]],
    "a row is of another day": lambda lines: [
        *lines[:29],
        lines[29].replace(FIRST, THIRD, 1),
        *lines[30:],
    ],
    "a day is left out": lambda lines: lines[:30] + lines[42:],
    "a day is made up": lambda lines: [
        *lines[:30],
        lines[0].replace(FIRST, SECOND, 1),
        *lines[30:],
    ],
    "a day before all is made up": lambda lines: [lines[0].replace(FIRST, BEFORE, 1), *lines],
}


def test_rows_that_differ_from_the_digest_are_found(published):
    _, files = published
    for what, change in CHANGES.items():
        result = run(published, changed(files["good"], change))
        assert result.exit_code == 1, what
        assert "VIOLATED: access_log_changed: " in result.stderr


def test_rows_in_another_order_are_the_same(published):
    _, files = published
    turned = changed(files["good"], lambda lines: lines[29::-1] + lines[:29:-1])
    result = run(published, turned)
    assert (result.exit_code, result.stdout.count("good: ")) == (2, 1)
    assert f"could not check: line 37: {THIRD} comes after {FOURTH}" in result.stderr
    good(run(published, changed(files["good"], lambda ls: ls[29::-1] + ls[41:29:-1] + ls[42:])))


def test_a_file_may_begin_with_any_day(published):
    _, files = published
    lines = good(run(published, changed(files["good"], lambda lines: lines[30:]))).splitlines()
    assert [line.partition(" rows")[0] for line in lines] == [
        f"good: {THIRD}: 12",
        f"good: {FOURTH}: 5",
    ]


def test_a_day_without_a_digest_is_not_checked(published):
    _, files = published
    result = run(published, files["more"])
    assert (result.exit_code, result.stdout.count("good: ")) == (2, 3)
    assert f"could not check: {FIFTH} has no digest in the log yet" in result.stderr


BAD = {
    b"": "its first line must be day,time,",
    b'"day': "not a CSV file",
    b"\xff": "not a CSV file",
    b"time,token\r\n": "its first line must be day,time,",
    b"HEAD": "it has no rows",
    b"HEAD2025-03-01,a\r\n": "line 2: 2 cells, not 8",
    b'HEAD"2025': "not a CSV file",
    b"HEAD2025-03-01,x,t,,auditor,/v1/me,,1\r\n": "line 2: not an instant",
    b"HEAD2025-3-1,2025-03-01T12:00:00+08:00,t,,auditor,/v1/me,,1\r\n": "line 2: not a date",
    b"HEAD2025-03-01,2025-03-01T12:00:00+08:00,t,,nobody,/v1/me,,1\r\n": "line 2: Invalid",
    b"HEAD2025-03-01,2025-03-01T12:00:00+08:00,t,,auditor,/v1/me,,-1\r\n": "line 2: not a count",
}


def test_what_is_no_access_log_is_not_checked(published):
    head = ",".join(COLUMNS).encode() + b"\r\n"
    for content, words in BAD.items():
        assert words in told(run(published, content.replace(b"HEAD", head)), 2), content


def test_a_count_is_written_in_ascii_alone(published):
    row = f"{FIRST},{NOON},t,,auditor,/v1/me,,\u0661\r\n"
    content = f"{','.join(COLUMNS)}\r\n{row}".encode()
    assert "line 2: not a count" in told(run(published, content), 2)
