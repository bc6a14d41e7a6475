"""Who asked what: rows that nobody changes, for auditors, and what becomes of them at a stop."""

import asyncio

import asyncpg
import pytest
from msgspec import structs

from ledger.roles import Roles
from meter.host import clock as host_clock
from meter.service import admin
from meter.tables import access_log
from meter.tables.connections import connect_readers
from meter.values.units import MICROSECONDS, parse_date
from meter.wire.access_log import Access, digest_of
from tests.accesses import digests
from tests.books import ALPHA, BETA, record
from tests.meter.test_growth_of_reads import read
from tests.people import environment, sign_in
from tests.services import (
    ORIGIN,
    Clock,
    address_of,
    ask,
    authorization,
    enterprise_body,
    serving,
    until,
)

NOON = "2025-03-01T12:00:00+08:00"
COLUMNS = "at, token, person, role, route, subjects, count"
ROWS = f"SELECT {COLUMNS} FROM meter.access ORDER BY at, number"
BALANCE = f"/v1/enterprises/{ALPHA}/balance?programme=training-coupon&year=2025"
HOUR = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")
ROUTE = "/v1/enterprises/{uscc}/balance"


@pytest.fixture
def often(monkeypatch):
    """Rows are written soon, and not once a minute."""
    monkeypatch.setattr(access_log, "PAUSE_SECONDS", 0.05)


async def rows(database):
    return [tuple(row)[1:] for row in await ask(database, ROWS)]


