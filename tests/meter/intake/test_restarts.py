"""Restarts give the same state and the same receipts, and the clock never goes back."""

import asyncio

from meter.values.units import MICROSECONDS
from tests.books import figures, micros, record, void
from tests.sequencing import one, segments, until_it_waits, until_queued, writer_held
from tests.services import HOUR, NOON, Clock, check_sums, contract_body, serving


async def test_a_restart_has_the_same_state_and_goes_on(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="10.00")
        await service.ask("/v1/contracts", **contract_body("B"))
        await service.usage(
            [record(f"r{n}", "AB"[n % 2], *HOUR, 1_000 + n) for n in range(9)],
        )
        await service.usage([record("r10", "A", *HOUR, 7)], [void("r1"), void("r2")], seq=2)
        await service.ask("/v1/contracts/B/freeze")
        expected = figures(service.intake.state) | {"records": None}
    for seq in (3, 4):
        async with serving(database, tmp_path) as service:
            assert figures(service.intake.state) | {"records": None} == expected
            results = (
                await service.usage(
                    [
                        record(f"new{seq}", "A", *HOUR, 1_000),
                        record("r10", "A", *HOUR, 7),
                        record("r10", "A", *HOUR, 8),
                        record(f"frozen{seq}", "B", *HOUR, 1_000),
                    ],
                    [void("r1"), void(f"r{seq}")],
                    seq=seq,
                )
            ).json
            told = [each.get("code", each["status"]) for each in results["voids"]]
            assert told == ["already_voided", "accepted"]
            told = [each.get("code", each["status"]) for each in results["results"]]
            assert told == ["accepted", "duplicate", "conflict", "contract_frozen"]
            expected = figures(service.intake.state) | {"records": None}
    await check_sums(database)


async def test_receipts_are_byte_identical_after_restarts(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        envelopes = [
            service.envelope([record(f"r{n}", "A", *HOUR, n)], [void(f"r{n - 1}")], seq=n)
            for n in range(1, 8)
        ]
        first = [await service.post("/v1/usage", each, None) for each in envelopes]
    for _ in range(2):
        async with serving(database, tmp_path, now="2027-01-01T00:00:00+08:00") as service:
            again = [await service.post("/v1/usage", each, None) for each in envelopes]
            for old, new in zip(first, again, strict=True):
                assert (new.status, new.body) == (200, old.body)
                assert new.headers["Kashi-Signature"] == old.headers["Kashi-Signature"]


async def test_the_clock_of_the_ledger_never_goes_back(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        service.clock.set("2025-02-01T00:00:00+08:00")
        answers = [await service.usage(one("a"))]
    async with serving(database, tmp_path, now="2025-01-01T00:00:00+08:00") as service:
        answers.append(await service.usage(one("b"), seq=2))
        # Judged at the ledger's instant, by which this usage is past.
        assert [each.json["results"][0]["status"] for each in answers] == ["accepted"] * 2
        instants = [entry.at for entry in await service.entries()]
        # Each group is a microsecond after the one before.
        assert [instant - instants[0] for instant in instants] == [*range(8), 7, 8, 8]


async def test_the_clock_of_the_ledger_stands_while_the_services_own_goes_back(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        service.clock.set("2025-02-01T00:00:00+08:00")
        answers = [await service.usage(one("a")), await service.usage(one("b"), seq=2)]
        assert {answer.status for answer in answers} == {200}
        instants = [entry.at for entry in (await service.entries())[-4:]]
        assert [instant - instants[0] for instant in instants] == [0, 0, 1, 1]
        assert instants[0] > micros(NOON)


class Falling(Clock):
    """A clock that is a second earlier at each look."""

    def __call__(self) -> int:
        self.advance(-1)
        return self.now


async def test_a_group_is_dated_in_order_though_the_clock_goes_back_within_it(database, tmp_path):
    async with serving(database, tmp_path, clock=Falling(NOON)) as service:
        await service.open_books(issued="400000.00")
        epoch = service.intake.writer.epoch
        async with writer_held(database):
            posts = [asyncio.create_task(service.issue(2025, "1.00"))]
            await until_it_waits(database)
            service.clock.advance(3_600)
            posts += [asyncio.create_task(service.usage(one(s), stream=s)) for s in "abc"]
            await until_queued(service, 3)
        await asyncio.gather(*posts)
        before, *instants = [entry.at for entry in (await service.entries())[-7:]]
        assert (await segments(database))[-1] == len(instants) == 6
        assert instants == [instants[0]] * 6
        assert instants[0] > before + 3_000 * MICROSECONDS
        assert service.intake.writer.epoch == epoch
