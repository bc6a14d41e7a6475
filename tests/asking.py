"""A service that is asked: its cast, a random past, pages, and what entries say of records."""

import base64
import json
import random
from collections import defaultdict
from types import SimpleNamespace

from meter.host.tokens import Identity, new_token
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.tables import connections, tokens
from meter.values.units import format_hours, format_instant, format_money, parse_instant
from tests.books import ALPHA, BETA, DEVICE, policy_text, record, uscc_of, void
from tests.services import (
    Service,
    address_of,
    ask,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
)

NOW = "2026-01-10T12:00:00+08:00"
NEW_YEAR = parse_instant("2026-01-01T00:00:00+08:00")
OTHER_DEVICE = "h100"
PRICES = {DEVICE: "4.50", OTHER_DEVICE: "12.3456"}


def right(id_="right", contract="A", **changes):
    whole = ("2026-01-01T08:00:00+08:00", "2026-01-01T09:00:00+08:00", 1_000)
    return record(id_, contract, *whole) | changes


async def open_all(service: Service) -> None:
    """Register two providers and two enterprises; W has one card, F is frozen, B is elsewhere."""
    await service.activate(policy_text(threshold="0.00"))
    for id_, uscc in (("pcl", uscc_of(9)), ("other", uscc_of(8))):
        body = provider_body(id_, uscc=uscc, devices={DEVICE: 10_000, OTHER_DEVICE: 10_000})
        await service.ask("/v1/providers", **body)
        await service.ask(f"/v1/providers/{id_}/keys", **key_body(f"{id_}-1", id_))
    await service.ask("/v1/enterprises", **enterprise_body(ALPHA))
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    for id_, terms in {
        "A": {},
        "B": {"provider": "other"},
        "C": {"enterprise": BETA},
        "W": {"max_devices": {DEVICE: 1}},
        "F": {"use": "other"},
    }.items():
        await service.ask("/v1/contracts", **contract_body(id_, prices=PRICES, **terms))
    await service.post("/v1/contracts/F/freeze")
    await service.issue(2025, "40.00")
    await service.issue(2026, "60.00")


