"""The registry: each registration once, and only those up to the size of a query."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meter.tables import connections
from meter.tables.registry import Registered, Registry
from tests.books import ALPHA, DEVICE, PROGRAMME, lifted
from tests.services import Service, address_of, key_body, serving


@asynccontextmanager
async def frozen(
    database: str, folder: Path
) -> AsyncIterator[tuple[Service, connections.Connection, int]]:
    """A service that froze contract A, a connection without a snapshot, the freeze's number."""
    async with serving(database, folder) as service:
        await service.open_books()
        freeze = (await service.ask("/v1/contracts/A/freeze"))["entry"]
        connection = await connections.connect(address_of(database))
        try:
            yield service, connection, freeze
        finally:
            await connection.close()


async def row(connection: connections.Connection, number: int) -> list[tuple[int, str, bytes]]:
    """Return the row that the leader hands over after the commit of one registration."""
    query = "SELECT entry, kind, data FROM meter.registration WHERE entry = $1"
    return [tuple(each) for each in await connection.fetch(query, number)]


def freezes(known: Registered) -> list[int]:
    contract = known.contract("A")
    assert contract is not None
    return [number for number, _ in contract.freezes]


async def test_rows_beyond_the_asked_size_are_not_taken_twice(database, tmp_path):
    async with frozen(database, tmp_path) as (_, connection, freeze):
        registry = Registry()
        # The query saw the size before the freeze, and the connection sees what came after.
        known = await registry.at(connection, freeze)
        assert not known.is_frozen(known.contract("A"))
        registry.take(freeze + 1, await row(connection, freeze))
        assert freezes(registry.now) == [freeze]
        assert registry.now.is_frozen(registry.now.contract("A"))


async def test_what_a_query_fetched_the_commit_hands_over_in_vain(database, tmp_path):
    async with frozen(database, tmp_path) as (_, connection, freeze):
        registry = Registry()
        await registry.at(connection, freeze + 1)
        registry.take(freeze + 1, await row(connection, freeze))
        assert freezes(registry.now) == [freeze]


async def test_an_earlier_size_knows_nothing_of_later_entries(database, tmp_path):
    async with frozen(database, tmp_path) as (service, connection, freeze):
        more = {"batch": "more", "from": "2025-01-01", "until": "2026-01-01"}
        path = "/v1/providers/pcl/enlistments"
        enlisted = (await service.ask(path, devices={DEVICE: 4}, enlisted=more))["entry"]
        key = (await service.ask("/v1/providers/pcl/keys", **key_body("pcl-9")))["entry"]
        revoked = (await service.ask("/v1/keys/pcl-9/revoke"))["entry"]
        await service.activate(lifted(cap="1.00"))
        policy = service.intake.watermark.size - 1
        registry = Registry()
        for size in [policy + 1, *range(1, policy + 1)]:
            known = await registry.at(connection, size)
            provider, contract = known.provider("pcl"), known.contract("A")
            if provider is None:
                assert contract is None
                continue
            assert contract is None or known.is_frozen(contract) == (size > freeze)
            assert ("more" in known.enlistments_of(provider)) == (size > enlisted)
            assert ("pcl-9" in known.keys_of(provider)) == (size > key)
            assert known.keys_of(provider).get("pcl-9", False) == (size > revoked)
            found = known.policy_of(PROGRAMME, 2025)
            assert found is not None
            assert (found.version == "test") == (size > policy)
            enterprise = known.enterprise(ALPHA)
            held = [] if enterprise is None else known.contracts_of(enterprise)
            assert [each.registered.id for each in held] == ([] if contract is None else ["A"])