async def test_questions_wait_for_no_row_and_all_are_there_after_a_stop(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:
        await service.open_books()
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        auditor = await authorization(service, "bureau", "auditor")
        for _ in range(3):
            assert (await service.get(BALANCE, Authorization=firm)).status == 200
        assert (await service.get(BALANCE)).status == 200
        assert (await service.get("/v1/me", Authorization=firm)).status == 200
        asked = await service.get(f"/v1/contracts?enterprise={ALPHA}&q=A", Authorization=auditor)
        assert asked.status == 200
        # No questions: what is public, posted, or asked by nobody or by whom the URL does not let.
        await service.get("/log/checkpoint")
        await service.usage([record("r", "A", *HOUR, 1_000)])
        assert (await service.get(BALANCE, Authorization="Bearer firm.x")).status == 401
        other = BALANCE.replace(ALPHA, BETA)
        assert (await service.get(other, Authorization=firm)).status == 404
        assert (await service.get("/v1/coupons", Authorization=firm)).status == 403
        assert await rows(database) == []
    subject = [f"enterprise:{ALPHA}"]
    assert sorted(await rows(database)) == [
        ("authority-1", "authority", "authority", ROUTE, subject, 1),
        ("bureau", "", "auditor", "/v1/contracts", subject, 1),
        ("firm", "", "enterprise", ROUTE, subject, 3),
        ("firm", "", "enterprise", "/v1/me", subject, 1),
    ]


@pytest.mark.usefixtures("often")
async def test_pages_name_who_signed_in_and_each_minute_has_a_row(database, tmp_path):
    clock = Clock(NOON)
    async with serving(database, tmp_path, clock=clock) as service:
        await service.activate()
        await service.ask("/v1/enterprises", **enterprise_body())
        clerk = await sign_in(service, "authority")
        firm = await sign_in(service, "enterprise", ALPHA)
        for _ in range(2):
            for who in (clerk, firm):
                path = f"/zh/enterprises/{ALPHA}/contracts"
                assert (await service.get(path, **who.headers)).status == 200
            clock.advance(60)
    found = [row for row in await rows(database) if row[3].endswith("/contracts")]
    page = "/zh/enterprises/{uscc}/contracts"
    assert sorted(found) == [
        *[(clerk.id, "authority", "authority", page, [f"enterprise:{ALPHA}"], 1)] * 2,
        *[(firm.id, firm.id, "enterprise", page, [f"enterprise:{ALPHA}"], 1)] * 2,
    ]
    minutes = await ask(database, "SELECT DISTINCT at FROM meter.access ORDER BY at")
    assert [row["at"] % 60_000_000 for row in minutes] == [0] * len(minutes)
    assert minutes[-1]["at"] - minutes[0]["at"] >= 60_000_000


@pytest.mark.usefixtures("often")
async def test_auditors_alone_find_rows_by_each_filter(database, tmp_path):
    clock = Clock(NOON)
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books()
        bureau = await authorization(service, "bureau", "auditor")
        firm = await authorization(service, "firm", "enterprise", ALPHA)
        await service.get(BALANCE)
        clock.advance(86_400)
        await service.get(BALANCE, Authorization=firm)
        await service.get("/v1/me", Authorization=firm)
        await until(lambda: written(database, 3))
        for headers in ({}, {"Authorization": firm}):
            assert (await service.get("/v1/access-log", **headers)).status == 403

        async def found(query):
            answer = await service.get(f"/v1/access-log{query}", Authorization=bureau)
            assert answer.status == 200, answer.body
            return [(each["token"], each["route"]) for each in answer.json["accesses"]]

        mine, theirs, me = ("authority-1", ROUTE), ("firm", ROUTE), ("firm", "/v1/me")
        assert (await found("?until=2025-03-02")) == [mine]
        assert (await found("?from=2025-03-02&token=firm")) == [theirs, me]
        assert (await found("?person=authority")) == [mine]
        assert (await found(f"?subject=enterprise:{ALPHA}&token=firm")) == [theirs, me]
        assert (await found("?route=/v1/me")) == [me]
        assert (await found("?person=nobody")) == []
        first = await service.get("/v1/access-log?limit=1&token=firm", Authorization=bureau)
        assert first.json["more"]
        rest = f"?limit=1&token=firm&after={first.json['next']}"
        assert await found(rest) == [me]
        (shown,) = first.json["accesses"]
        assert shown == {
            "day": "2025-03-02",
            "time": "2025-03-02T12:00:00+08:00",
            "token": "firm",
            "role": "enterprise",
            "route": ROUTE,
            "subjects": [f"enterprise:{ALPHA}"],
            "count": 1,
        }
        for query in ("from=2025-01-01&until=2025-03-01", "from=2025-03-02&until=2025-03-02"):
            answer = await service.get(f"/v1/access-log?{query}", Authorization=bureau)
            assert answer.code == "bad_dates"
        # The page shows the same, in both languages and as a file.
        visitor = await sign_in(service, "auditor")
        for language, title in (("zh", "查阅记录"), ("en", "Access log")):
            path = f"/{language}/access-log?from=2025-03-02&until=&token=firm"
            page = await service.get(path, **visitor.headers)
            assert page.status == 200
            text = page.body.decode()
            assert title in text
            assert text.count(f"enterprise:{ALPHA}") == 2
            assert "authority-1" not in text
        file = await service.get("/en/access-log.csv?route=/v1/me", **visitor.headers)
        lines = file.body.decode("utf-8-sig").split("\r\n")
        row = f"2025-03-02T12:00:00+08:00,firm,,enterprise,/v1/me,enterprise:{ALPHA},1"
        assert lines[1] == f"2025-03-02,{row}"
        wrong = await service.get("/en/access-log?token=a%20b", **visitor.headers)
        assert wrong.status == 400
        clerk = await sign_in(service, "authority")
        assert (await service.get("/en/access-log", **clerk.headers)).status == 403


def test_a_token_that_asks_without_end_fills_no_disk(monkeypatch):
    monkeypatch.setattr(access_log, "MAX_ABOUT", 3)
    log = access_log.AccessLog(None)
    about = [(f"entry:{number}",) for number in range(5)]
    for at in (0, 60 * MICROSECONDS):
        for subjects in (*about, about[0]):
            log.note(structs.replace(row("firm"), at=at, subjects=subjects))
        log.note(structs.replace(row("bureau"), at=at, subjects=about[0]))
    counted = [(each.at, each.token, each.subjects, n) for each, n in log._counted.items()]
    assert counted == [
        (at, *which)
        for at in (0, 60 * MICROSECONDS)
        for which in (
            ("firm", about[0], 2),
            *(("firm", each, 1) for each in about[1:3]),
            ("firm", access_log.MANY, 2),
            ("bureau", about[0], 1),
        )
    ]


async def test_a_page_reads_so_many_rows_and_no_more_whatever_is_sought(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(access_log, "MAX_READ", 4)
    async with serving(database, tmp_path, NOON) as service:
        bureau = await authorization(service, "bureau", "auditor")
        for token, count in (("often", 9), ("seldom", 1), ("often", 3)):
            await ask(database, MANY_ROWS, token, count)
        found, page = [], {"more": True, "next": ""}
        while page["more"]:
            path = f"/v1/access-log?token=seldom&after={page['next']}"
            page = (await service.get(path, Authorization=bureau)).json
            found.append([each["token"] for each in page["accesses"]])
        assert found == [[], [], ["seldom"], []]
        all_ = (await service.get("/v1/access-log?limit=3", Authorization=bureau)).json
        assert (len(all_["accesses"]), all_["more"]) == (3, True)
    connection = await asyncpg.connect(database, statement_cache_size=0)
    await connection.execute("ANALYZE; SET enable_seqscan = off")
    sought = (0, 30_000, "seldom", "", "", "", 0, 0, 0)
    for limit, most in ((101, 4), (3, 4)):
        asked = [(access_log._SQL["accesses"], (*sought, limit, most))]
        rows, _ = await read(connection, asked)
        assert rows["access"] <= most
    asked = [(access_log._SQL["accesses"], (0, 30_000, "", *sought[3:], 3, 10))]
    assert (await read(connection, asked))[0]["access"] <= 4
    await connection.close()


MANY_ROWS = """
INSERT INTO meter.access (day, at, token, person, role, route, subjects, count)
SELECT 20148, 1740801600000000, $1::text, '', 'auditor', '/v1/log', '{}', 1
FROM generate_series(1, $2::bigint)
"""


async def written(database, least):
    (row,) = await ask(database, "SELECT count(*) FROM meter.access")
    return row["count"] >= least


@pytest.mark.usefixtures("often")
async def test_what_cannot_be_written_now_is_written_later(database, tmp_path):
    role = Roles.of(ORIGIN).service
    async with serving(database, tmp_path, NOON) as service:
        await ask(database, f"REVOKE INSERT ON meter.access FROM {role}")
        assert (await service.get("/v1/me")).status == 200
        await asyncio.sleep(0.3)
        assert await rows(database) == []
        await ask(database, f"GRANT INSERT ON meter.access TO {role}")
        await until(lambda: written(database, 1))
    assert len(await rows(database)) == 1


async def test_what_is_asked_while_rows_are_written_is_there_after_a_stop(database, tmp_path):
    async with serving(database, tmp_path, NOON):
        pass
    readers = await connect_readers(address_of(database))
    log = access_log.AccessLog(readers)
    connection = await asyncpg.connect(database)
    async with log.writing():
        log.note(row("first"))
        async with connection.transaction():
            await connection.execute("LOCK TABLE meter.access IN EXCLUSIVE MODE")
            log._due.set()
            await until(lambda: waits(database))
            log.note(row("second"))
            log._ends = True  # as where a stop begins now
    await connection.close()
    await readers.close()
    assert [each[0] for each in await rows(database)] == ["first", "second"]


def row(token):
    return Access(at=0, token=token, person="", role="auditor", route="/v1/me", subjects=())


async def waits(database):
    (found,) = await ask(database, "SELECT count(*) FROM pg_locks WHERE NOT granted")
    return found["count"] > 0


async def test_the_owner_alone_deletes_rows_and_none_of_the_last_six_months(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service:  # long ago, by the database's clock
        await service.get("/v1/me")
    connection = await asyncpg.connect(database)
    await connection.execute(f"SET ROLE {Roles.of(ORIGIN).service}")
    for change in ("DELETE FROM meter.access", "UPDATE meter.access SET count = 1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await connection.execute(change)
    await connection.close()
    async with serving(database, tmp_path, clock=Clock("2025-03-02T00:10:00+08:00")) as service:
        with environment(service):
            assert await admin.prune_access_log(service.folder, 6, standing("2025-09-02")) == 0
            await digests(service).look()
            assert await admin.prune_access_log(service.folder, 6, standing("2025-09-01")) == 0
            assert await admin.prune_access_log(service.folder, 6, standing("2025-09-02")) == 1
    await ask(
        database,
        "INSERT INTO meter.access (day, at, token, person, role, route, subjects, count) VALUES"
        " (0, extract(epoch FROM now() - interval '5 months') * 1000000, 'a', '', 'auditor', '/',"
        " '{}', 1)",
    )
    for change in (
        "UPDATE meter.access SET count = 1",
        "TRUNCATE meter.access",
        "DELETE FROM meter.access",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await ask(database, change)


def standing(day):
    """Return a clock that stands at a day's beginning."""
    return host_clock.Clock(lambda: parse_date(day) * MICROSECONDS, lambda: 0)


def test_the_digest_of_a_day_knows_no_order():
    one = Access(
        at=0, token="a", person="", role="auditor", route="/v1/me", subjects=("x:1",), count=2
    )
    other = Access(at=0, token="b", person="", role="auditor", route="/v1/me", subjects=())
    assert digest_of([one, other]) == digest_of([other, one])
    assert len({digest_of([]), digest_of([one]), digest_of([other]), digest_of([one, one])}) == 4
