"""A ledger with every kind of entry, yesterday's copy of it, and a machine that is lost today."""

import asyncio
from typing import Any

import pytest
from click.testing import CliRunner, Result

from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE
from meter.rules.commands import DigestAccesses, DigestState
from meter.rules.kinds.access_digests import SERVICE
from meter.service.admin import new_key
from meter.values.policy import shipped_text
from tests.books import ALPHA, BETA, DEVICE, lifted, line, purchase, record, summary, uscc_of, void
from tests.papers import papers
from tests.services import (
    HOUR,
    Service,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    provider_body,
)

NOW = "2026-01-10T12:00:00+08:00"
YEAR_EDGE = ("2025-12-31T23:30:00+08:00", "2026-01-01T00:30:00+08:00")
DAY = 86_400_000_000  # microseconds
SECOND_USCC = uscc_of(10)
ROUNDING = '\n[rounding]\nprorate = "days"\narticle = "none"\nstanding = "judgement"\n'


class Diary:
    """The requests to a service and its answers, to be asked again."""

    def __init__(self, known: Service) -> None:
        self.service = known
        self.commands: list[tuple[str, Any, str, bytes]] = []
        self.batches: list[tuple[bytes, bytes, str]] = []

    async def ask(self, path: str, **body: Any) -> None:
        names = {"starts": "from", "ends": "until", "applicant": "kind"}
        content, key = {names.get(k, k): v for k, v in body.items()}, f"diary-{len(self.commands)}"
        answer = await self.service.post(path, content, key)
        assert answer.status == 201, answer.body
        self.commands.append((path, content, key, answer.body))

    async def usage(self, records: Any = (), voids: Any = (), **changes: Any) -> None:
        envelope = self.service.envelope(records, voids, **changes)
        answer = await self.service.post("/v1/usage", envelope, None)
        assert answer.status == 200, answer.body
        self.batches.append((envelope, answer.body, answer.headers["Kashi-Signature"]))

    async def check(self, known: Service) -> None:
        """Ask everything again: the answers are the same, and nothing is done twice."""
        size = known.intake.watermark.size
        for path, content, key, body in self.commands:
            answer = await known.post(path, content, key)
            assert (answer.status, answer.body) == (201, body), path
            if not path.endswith("/confirm"):  # which has no body
                other = await known.post(path, content | {"reason": "other"}, key)
                assert other.code == "idempotency_conflict"
        for envelope, body, signature in self.batches:
            answer = await known.post("/v1/usage", envelope, None)
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["Kashi-Signature"] == signature
        assert known.intake.watermark.size == size


async def yesterday(diary: Diary) -> None:
    """Open books in which coupons and capacity run out; void something."""
    await diary.service.open_books(lifted(), issued="20.00")
    await diary.ask("/v1/enterprises", **enterprise_body(BETA, founded_on="2024-06-01"))
    await diary.ask("/v1/contracts", **contract_body("B", enterprise=BETA, amount="50.00"))
    await diary.ask("/v1/contracts", **contract_body("W", max_devices={DEVICE: 1}))
    await diary.usage([record("a1", "A", *HOUR, 4_000), record("b1", "B", *YEAR_EDGE, 900)])
    await diary.usage([record(f"w{n}", "W", *HOUR, 700) for n in range(4)], seq=2)
    await diary.usage([record("a2", "A", *HOUR, 100)], [void("a1"), void("w0")], seq=5)


