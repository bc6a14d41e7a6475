"""What an open page hears: that something changed for its reader, once for all of a second."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from meter.api.pulse import Change
from tests.books import ALPHA, BETA, record, uscc_of
from tests.people import sign_in
from tests.services import contract_body, enterprise_body, serving

GAMMA = uscc_of(7)
NINE, TEN = "2025-03-01T09:00:00+08:00", "2025-03-01T10:00:00+08:00"


@pytest.fixture
async def service(database, tmp_path, monkeypatch):
    monkeypatch.setattr("meter.api.pulse.PULSE_SECONDS", 0.3)
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="400000.00")
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        await service.ask("/v1/contracts", **contract_body("B", enterprise=BETA))
        yield service


@asynccontextmanager
async def stream_of(service, visitor, **headers):
    """Open a stream; yield a function that returns the next event's id and data."""
    headers = {"Cookie": visitor.headers["Cookie"]} | headers
    async with service.http.get(f"{service.url}/events", headers=headers) as stream:
        assert stream.status == 200

        async def hear():
            number = ""
            async with asyncio.timeout(10):
                while True:
                    line = (await stream.content.readline()).decode().strip()
                    number = line.removeprefix("id: ") if line.startswith("id:") else number
                    if line.startswith("data: "):
                        return int(number), line.removeprefix("data: ")

        yield hear


async def size_of(service):
    return (await service.balance())["as_of"]["entries"]


async def test_a_firm_hears_of_itself_and_an_official_of_all(service):
    firm, provider, official = [
        await sign_in(service, "enterprise", ALPHA),
        await sign_in(service, "provider", "pcl"),
        await sign_in(service, "auditor"),
    ]
    async with (
        stream_of(service, firm) as of_firm,
        stream_of(service, provider) as of_provider,
        stream_of(service, official) as of_official,
    ):
        await service.issue(2025, "2.00", BETA)
        size = await size_of(service)
        assert await of_official() == (size - 1, f'{{"entries":{size}}}')
        await service.usage([record("r", "A", NINE, TEN, 1_000)])
        size = await size_of(service)
        heard = (size - 1, f'{{"entries":{size}}}')
        assert await of_firm() == heard  # and of nothing before
        assert await of_official() == heard
        assert await of_provider() == heard


async def test_a_firm_hears_of_money_for_its_projects_also_of_those_that_are_new(service):
    await service.fund_awards()
    firm = await sign_in(service, "enterprise", ALPHA)
    async with stream_of(service, firm) as hear:
        await service.award("AW-1", "10.00", "PJ-1")
        while (await hear())[0] < await size_of(service) - 1:
            pass  # of the project, which it may hear of already
        funds = {"reference": "8号", "level": "district", "amount": "0.70", "document": "通知"}
        await service.ask("/v1/projects/PJ-1/funds", **funds)
        assert (await hear())[0] == await size_of(service) - 1


async def test_a_person_may_come_before_the_firm(service):
    firm = await sign_in(service, "enterprise", GAMMA)
    async with stream_of(service, firm) as hear:
        await service.ask("/v1/enterprises", **enterprise_body(GAMMA))
        assert (await hear())[0] == await size_of(service) - 1


async def test_a_stream_goes_on_where_it_ended(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    before = await size_of(service)
    await service.issue(2025, "2.00")
    size = await size_of(service)
    async with stream_of(service, firm, **{"Last-Event-ID": str(before - 1)}) as hear:
        assert await hear() == (size - 1, f'{{"entries":{size}}}')
    answer = await service.get("/events", Last_Event_ID=str(size), **firm.headers)
    assert (answer.status, answer.code) == (400, "malformed")


async def test_what_follows_at_once_is_told_once(service, monkeypatch):
    monkeypatch.setattr("meter.api.pulse.PULSE_SECONDS", 3.0)
    firm = await sign_in(service, "enterprise", ALPHA)
    async with stream_of(service, firm) as hear:
        await service.issue(2025, "2.00")
        first, _ = await hear()
        for _ in range(3):
            await service.issue(2025, "2.00")
        second, _ = await hear()
    assert second - first == 3


@pytest.mark.parametrize(
    ("subjects", "seen", "expected"),
    [
        ({"enterprise:a"}, 10, True),
        ({"enterprise:b"}, 10, False),
        ({"enterprise:b"}, 19, False),
        ({"enterprise:a", "enterprise:b"}, 19, True),
        ({"enterprise:a"}, 20, False),  # it has seen all of that
        ({"enterprise:b"}, 9, True),  # nobody looked at what it missed
        ({"enterprise:c"}, 10, True),  # nobody looked for it
        (set(), 10, True),
        (set(), 20, False),
    ],
)
def test_what_is_not_known_to_concern_nobody_is_told(subjects, seen, expected):
    change = Change(
        10, 20, frozenset({"enterprise:a", "enterprise:b"}), frozenset({"enterprise:a"})
    )
    assert change.concerns(frozenset(subjects), seen) is expected
