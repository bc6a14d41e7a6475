"""The outbox: a crossing's message is committed with its entries, or neither is."""

import json

import asyncpg
import pytest

from meter.publish.looker import Looker
from meter.service import rebuild
from meter.tables import alerts
from meter.values.problems import Problem
from tests.alerts import told, wanting
from tests.books import ALPHA, BETA, PROGRAMME, record, void
from tests.services import (
    HOUR,
    Clock,
    address_of,
    ask,
    contract_body,
    coupon_body,
    enterprise_body,
    serving,
)

ALL = "SELECT * FROM meter.alert ORDER BY id"
# A commit with a segment fails at its end.
FAIL = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'failed'; END $$
--
CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON ledger.segment
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()
"""


@pytest.fixture
async def clock():
    return Clock("2025-03-01T12:00:00+08:00")


@pytest.fixture
async def service(database, tmp_path, clock):
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books(issued="180.00")
        yield service


def hours(name, count, milli_devices=64_000, first=8):
    """Return records of an hour each, worth 144 yuan of subsidy with 64 devices."""
    return [
        record(
            f"{name}{n}",
            "A",
            f"2025-03-01T{first + n:02}:00:00+08:00",
            f"2025-03-01T{first + n + 1:02}:00:00+08:00",
            milli_devices,
        )
        for n in range(count)
    ]


async def test_levels_are_told_once_and_to_whom_they_concern(service):
    firm = await wanting(service, "enterprise", ALPHA)
    other = await wanting(service, "enterprise", BETA)
    auditor = await wanting(service, "auditor")
    choosy = await wanting(service, "auditor", kinds=["used_95"])
    provider = await wanting(service, "provider", "pcl")
    await service.usage(hours("a", 1, 60_000))  # 135.00
    assert await told(service, firm) == []
    await service.usage(hours("b", 1, 4_000, first=9), seq=2)  # 144.00
    assert await told(service, firm) == ["used_80"]
    await service.usage(hours("c", 1, 4_000, first=10), seq=3)  # 153.00
    assert await told(service, firm) == ["used_80"]
    await service.usage(hours("d", 1, 64_000, first=11), seq=4)  # all
    assert await told(service, firm) == ["used_80", "used_100", "used_95"]
    assert await told(service, auditor) == ["used_80", "used_100", "used_95"]
    assert await told(service, choosy) == ["used_95"]
    assert await told(service, other) == await told(service, provider) == []
    rows = [row for row in await ask(service.dsn, ALL) if row["target"] == firm.id]
    body = next(json.loads(row["body"]) for row in rows if row["kind"] == "used_80")
    assert body["data"]["granted"] == "144.00"
    past = await service.get(
        f"/v1/enterprises/{ALPHA}/balance?programme={body['data']['programme']}&year=2025"
        f"&as_of={body['data']['as_of']}"
    )
    assert past.json["granted"] == "144.00"


async def test_a_void_and_new_usage_cross_again(service):
    firm = await wanting(service, "enterprise", ALPHA)
    await service.usage(hours("a", 1))
    await service.usage([], [void("a0")], seq=2)
    assert await told(service, firm) == ["used_80"]
    await service.usage(hours("b", 1), seq=3)
    assert await told(service, firm) == ["used_80", "used_80"]


async def test_what_is_not_committed_is_not_told(service):
    firm = await wanting(service, "enterprise", ALPHA)
    await service.usage(hours("a", 1, 4_000, first=1))
    for statement in FAIL.split("--"):
        await ask(service.dsn, statement)
    batch = hours("b", 1)
    assert (await service.usage(batch, seq=2)).status == 503
    assert await ask(service.dsn, ALL) == []
    await ask(service.dsn, "DROP TRIGGER fail ON ledger.segment")
    assert (await service.usage(batch, seq=2)).status == 200
    assert await told(service, firm) == ["used_80"]


async def test_a_group_that_crosses_nothing_asks_nothing_more_of_the_database(service):
    await wanting(service, "enterprise", ALPHA)
    statements = []
    service.intake.writer.connection.add_query_logger(lambda each: statements.append(each.query))

    async def of(records, seq):
        statements.clear()
        await service.usage(records, seq=seq)
        return list(statements)

    await of(hours("w", 1), 1)  # the driver asks for types at their first use
    await of([], 2)
    await service.usage([], [void("w0")], seq=3)
    quiet = await of(hours("a", 1, 1_000, first=10), 4)
    crossing = await of(hours("b", 1), 5)
    more = [each for each in crossing if each not in quiet]
    assert len(more) == 1
    assert "meter.alert" in more[0]
    assert len(crossing) == len(quiet) + 1
    assert not any("alert" in each for each in quiet)


async def test_withheld_usage_is_told_once_to_both_parties_and_awaited(service):
    await service.ask("/v1/contracts", **contract_body("B", max_devices={"ascend-910b": 1}))
    firm = await wanting(service, "enterprise", ALPHA)
    provider = await wanting(service, "provider", "pcl")
    auditor = await wanting(service, "auditor")
    one = record("x", "B", *HOUR, 2_000)
    two = one | {"id": "y"}
    await service.usage([one])
    await service.usage([two], seq=2)
    assert await told(service, firm) == ["withheld"]
    assert await told(service, provider) == ["withheld"]
    assert await told(service, auditor) == ["review"]
    await service.usage([], [void("x"), void("y")], seq=3)
    await service.usage([one | {"id": "z"}], seq=4)
    assert await told(service, provider) == ["withheld", "withheld"]


async def test_a_restart_tells_nothing_again(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="180.00")
        await service.ask("/v1/contracts", **contract_body("B", max_devices={"ascend-910b": 1}))
        firm = await wanting(service, "enterprise", ALPHA)
        await service.usage([*hours("a", 1), record("x", "B", *HOUR, 2_000)])
        before = await told(service, firm)
    assert {"used_80", "withheld"} <= set(before)
    await rebuild.rebuild(address_of(database))
    async with serving(database, tmp_path) as service:
        await service.usage([record("y", "B", *HOUR, 1_000), *hours("b", 1, 1, 10)], seq=2)
        assert await told(service, firm) == before


async def test_a_gap_is_told_when_it_opens(service):
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    firm = await wanting(service, "enterprise", ALPHA)
    other = await wanting(service, "enterprise", BETA)
    provider = await wanting(service, "provider", "pcl")
    await service.usage([])
    await service.usage([], seq=3)
    await service.usage([], seq=7)  # a second hole in the same stream
    assert await told(service, firm) == await told(service, provider) == ["gap"]
    assert await told(service, other) == []
    for seq in (2, 4, 5, 6):
        await service.usage([], seq=seq)
    assert await told(service, firm) == ["gap"]
    await service.usage([], seq=9)
    assert await told(service, firm) == ["gap", "gap"]


async def test_proposals_and_claims_wait_for_the_authority(service):
    auditor = await wanting(service, "auditor")
    await service.ask("/v1/proposals", command="person", body={"id": "li"})
    assert await told(service, auditor) == ["review"]


async def test_a_target_that_is_off_and_a_person_of_another_firm_get_nothing(service):
    firm = await wanting(service, "enterprise", ALPHA)
    await ask(service.dsn, "UPDATE meter.alert_target SET off_at = 1, off_why = 'person'")
    await service.usage(hours("a", 1))
    assert await told(service, firm) == []


async def test_nobody_has_more_than_ten_targets(service):
    first = await wanting(service, "auditor")
    for _ in range(9):
        await wanting(service, "auditor", owner=first.owner)
    with pytest.raises(Problem, match="too_many_targets"):
        await wanting(service, "auditor", owner=first.owner)


async def test_a_role_chooses_its_own_kinds_only(service):
    with pytest.raises(Problem, match="malformed: no kinds of alerts for provider: used_80"):
        await wanting(service, "provider", "pcl", kinds=["used_80", "gap"])


def looker_of(service):
    running = service.running
    return Looker(running.readers, running.intake.writer._registry, running.clock)


async def test_silence_is_told_once_and_again_after_a_batch(service, clock):
    provider = await wanting(service, "provider", "pcl")
    firm = await wanting(service, "enterprise", ALPHA)
    looker = looker_of(service)
    await service.usage([])
    clock.advance(86_400)
    await looker.look()
    assert await told(service, provider) == []
    clock.advance(1)
    await looker.look()
    await looker_of(service).look()  # another leader
    assert await told(service, provider) == ["silent"]
    await service.usage([], seq=2)
    await looker.look()
    clock.advance(90_000)
    await looker.look()
    assert await told(service, provider) == ["silent", "silent"]
    assert await told(service, firm) == []


async def test_the_ends_of_a_coupon_are_told_by_the_calendar(service, clock):
    firm = await wanting(service, "enterprise", ALPHA)
    looker = looker_of(service)
    told_by_day = {}
    for day in ("2025-12-01", "2025-12-02", "2025-12-31", "2026-01-01", "2026-01-02"):
        clock.set(f"{day}T00:00:00+08:00")
        await looker.look()
        told_by_day[day[5:]] = len(await told(service, firm))
    assert told_by_day == {"12-01": 0, "12-02": 1, "12-31": 1, "01-01": 2, "01-02": 2}
    assert await told(service, firm) == ["ends_soon", "expiry"]


async def test_the_end_by_the_forecast_is_told(database, tmp_path, clock):
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books(issued="1000.00")
        firm = await wanting(service, "enterprise", ALPHA)
        looker = looker_of(service)
        await looker.look()
        days = [f"2025-02-{day:02}T10:00:00+08:00" for day in range(1, 29)]
        ends = [each.replace("T10", "T11") for each in days]
        used = zip(days, ends, strict=True)
        await service.usage([record(f"r{n}", "A", *when, 8_000) for n, when in enumerate(used)])
        await looker.look()  # 18.00 a day: 504.00 are granted, and 496.00 last for 28 days
        assert await told(service, firm) == ["ends_soon"]
        forecast = await service.get(
            f"/v1/enterprises/{ALPHA}/forecast?programme={PROGRAMME}&year=2025"
        )
        (row,) = await ask(service.dsn, ALL)
        said = json.loads(row["body"])["data"]
        assert said["why"] == "used_up"
        assert said["last_day"] == forecast.json["end"]
        await service.ask("/v1/coupons", **coupon_body(2025, "9000.00"))
        await looker.look()
        rows = await ask(
            service.dsn, "SELECT * FROM meter.alert_standing WHERE about LIKE $1", f"{ALPHA}%"
        )
        assert rows == []


# A message with an attempt, and a key, made then; one may wait for ever.
SENT = """
WITH sent AS (
    INSERT INTO meter.alert (id, target, kind, body, made_at, due_at)
    VALUES ($1, $2, 'test', '', $3, CASE WHEN $4::boolean THEN 9e15 END) RETURNING id, made_at
), attempted AS (
    INSERT INTO meter.alert_attempt (alert, at, is_taken, detail, ms)
    SELECT id, made_at, true, '200', 1 FROM sent
)
INSERT INTO meter.alert_request (name, asked, made_at) SELECT id, sha256(''), made_at FROM sent
"""


async def test_messages_are_forgotten_after_400_days_with_their_attempts_and_keys(
    service, clock, monkeypatch
):
    monkeypatch.setattr(alerts, "FORGOTTEN_AT_ONCE", 2)  # so that there are several steps
    auditor = await wanting(service, "auditor", kinds=["used_80"])
    for n in range(5):
        await ask(service.dsn, SENT, f"old-{n}", auditor.id, clock(), False)
    await ask(service.dsn, SENT, "waits", auditor.id, clock(), True)
    await ask(service.dsn, SENT, "young", auditor.id, clock() + 1_000_000, False)

    async def left():
        await looker_of(service).look()
        found = []
        for column in ("id FROM meter.alert", "alert FROM meter.alert_attempt"):
            rows = await ask(service.dsn, f"SELECT {column}")
            found.append({next(iter(row.values())) for row in rows})
        keys = await ask(service.dsn, "SELECT name FROM meter.alert_request")
        assert found[0] == found[1]
        return found[0], {row["name"] for row in keys}

    clock.advance(400 * 86_400 - 1)
    assert [len(names) for names in await left()] == [7, 7]
    clock.advance(1)
    assert [len(names) for names in await left()] == [7, 7]  # 400 days, and not a second more
    clock.advance(1)
    assert await left() == ({"waits", "young"}, {"young"})
    await ask(service.dsn, "UPDATE meter.alert SET due_at = NULL")
    assert await left() == ({"young"}, {"young"})


async def test_the_service_cannot_take_an_alert_back_that_waits(service):
    await wanting(service, "enterprise", ALPHA)
    await service.usage(hours("a", 1))
    connection = await asyncpg.connect(service.dsn)
    try:
        await connection.execute(f'SET ROLE "{address_of(service.dsn).roles.service}"')
        for change in ("DELETE FROM meter.alert", "UPDATE meter.alert SET body = ''"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    finally:
        await connection.close()