async def today(diary: Diary) -> None:
    """Make at least one entry of every kind."""
    ask = diary.ask
    text = lifted(version="second", cap="9000000.00")
    await ask("/v1/policies", programme="training-coupon", version="second", content=text)
    await ask("/v1/providers", **provider_body("szu", uscc=SECOND_USCC, devices={DEVICE: 8}))
    later = {"batch": "2026-1", "from": "2026-01-01", "until": "2027-01-01"}
    await ask("/v1/providers/szu/enlistments", devices={DEVICE: 2}, enlisted=later)
    await ask("/v1/providers/szu/keys", **key_body("szu-1", "szu"))
    await ask("/v1/providers/pcl/keys", **key_body("pcl-2"))
    await ask("/v1/enterprises", **enterprise_body(uscc_of(3)))
    await ask("/v1/contracts", **contract_body("S", provider="szu"))
    await ask("/v1/contracts", **contract_body("F", enterprise=uscc_of(3)))
    await diary.usage([record("a3", "A", *HOUR, 64_000), record("no", "S", *HOUR, 1)], seq=3)
    await ask("/v1/coupons", **coupon_body(2025, "30.00"))
    await ask("/v1/coupons", **coupon_body(2026, "7.77", BETA))
    await ask("/v1/coupons/withdraw", **coupon_body(2026, "1.11", BETA))
    await ask("/v1/contracts/F/freeze", reason="asked about")
    await diary.usage([record("f1", "F", *HOUR, 1), record("a3", "A", *HOUR, 9)], seq=7)
    await ask("/v1/contracts/F/unfreeze")
    renamed = {"name": "另一名", "document": "通知书", "reason": "another name"}
    await ask(f"/v1/enterprises/{BETA}/amend", **renamed)
    await ask("/v1/providers/pcl/amend", **renamed)
    window = {"starts": "2025-12-01", "ends": "2025-12-08", "open_until": "2026-02-01"}
    await ask("/v1/contracts/A/late-window", reason="a long outage", **window)
    amendment = {"document": "协议", "reason": "as signed", "prices": {DEVICE: "4.00"}}
    signed = {"mode": "supplement", "effective": "2025-06-01", "signed_on": "2025-05-01"}
    await ask("/v1/contracts/A/amend", amount="900000.00", **signed, **amendment)
    await ask("/v1/contracts/W/amend", mode="correction", enterprise=BETA, **amendment)
    szu = {"provider": "szu", "stream": "gpu", "keyid": "szu-1"}
    await diary.usage([record("s1", "S", *YEAR_EDGE, 9_000), record("s1", "S", *HOUR, 1)], **szu)
    await ask("/v1/records/release", provider="pcl", id="w2", reason="seen")
    await diary.usage([record("a4", "A", *YEAR_EDGE, 50)], [void("w3"), void("w3")], seq=8)
    await ask("/v1/records/void", provider="pcl", id="a2", reason="not charged")
    await sell(diary)
    await award(diary)
    await claim(diary)
    await allocate(diary)
    await end_year(diary)
    await meet(diary)
    await rotate(diary)
    last = summary("2025-12-31", line("A", 1, "90.000"))
    await diary.usage([], seq=9, keyid="pcl-2", summary=last)
    await ask("/v1/keys/pcl-1/revoke", suspected_since="2026-01-01T00:00:00+08:00")
    await diary.usage([record("s2", "S", *HOUR, 1)], [void("s1")], seq=2, **szu)
    await answer(diary)


async def answer(diary: Diary) -> None:
    """Close a month, confirm it, and dispute records: one stands, one is voided."""
    diary.service.clock.now += 40 * DAY
    waiver = {"person": "authority", "reason": "streams were replaced"}
    await diary.ask("/v1/months/2026-01/close", waiver=waiver)
    await diary.ask("/v1/months/2026-01/confirm", enterprise=BETA)
    for contract, provider, id_ in (("A", "pcl", "a3"), ("S", "szu", "s2")):
        record = {"provider": provider, "id": id_, "reason": "it never ran"}
        await diary.ask("/v1/records/dispute", contract=contract, **record)
    await diary.ask("/v1/records/void", **record)
    await diary.ask("/v1/records/dispute/dismiss", **(record | {"provider": "pcl", "id": "a3"}))
    digest = DigestAccesses(day="2026-01-31", rows=1, sha256="0d" * 32)
    await diary.service.intake.command(digest, SERVICE, None)
    await diary.service.intake.command(DigestState(), SERVICE, None)


async def sell(diary: Diary) -> None:
    """Sell corpora, one by days of service, and take one back."""
    text = shipped_text("corpus-coupon", "2024-12") + ROUNDING
    policy = {"programme": "corpus-coupon", "version": "2024-12", "content": text}
    await diary.ask("/v1/policies", **policy)
    vendor = {"id": "szdex", "uscc": uscc_of(71), "name": "深圳数据交易所"}
    await diary.ask("/v1/providers", **vendor, serves=["corpus-coupon"])
    await diary.ask("/v1/providers/szdex/keys", **key_body("szdex-1", "szdex"))
    terms = contract_body("K", programme="corpus-coupon", provider="szdex", prices={})
    await diary.ask("/v1/contracts", **terms)
    dates = {"service_from": "2025-12-20", "service_until": "2026-01-09"}
    bought = [
        purchase("k1", "K", "20.01", "2026-01-09", **dates),
        purchase("k2", "K", "5.00", "2026-01-08"),
        purchase("k3", "K", "0.00", "2026-01-08"),
    ]
    szdex = {"provider": "szdex", "keyid": "szdex-1"}
    await diary.usage(purchases=bought, **szdex)
    await diary.usage([], [void("k1")], seq=2, **szdex)


async def meet(diary: Diary) -> None:
    """Let a person come, propose, confirm, and leave."""
    ask = diary.ask
    await ask("/v1/persons", id="li")
    await ask("/v1/tokens", id="li-1", holder="li")
    for last in ("confirm", "end"):
        number = diary.service.intake.watermark.size
        await ask("/v1/proposals", command="withdrawal", body=coupon_body(2026, "0.01", BETA))
        await ask(f"/v1/proposals/{number}/{last}")
    await ask("/v1/proposals", command="withdrawal", body=coupon_body(2026, "0.02", BETA))
    await ask("/v1/tokens/li-1/end")
    await ask("/v1/persons/li/end")


