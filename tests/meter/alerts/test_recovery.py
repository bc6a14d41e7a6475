"""A database that is rolled forward from a backup sends again what was sent after it."""

from meter.service.backup import back_up, restore
from meter.service.recover import recover
from tests.alerts import wanting
from tests.books import ALPHA, DEVICE, record
from tests.services import HOUR, Clock, address_of, ask, contract_body, serving, until

MESSAGES = "SELECT id, target, kind, body, made_at FROM meter.alert ORDER BY id"


async def test_what_a_recovery_sends_again_has_the_ids_and_bodies_that_it_had(
    database, spare, tmp_path, receiver
):
    files = {"alerts.toml": f'ca_file = "{receiver.ca}"\n[webhooks]\nhosts = ["127.0.0.1"]\n'}
    clock = Clock("2025-03-01T12:00:00+08:00")

    async def got(count):
        clock.advance(1)  # each group is a microsecond later
        await until(lambda: holds_got(receiver, count))
        return sorted((each.headers["webhook-id"], each.body) for each in receiver.got)

    async with serving(database, tmp_path, clock=clock, files=files) as service:
        await service.open_books(issued="180.00")
        await service.ask("/v1/contracts", **contract_body("B", max_devices={DEVICE: 1}))
        for role, subject in (("enterprise", ALPHA), ("provider", "pcl"), ("auditor", "")):
            await wanting(service, role, subject, address=receiver.url())
        await service.published()
        await back_up(address_of(database), service.folder, tmp_path / "backup")
        await service.usage([record("a", "A", *HOUR, 64_000)])  # used_80: firm, auditor
        both = [record("x", "B", *HOUR, 1_000), record("y", "B", *HOUR, 1_000)]
        await service.usage(both, seq=2)  # withheld: firm, provider; review: auditor
        await service.usage([], seq=4)  # gap: all of them
        await service.ask("/v1/proposals", command="person", body={"id": "li"})  # review
        await service.published()
        first = await got(9)
        messages = await ask(database, MESSAGES)
    assert {row["kind"] for row in messages} == {"used_80", "withheld", "review", "gap"}
    receiver.got.clear()
    await restore(address_of(spare), tmp_path / "backup")
    assert await ask(spare, MESSAGES) == []
    await recover(address_of(spare), service.folder)
    assert await ask(spare, MESSAGES) == messages
    async with serving(spare, tmp_path, clock=clock):
        assert await got(9) == first


async def holds_got(receiver, count):
    return len(receiver.got) == count
