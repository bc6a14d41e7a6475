"""A city of two persons and a firm with a contract whose whole amount is used, ready to be claimed.

    async with claiming(database, tmp_path) as both:
        wang = await official(both, "wang")

Contract A of 1,000,000.00 is granted 500,000.00 in 2025; it is the 20th of May.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meter.host.tokens import Identity
from meter.service import sign_ins
from tests import people
from tests.books import DEVICE, record
from tests.meter.test_proposals import POLICY, City, city
from tests.papers import papers
from tests.services import (
    Service,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    provider_body,
)

TODAY = "2025-05-20"
NOW = f"{TODAY}T12:00:00+08:00"
PAPERS = papers(day=TODAY)
NOTICE_URL = "https://city.test/notices/1"


@asynccontextmanager
async def claiming(database: str, folder: Path) -> AsyncIterator[City]:
    """Open the books of both, and use all of contract A."""
    async with city(database, folder) as both:
        service = both.service
        service.clock.set(NOW)
        await both.by_both("policy", **POLICY)
        await both.by_both("provider", **provider_body(devices={DEVICE: 2_000_000}))
        await both.by_both("key", provider="pcl", **key_body("pcl-1"))
        await service.ask("/v1/enterprises", **enterprise_body())
        contract = contract_body("A", prices={DEVICE: "1.00"})
        await service.ask("/v1/contracts", **contract)
        await both.by_both("issue", **coupon_body(2025, "500000.00"))
        hours = (f"{TODAY}T08:00:00+08:00", f"{TODAY}T09:00:00+08:00")
        answer = await service.usage([record("r1", "A", *hours, 1_000_000_000)])
        assert answer.json["results"][0]["granted"] == "500000.00"
        yield both


async def named(both: City, person: str) -> str:
    """Let a person of the authority sign in, under an id that both let the ledger name."""
    id_ = f"{person}-web"
    await both.by_both("token", id=id_, holder=person)
    with people.environment(both.service):
        await sign_ins.add_person(both.service.folder, Identity(id_, "authority", ""), person)
    return id_


async def official(both: City, person: str) -> people.Visitor:
    """Sign a person of the authority in."""
    return await again(both.service, await named(both, person))


async def again(service: Service, id_: str) -> people.Visitor:
    """Sign a person in anew: a session ends where the clock is moved on."""
    answer = await people.open_link(service, await people.link(service, id_))
    return people.Visitor(id_, people.secret_of(answer))


async def claim(both: City, name: str = "C1") -> None:
    """Enter a claim as a person who acts in no test of a review: wang, by the API."""
    body = {"id": name, "item": "A", "year": 2025, **PAPERS}
    answer = await both.post("wang", "/v1/claims", body, f"enter-{name}")
    assert answer.status == 201, answer.body