async def award(diary: Diary) -> None:
    """Fund a project by an award, and lower it."""
    ask = diary.ask
    await ask("/v1/policies", programme="adaptation", version="2024-12")
    budget = {"programme": "adaptation", "year": 2026, "amount": "100.00", "document": "12"}
    await ask("/v1/budgets", **budget)
    await ask("/v1/projects", id="P", title="适配")
    funds = {"reference": "7", "level": "district", "amount": "1.00", "document": "notice"}
    await ask("/v1/projects/P/funds", **funds)
    await ask("/v1/contracts/B/funds", **funds)
    await ask("/v1/enterprises", **enterprise_body(uscc_of(4)))
    merger = {"successor": BETA, "effective": "2026-01-01", "document": "notice"}
    await ask(f"/v1/enterprises/{uscc_of(4)}/succeed", **merger)
    await ask("/v1/projects/P/audit", amount="90.00", document="report")
    terms = {"programme": "adaptation", "enterprise": ALPHA, "project": "P", "year": 2026}
    await ask("/v1/awards", id="AW", base="80.00", amount="9.00", document="opinion", **terms)
    await ask("/v1/awards/AW/change", amount="8.00", reason="a smaller cost")


async def claim(diary: Diary) -> None:
    """Take every step of claims for contract A in 2025."""
    ask = diary.ask

    async def enter(name: str, number: str) -> None:
        await ask("/v1/claims", id=name, item="A", year=2025, **papers(number, name, "2026-01-09"))

    await enter("C1", "1" * 20)
    await ask("/v1/claims/C1/end", outcome="returned")
    for name, number in (("C2", "2" * 20), ("C3", "3" * 20)):
        await enter(name, number)
        await ask(f"/v1/claims/{name}/check")
        await ask(f"/v1/claims/{name}/approve", amount="1.00")
        if name == "C2":
            await ask("/v1/claims/C2/revoke", reason="a mistake")
    notice = {"starts": "2026-01-10", "ends": "2026-01-17", "url": "https://city.test/1"}
    await ask("/v1/claims/C3/notice", **notice)
    number = diary.service.intake.watermark.size
    await ask("/v1/claims/C3/objections", sha256="0f" * 32)
    outcome = {"outcome": "dismissed", "reason": "seen"}
    await ask(f"/v1/claims/C3/objections/{number}/resolve", **outcome)
    diary.service.clock.advance(8 * 86_400)
    await ask("/v1/claims/C3/order")
    await ask("/v1/claims/C3/payment", bank_reference="city-1", paid_on="2026-01-18")
    await ask("/v1/claims/C3/payment-return", returned_on="2026-01-18", reason="closed")
    red = {"number": "3" * 20, "red_number": "4" * 20, "confirmation": "red-1", "year": 2025}
    fen = {"amount": "999999.00", "refunded": "0.00", "issued_on": "2026-01-18"}
    await ask("/v1/invoices/red", **red, **fen)
    owed = {"year": 2025, "amount": "0.10"}
    await ask("/v1/items/A/forfeits", **owed, reason="a breach")
    await ask("/v1/recoveries", item="A", **owed, bank_reference="city-2")


async def allocate(diary: Diary) -> None:
    """Divide a pool of 3.00 among two, in a group that its entries do not end."""
    ask, name = diary.ask, "divided"
    text = lifted(programme=name, pool="3.00")
    section = '[allocation]\nmode = "proportional"\narticle = "1"\nstanding = "measures"\n'
    await ask("/v1/policies", programme=name, version="test", content=f"{text}\n{section}")
    for id_, uscc in (("D1", ALPHA), ("D2", BETA)):
        await ask("/v1/contracts", **contract_body(id_, programme=name, enterprise=uscc))
    requests = [[ALPHA, "2.00"], [BETA, "4.00"]]
    await ask("/v1/allocations", programme=name, year=2026, requests=requests)


async def end_year(diary: Diary) -> None:
    """End 2025 for a programme whose claims are open for a month."""
    ask, name = diary.ask, "brief"
    text = lifted(programme=name, claim_months=1)
    await ask("/v1/policies", programme=name, version="test", content=text)
    await ask("/v1/contracts", **contract_body("E", programme=name, enterprise=BETA))
    await ask("/v1/coupons", **coupon_body(2025, "2.22", BETA) | {"programme": name})
    diary.service.clock.set("2026-02-01T00:00:00+08:00")
    await ask("/v1/coupons/expire", programme=name, year=2025)
    await ask("/v1/years/close", programme=name, year=2025)


async def rotate(diary: Diary) -> None:
    """Change the service's own keys, with a batch in the overlap."""
    for kind in ("receipt", "log"):
        await diary.ask(f"/v1/{kind}-keys", **new_key(diary.service.folder, kind))
    await diary.usage([record("a5", "A", *HOUR, 10)], seq=10)
    await diary.ask("/v1/receipt-keys/retire", keyid="receipt-1")
    vkey = diary.service.folder.log_vkey.read_text().strip()
    await diary.ask("/v1/log-keys/retire", vkey=vkey)


def kashi(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


async def run(database: str, *words: object) -> Result:
    """Run a command on a database, in another thread than the test's loop."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, database)
        return await asyncio.to_thread(kashi, *words)