class Past:
    """Makes a random past, step by step; each step is one submission or two."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service, self.chance = service, random.Random(seed)
        self.ids = defaultdict(list)
        self.numbers = {
            provider: iter(self.chance.sample(range(1, 200), 199)) for provider in ("pcl", "other")
        }

    async def steps(self, number: int) -> None:
        for _ in range(number):
            await self.step()

    async def step(self) -> None:
        self.service.clock.advance(self.chance.choice((0, 1, 60)))
        provider = self.chance.choice(("pcl", "pcl", "other"))
        if self.chance.random() < 0.1:
            await self.review()
        records = [self.record(provider) for _ in range(self.chance.randrange(5))]
        voids = [void(id_) for id_ in self.old(provider, 2)]
        seq, stream = next(self.numbers[provider]), self.chance.choice(("main", "side"))
        sender = {"provider": provider, "keyid": f"{provider}-1", "stream": stream, "seq": seq}
        answer = await self.service.usage(records, voids, **sender)
        assert answer.status == 200, answer.body
        if self.chance.random() < 0.1:
            again = await self.service.usage([right(f"again-{seq}")], **sender)
            assert again.code == "seq_conflict"
        self.ids[provider] += [each["id"] for each in records]

    async def review(self) -> None:
        """Decide on a record with a withheld part, where there is one."""
        queue = (await self.service.get("/v1/withheld")).json["withheld"]
        if queue:
            found = self.chance.choice(queue)
            body = {name: found[name] for name in ("provider", "id")} | {"reason": "seen"}
            path = self.chance.choice(("void", "release", "release"))
            await self.service.ask(f"/v1/records/{path}", **body)

    def old(self, provider, most):
        known = [*self.ids[provider], "unknown"]
        return self.chance.sample(known, min(len(known), self.chance.randrange(most + 1)))

    def record(self, provider):
        id_ = f"r{sum(map(len, self.ids.values()))}.{self.chance.randrange(1_000)}"
        if self.chance.random() < 0.1 and self.ids[provider]:
            id_ = self.chance.choice(self.ids[provider])
        start = NEW_YEAR + self.chance.randrange(-200, 400) * 900
        end = start + self.chance.choice((900, 3_600, 90_000, 199_800))
        contract = self.chance.choice("BBBAX" if provider == "other" else "AAACCWWFBX")
        device = self.chance.choice((DEVICE, DEVICE, OTHER_DEVICE, "abacus"))
        return record(id_, contract, start, end, self.chance.randrange(1, 3_000), device=device)


async def pages(service, path, limit, between=None):
    """Ask for page after page until there is no more; `between` is awaited after each."""
    mark, after = "&" if "?" in path else "?", None
    while True:
        query = f"{path}{mark}limit={limit}" + (f"&after={after}" if after is not None else "")
        answer = await service.get(query)
        assert answer.status == 200, answer.body
        yield answer.json
        after = answer.json["next"]
        if not answer.json["more"]:
            return
        if between is not None:
            await between()


async def everything(service, path, name, limit=1_000, between=None):
    return [item async for page in pages(service, path, limit, between) for item in page[name]]


async def told(service):
    """Return each batch as stored: the content of its entry, envelope and receipt."""
    rows = await ask(
        service.dsn,
        "SELECT entry, provider, stream, seq, payload, envelope, receipt FROM meter.batch"
        " ORDER BY entry",
    )
    return [
        SimpleNamespace(
            **{**row, "receipt": json.loads(row["receipt"])},
            batch=json.loads(base64.b64decode(json.loads(row["envelope"])["payload"])),
        )
        for row in rows
    ]


async def evolved(service):
    state = State()
    for entry in await service.entries():
        evolve(state, entry)
    return state


async def as_a(service, role, subject=""):
    """Return the header of a new token of a role."""
    token = new_token(f"{role}-{subject or 'x'}")
    connection = await connections.connect(address_of(service.dsn))
    try:
        await tokens.add_token(connection, Identity(token.id, role, subject), token.digest)
    finally:
        await connection.close()
    return {"Authorization": f"Bearer {token.text}"}


HOUR_NOW = ("2026-01-02T08:00:00+08:00", "2026-01-02T09:00:00+08:00")


def expected_records(entries, contracts):
    ended = {
        (kind, entry.record): number
        for number, entry in enumerate(entries)
        for kind in ("void", "release")
        if entry.kind == kind
    }
    return [
        expected_record(number, entry, ended.get(("void", number)), ended.get(("release", number)))
        if entry.kind == "usage"
        else expected_change(number, entry, entries[entry.record])
        for number, entry in enumerate(entries)
        if entry.kind in ("usage", "void", "release") and entry.contract in contracts
    ]


def expected_figures(entry):
    reasons = dict(entry.ineligible) if entry.ineligible else {}
    return {
        "cost": format_money(entry.cost if entry.kind != "release" else 0),
        "entitled": format_money(sum(fen for _, fen in entry.entitled)),
        "granted": format_money(granted_in(entry)),
        "withheld": format_money(entry.withheld_cost or 0),
        "ineligible": format_money(sum(reasons.values())),
        "reasons": {reason: format_money(fen) for reason, fen in reasons.items()},
        "evidence": expected_evidence(entry) if entry.kind == "usage" else [],
    }


def granted_in(entry):
    """What the entry moves from coupons to its own contract, less what it moves back."""
    own = [p for p in entry.postings if f"accrued:{entry.contract}:" in " ".join(p[:2])]
    return sum(fen if source.startswith("coupon:") else -fen for source, _, fen in own)


def expected_evidence(entry):
    """The contract's own limit with its times; of the provider's, the sum."""
    runs, told = entry.evidence or [], []
    for limit, start, end, device_time in runs:
        if limit == "contract":
            times = {"from": format_instant(start // 10**6), "until": format_instant(end // 10**6)}
            told.append({"limit": limit, **times, "device_hours": format_hours(device_time)})
    rest = sum(run[3] for run in runs if run[0] == "provider")
    return told + ([{"limit": "provider", "device_hours": format_hours(rest)}] if rest else [])


def expected_months(entry, record):
    return {
        "service_month": format_instant(record.start // 10**6)[:7],
        "booked_month": format_instant(entry.at // 10**6)[:7],
    }


def expected_change(number, entry, record):
    return {
        "line": entry.kind,
        "entry": number,
        "record": entry.record,
        "id": entry.id,
        "provider": entry.provider,
        "contract": entry.contract,
        "device": entry.device,
        **expected_months(entry, record),
        **expected_figures(entry),
    }


def expected_record(number, entry, voided, released):
    status = "withheld" if entry.withheld else "accepted"
    status = "released" if released is not None else status
    return {
        "line": "record",
        "entry": number,
        "id": entry.id,
        "provider": entry.provider,
        "contract": entry.contract,
        "device": entry.device,
        "milli_devices": entry.milli_devices,
        "start": format_instant(entry.start // 10**6),
        "end": format_instant(entry.end // 10**6),
        **expected_months(entry, entry),
        **expected_figures(entry),
        "status": "voided" if voided is not None else status,
        **({"voided": voided} if voided is not None else {}),
        **({"released": released} if released is not None else {}),
    }


PAGED = [
    "/v1/providers/pcl/streams",
    "/v1/providers/pcl/records",
    "/v1/providers/pcl/streams/main",
    "/v1/providers/pcl/streams/main/batches",
    "/v1/providers/pcl/rejected",
    "/v1/providers/pcl/summaries",
    f"/v1/enterprises/{ALPHA}/contracts",
    f"/v1/enterprises/{ALPHA}/usage",
    f"/v1/enterprises/{ALPHA}/records",
    f"/v1/enterprises/{ALPHA}/refused",
    "/v1/pools",
    "/v1/coupons",
    "/v1/enterprises",
    "/v1/contracts",
    "/v1/providers",
    "/v1/withheld",
    "/v1/keys/pcl-1/suspects",
    "/v1/tokens",
]
