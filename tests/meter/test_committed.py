"""Answers hold committed data alone: every GET route during a commit that is held, then fails."""

import asyncio
import itertools
import re
from hashlib import sha256

import asyncpg
import pytest

from meter.api.app import ROUTES
from tests.books import ALPHA, BETA, PROGRAMME, record, uscc_of, void
from tests.papers import papers
from tests.services import (
    HOUR,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

# A commit waits for this lock, and then fails.
LOCK = 815
HOLD = f"""
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_xact_lock_shared({LOCK});
  RAISE EXCEPTION 'held, and failed';
END $$;
CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON ledger.segment
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();
"""
IS_HELD = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted"

# Each of these would show in some answer before its commit, if answers could.
PAPERS = papers(day="2025-02-01")
COMMANDS = {
    "a contract": ("/v1/contracts", contract_body("NEW")),
    "a freeze": ("/v1/contracts/A/freeze", {}),
    "an enterprise": ("/v1/enterprises", enterprise_body(BETA)),
    "a provider": ("/v1/providers", provider_body("new", uscc=uscc_of(7))),
    "a key": ("/v1/providers/pcl/keys", key_body("pcl-2")),
    "a revocation": ("/v1/keys/pcl-1/revoke", {}),
    "an issue": ("/v1/coupons", coupon_body(2026, "100.00", ALPHA)),
    "a void": ("/v1/records/void", {"provider": "pcl", "id": "r1", "reason": "wrong"}),
    "a person": ("/v1/persons", {"id": "li"}),
    "a token": ("/v1/tokens", {"id": "authority-2", "holder": "authority"}),
    "a proposal": ("/v1/proposals", {"command": "person", "body": {"id": "li"}}),
    "a claim": ("/v1/claims", {"id": "NEW", "item": "A", "year": 2024} | PAPERS),
    "a check": ("/v1/claims/C1/check", {}),
    "a batch": ("/v1/usage", None),
}
# The bodies of `tests.services` have the names of the core.
NAMES = {"starts": "from", "ends": "until", "applicant": "kind"}
# These are about the process and not about the ledger, or never end.
ELSEWHERE = {"/metrics", "/v1/events", "/docs", "/docs/style.css", "/openapi.json"}


def paths(digests: list[str], size: int) -> list[str]:
    """Return the paths of every GET route, with parameters that exist now or after the commit."""
    values = {
        "uscc": [ALPHA, BETA],
        "contract": ["A", "NEW"],
        "claim": ["C1", "NEW"],
        "month": ["2025-02", "2025-03"],
        "award": ["NEW"],
        "project": ["P", "NEW"],
        "provider": ["pcl", "new"],
        "keyid": ["pcl-1", "pcl-2"],
        "stream": ["main"],
        "entry": [0, size - 1, size, size + 1],
        "line": [size - 1, size + 1],
        "digest": digests,
        "level": [0],
        "tile": [f"000.p/{size}", f"000.p/{size + 1}"],
    }
    found = []
    for route in ROUTES:
        if route.method != "GET" or route.path in ELSEWHERE:
            continue
        names = re.findall(r"{(\w+)}", route.path)
        for chosen in itertools.product(*(values[name] for name in names)):
            path = route.path.format(**dict(zip(names, chosen, strict=True)))
            if path.endswith("/balance"):
                path += f"?programme={PROGRAMME}&year=2025"
            found.append(path)
    return found


@pytest.mark.parametrize("name", COMMANDS)
async def test_no_answer_tells_of_a_commit_that_is_open_and_then_fails(name, database, tmp_path):
    path, body = COMMANDS[name]
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="400000.00")
        assert (await service.usage([record("r1", "A", *HOUR, 1_000)])).status == 200
        await service.ask("/v1/claims", id="C1", item="A", year=2025, **PAPERS)
        size = await service.published()
        batch = service.envelope([record("r2", "A", *HOUR, 1_000)], [void("r1")], seq=2)
        digests = ["0" * 64, sha256(batch).hexdigest()]
        asked = paths(digests, size)

        async def answers() -> dict[str, tuple[int, bytes]]:
            found = {each: await service.get(each) for each in asked}
            return {each: (answer.status, answer.body) for each, answer in found.items()}

        before = await answers()
        assert {200, 404} <= {status for status, _ in before.values()}
        owner = await asyncpg.connect(database)
        await owner.execute(f"SELECT pg_advisory_lock({LOCK})")
        await owner.execute(HOLD)
        send = service.usage([record("r2", "A", *HOUR, 1_000)], [void("r1")], seq=2)
        if body is not None:
            send.close()
            send = service.post(path, {NAMES.get(key, key): value for key, value in body.items()})
        sending = asyncio.create_task(send)
        async with asyncio.timeout(20):
            while not sending.done() and not await owner.fetchval(IS_HELD):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        during = await answers()
        await owner.execute(f"SELECT pg_advisory_unlock({LOCK})")
        assert (await sending).status == 503
        after = await answers()
        await owner.close()
    assert during == before
    assert after == before
