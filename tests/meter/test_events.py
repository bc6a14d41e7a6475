"""Events: each of a subject's own, once, in order, from any place where it resumes."""

import asyncio
import contextlib
import itertools
import json
import random
import re
import socket
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import urlsplit

import aiohttp
import pytest
from msgspec import UNSET

from meter.api import events as edge
from meter.api import streams
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.service import admin as services
from meter.tables import write as tables_write
from meter.views.events import Position, Viewer, reaches
from tests.books import (
    ALPHA,
    BETA,
    DEVICE,
    PROGRAMME,
    lifted,
    parse_instant,
    record,
    uscc_of,
    void,
)
from tests.services import (
    HOUR,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

EIGHT = parse_instant("2025-03-01T08:00:00+08:00")
YEAR = 2025


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Send heartbeats soon, so that the place of a stream is known."""
    monkeypatch.setattr(edge, "HEARTBEAT_SECONDS", 0.03)


@dataclass
class Heard:
    """The blocks of a stream as they came: events, and places without one."""

    events: list[tuple[str, str, dict]] = field(default_factory=list)
    last_id: str = ""
    blocks: int = 0

    def take(self, block: str) -> None:
        self.blocks += 1
        lines = [line.partition(": ") for line in block.split("\n") if line and line[0] != ":"]
        fields = {name: value for name, _, value in lines}
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))

    @property
    def ids(self) -> list[str]:
        return [event[0] for event in self.events]

    def named(self, name: str) -> list[dict]:
        return [data for _, found, data in self.events if found == name]


@contextlib.asynccontextmanager
async def listening(service, token: str, after: str | None = None, heard: Heard | None = None):
    """Listen in the background; yields the blocks so far."""
    heard = heard if heard is not None else Heard()
    headers = {"Authorization": f"Bearer {token}"}
    if after is not None:
        headers["Last-Event-ID"] = after
    opened = asyncio.Event()

    async def listen() -> None:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(service.url + "/v1/events", timeout=None) as answer,
        ):
            assert answer.status == 200, await answer.read()
            assert answer.headers["Content-Type"] == "text/event-stream"
            rest = b""
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for piece in answer.content.iter_any():
                    *blocks, rest = (rest + piece).split(b"\n\n")
                    for block in blocks:
                        heard.take(block.decode())
                    opened.set()

    task = asyncio.create_task(listen())
    try:
        waiting = asyncio.create_task(opened.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        if task.done():
            task.result()
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is heard is plain data
            await asyncio.sleep(0.01)


async def replay(service, token: str, after: str = "-1") -> Heard:
    """Hear all there is after an id."""
    last = str(service.intake.watermark.size - 1)
    async with listening(service, token, after) as heard:
        await until(lambda: heard.last_id == last)
    return heard


async def token(service, name: str, role: str, subject: str = "") -> str:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, service.dsn)
        return await services.add_token(service.folder, Identity(name, role, subject))


async def tokens(service) -> dict[str, str]:
    """Return a token for each viewer of the history."""
    wanted = {
        "alpha": ("enterprise", ALPHA),
        "beta": ("enterprise", BETA),
        "pcl": ("provider", "pcl"),
        "other": ("provider", "other"),
        "audit": ("auditor", ""),
    }
    return {name: await token(service, name, *rest) for name, rest in wanted.items()}


VIEWERS = {
    "alpha": Viewer("enterprise", ALPHA),
    "beta": Viewer("enterprise", BETA),
    "pcl": Viewer("provider", "pcl"),
    "other": Viewer("provider", "other"),
    "audit": Viewer("auditor"),
}


async def random_past(service, steps: int = 30) -> None:
    """Two enterprises, two providers, too few cards, small coupons: everything happens."""
    chance = random.Random(11)
    await service.activate(lifted())
    for provider in ("pcl", "other"):
        number = 9 if provider == "pcl" else 8
        body = provider_body(provider, uscc=uscc_of(number), devices={DEVICE: 24})
        await service.ask("/v1/providers", **body)
        await service.ask(f"/v1/providers/{provider}/keys", **key_body(f"{provider}-1", provider))
    for uscc in (ALPHA, BETA):
        await service.ask("/v1/enterprises", **enterprise_body(uscc, name=uscc))
    for name, enterprise, provider in (
        *(("A", ALPHA, "pcl"), ("B", ALPHA, "pcl"), ("C", ALPHA, "other")),
        *(("X", BETA, "pcl"), ("Y", BETA, "other")),
    ):
        await service.ask(
            "/v1/contracts", **contract_body(name, enterprise=enterprise, provider=provider)
        )
    await more_past(service, chance, 0, steps)


async def more_past(service, chance, first: int, steps: int) -> None:
    names = defaultdict(list)
    for step in range(first, first + steps):
        service.clock.advance(chance.choice((0, 1, 60)))
        for provider, contracts in (("pcl", "ABX"), ("other", "CY")):
            made = [some_record(chance, f"r{step}-{i}", contracts) for i in range(3)]
            taken = [void(names[provider].pop())] if names[provider] and step % 3 == 0 else []
            answer = await service.usage(
                made, taken, provider=provider, keyid=f"{provider}-1", seq=step + 1
            )
            assert answer.status == 200, answer.body
            names[provider] += [each["id"] for each in made]
        if step % 4 == 1:
            await service.issue(YEAR, f"{chance.randrange(1, 90)}.00", chance.choice((ALPHA, BETA)))
        if step % 5 == 2:
            body = {"provider": "pcl", "id": names["pcl"][-2], "reason": "seen by a reviewer"}
            await service.post("/v1/records/release", body)
        if step % 7 == 3:
            body = {"provider": "other", "id": names["other"].pop(0), "reason": "not so"}
            await service.post("/v1/records/void", body)
        if step % 6 == 5:
            await service.post("/v1/coupons/withdraw", coupon_body(YEAR, "1.00", ALPHA))
    await service.post("/v1/contracts/X/freeze")
    await service.post("/v1/contracts/X/unfreeze")
    await service.ask("/v1/providers/pcl/keys", **key_body(f"spare-{first}"))


def some_record(chance, name: str, contracts: str) -> dict:
    start = EIGHT + chance.randrange(8) * 900
    milli_devices = chance.randrange(1, 20_000)
    return record(name, chance.choice(contracts), start, EIGHT + 9000, milli_devices)


# The meaning of an entry, by the state before and after it; `meter.views.events` reads postings.


def standing(state: State) -> tuple[dict, dict]:
    """Return the year of each contract, and each coupon with the sum of its contracts; fen."""
    shares = {
        (name, year): (share.entitled, share.granted)
        for name, contract in state.contracts.items()
        for year, share in contract.shares.items()
    }
    coupons = {coupon: (fen, 0) for coupon, fen in state.coupons.items()}
    for (name, year), (_, granted) in shares.items():
        coupon = state.contracts[name].coupon_id(year)
        issued, sum_ = coupons.get(coupon, (0, 0))
        coupons[coupon] = issued, sum_ + granted
    return shares, coupons


def meant(entries: list, viewer: Viewer) -> list[tuple]:
    """Return `(entry, event, figures)` of all that a viewer should hear; unordered in an entry."""
    state, found = State(), []
    after = standing(state)
    for number, entry in enumerate(entries):
        before = after
        evolve(state, entry)
        after = standing(state)
        for name, *figures in meaning(state, entry, viewer, before, after):
            found.append((number, name, *figures))
    return found


def meaning(state, entry, viewer, before, after):
    if viewer.role == "auditor":
        granted = sum(change[1] for change in changes(before, after).values())
        yield "entry", entry.kind, granted
    else:
        yield from of_contracts(state, entry, viewer, changes(before, after))
    if viewer.role == "provider":
        yield from of_provider(entry, viewer)
    else:
        yield from of_coupons(entry, viewer, before[1], after[1])


def changes(before, after):
    """Return the change of the year of each contract: entitled and granted."""
    return {
        key: tuple(new - old for new, old in zip(held, before[0].get(key, (0, 0)), strict=True))
        for key, held in after[0].items()
    }


def of_contracts(state, entry, viewer, changed):
    mine = {
        name
        for name, contract in state.contracts.items()
        if getattr(contract.registered, viewer.role) == viewer.subject
    }
    about = getattr(entry, "contract", entry.id if entry.kind == "contract" else "")
    own_void = entry.kind == "void" and entry.batch is not UNSET
    hidden = viewer.role == "provider" and (entry.kind == "usage" or own_void)
    if about in mine and entry.kind in RECORDS and not hidden:
        money = [
            sum(each[i] for (name, _), each in changed.items() if name == about) for i in range(2)
        ]
        withheld = 0 if entry.withheld_cost is UNSET else entry.withheld_cost
        reasons = {} if entry.ineligible is UNSET else dict(entry.ineligible)
        money += [withheld, sum(reasons.values()), reasons]
        yield f"record.{RECORDS[entry.kind]}", entry.id, getattr(entry, "cost", 0), *money
    elif about in mine and entry.kind in CONTRACTS:
        yield f"contract.{CONTRACTS[entry.kind]}", about
    for (name, year), (_, granted) in changed.items():
        if viewer.role == "enterprise" and name in mine and name != about and granted:
            yield "grant.changed", name, year, granted


RECORDS = {"usage": "accepted", "void": "voided", "release": "released"}
CONTRACTS = {"contract": "registered", "freeze": "frozen", "unfreeze": "unfrozen"}
COUPONS = {"issue": "issued", "withdrawal": "withdrawn"}


def of_provider(entry, viewer):
    if entry.kind == "batch" and entry.provider == viewer.subject:
        yield "batch.accepted", entry.seq, entry.payload
    if entry.kind == "revocation" and entry.keyid == f"{viewer.subject}-1":
        yield "key.revoked", entry.keyid


def of_coupons(entry, viewer, before, after):
    if entry.kind in COUPONS and entry.enterprise == viewer.subject:
        yield f"coupon.{COUPONS[entry.kind]}", *after[entry.enterprise, PROGRAMME, entry.year]
    for coupon, held in after.items():
        if viewer.subject in ("", coupon[0]):
            then = before.get(coupon, (0, 0))
            for percent in (80, 95, 100):
                if reached(percent, held) and not reached(percent, then):
                    yield "coupon.threshold", coupon[0], percent, *held


def reached(percent: int, held: tuple[int, int]) -> bool:
    issued, granted = held
    return issued > 0 and Fraction(granted, issued) >= Fraction(percent, 100)


def told(heard: Heard) -> list[tuple]:
    """Return the same from the events that were heard."""
    found = []
    for _, name, data in heard.events:
        fen = {key: money(text) for key, text in data.items() if key in MONEY}
        match name.split("."):
            case ("entry",):
                figures = data["kind"], fen.get("granted", 0)
            case "record", _:
                names = ("cost", "entitled", "granted", "withheld", "ineligible")
                reasons = {name: money(text) for name, text in data.get("reasons", {}).items()}
                figures = data["record"], *(fen[key] for key in names), reasons
                assert fen["uncovered"] == fen["entitled"] - fen["granted"]
                by_year = {year: money(text) for year, text in data["by_year"].items()}
                assert sum(by_year.values()) == fen["granted"]
            case "contract", _:
                figures = (data["contract"],)
            case "batch", _:
                figures = data["seq"], data["batch"]
            case "key", _:
                figures = (data["keyid"],)
            case "grant", _:
                figures = data["contract"], data["year"], fen["granted"]
            case "coupon", "threshold":
                figures = data["enterprise"], data["percent"], fen["issued"], fen["granted"]
            case "coupon", _:
                figures = fen["issued"], fen["granted"]
        found.append((data["entry"], name, *figures))
    return found


MONEY = {
    *("cost", "entitled", "granted", "uncovered", "withheld", "ineligible", "issued", "amount"),
}


def money(text: str) -> int:
    return int(text.replace(".", ""))


@pytest.fixture
async def history(database, tmp_path):
    """A service with a random past, and a token for each viewer."""
    async with serving(database, tmp_path) as service:
        await random_past(service)
        await service.ask("/v1/keys/other-1/revoke")
        service.tokens = await tokens(service)
        yield service


async def test_each_subject_is_told_what_the_books_say(history):
    entries = await history.entries()
    names = Counter()
    for name, viewer in VIEWERS.items():
        heard = await replay(history, history.tokens[name])
        assert sorted(told(heard), key=repr) == sorted(meant(entries, viewer), key=repr), name
        names.update(event for _, event, _ in heard.events)
        assert well_numbered(heard.ids)
    assert names.keys() == {
        *("record.accepted", "record.voided", "record.released", "grant.changed"),
        *("coupon.issued", "coupon.withdrawn", "coupon.threshold", "entry"),
        *("contract.registered", "contract.frozen", "contract.unfrozen"),
        *("batch.accepted", "key.revoked"),
    }


async def test_awards_and_the_money_of_their_projects_are_told_to_their_enterprises(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.ask("/v1/policies", programme="adaptation", version="2024-12")
        await service.ask(
            "/v1/budgets", programme="adaptation", year=YEAR, amount="9.00", document="12号"
        )
        for uscc in (ALPHA, BETA):
            await service.ask("/v1/enterprises", **enterprise_body(uscc, name=uscc))
        for project in ("P", "Q"):
            await service.ask("/v1/projects", id=project, title="适配")
        funds = {"reference": "7号", "level": "district", "document": "通知"}
        award = {"programme": "adaptation", "year": YEAR, "base": "8.00", "document": "评审"}
        await service.ask("/v1/projects/P/funds", amount="0.00", **funds)  # of no enterprise yet
        await service.ask(
            "/v1/awards", id="A", enterprise=ALPHA, project="P", amount="3.00", **award
        )
        await service.ask(
            "/v1/awards", id="B", enterprise=BETA, project="Q", amount="2.00", **award
        )
        await service.ask("/v1/projects/P/funds", amount="1.00", **funds)
        await service.ask("/v1/projects/P/audit", amount="7.50", document="报告")
        last = await service.ask("/v1/awards/A/change", amount="2.50", reason="less")
        heard = await replay(service, await token(service, "alpha", "enterprise", ALPHA))
        of_award = {"award": "A", "programme": "adaptation", "year": YEAR}
        assert [(name, without_place(data)) for _, name, data in heard.events] == [
            ("award.made", of_award | {"amount": "3.00", "granted": "3.00"}),
            (
                "project.funded",
                {"project": "P", "reference": "7号", "level": "district", "amount": "1.00"},
            ),
            ("project.audited", {"project": "P", "amount": "7.50"}),
            ("award.changed", of_award | {"amount": "2.50", "granted": "-0.50"}),
        ]
        heard = await replay(service, await token(service, "beta", "enterprise", BETA))
        assert [name for _, name, _ in heard.events] == ["award.made"]
        heard = await replay(service, await token(service, "audit", "auditor"))
        assert len(heard.named("entry")) == last["entry"] + 1
        about = {"enterprise": BETA, "programme": "adaptation", "year": YEAR}
        assert heard.named("entry")[9]["about"] == about | {"id": "B", "project": "Q"}


def without_place(data: dict) -> dict:
    return {name: value for name, value in data.items() if name not in ("entry", "time")}


def well_numbered(ids: list[str]) -> bool:
    """Return whether the events of an entry have numbers from 1, and the last the entry alone."""
    found = defaultdict(list)
    for event_id in ids:
        found[int(event_id.partition(".")[0])].append(event_id)
    return list(found) == sorted(found) and all(
        texts == [*(f"{number}.{i}" for i in range(1, len(texts))), str(number)]
        for number, texts in found.items()
    )


async def test_nothing_foreign_is_told(history):
    entries = await history.entries()
    foreign = {
        "alpha": {BETA, "X", "Y"},
        "beta": {ALPHA, "A", "B", "C"},
        "pcl": {ALPHA, BETA, "other", "C", "Y", "other-1"},
        "other": {ALPHA, BETA, "pcl", "A", "B", "X", "pcl-1"},
    }
    records = defaultdict(set)
    for entry in entries:
        if entry.kind == "usage":
            records[entry.contract].add(entry.id)
    for name, words in foreign.items():
        heard = await replay(history, history.tokens[name])
        assert heard.events
        told_words = set()
        for _, _, data in heard.events:
            told_words |= {value for value in data.values() if isinstance(value, str)}
        assert not told_words & words


@pytest.mark.long
async def test_a_resumed_stream_tells_exactly_what_is_missing_from_wherever_it_was(history):
    for name in ("alpha", "pcl", "audit"):
        whole = await replay(history, history.tokens[name])
        assert len(whole.events) > 20
        for place, event_id in enumerate(whole.ids, 1):
            rest = await replay(history, history.tokens[name], event_id)
            assert rest.events == whole.events[place:], event_id


@pytest.mark.parametrize(("pages", "entries", "balances"), [(1, 1, 1), (2, 3, 0), (1, 7, 1)])
async def test_what_is_told_depends_on_no_limit(history, monkeypatch, pages, entries, balances):
    names = ("alpha", "beta", "pcl", "audit")
    whole = [(await replay(history, history.tokens[name])).events for name in names]
    monkeypatch.setattr(streams, "MAX_PAGES", pages)
    monkeypatch.setattr(streams, "PAGE_ENTRIES", entries)
    monkeypatch.setattr(edge, "MAX_BALANCES", balances)
    monkeypatch.setattr(edge, "CHUNK_BYTES", 1)
    assert [(await replay(history, history.tokens[name])).events for name in names] == whole


def test_a_place_is_known_by_the_id_of_the_event_before_it():
    assert Position.after("-1") == Position(0)
    assert Position.after("41") == Position(42)
    assert Position.after("41.2") == Position(41, 2)
    for wrong in ("", "x", "-2", "1.", ".1", "1.x", "1.1.1", "+1", "1e3", "٣", "9" * 16, " 1"):
        with pytest.raises(ValueError, match="not the id"):
            Position.after(wrong)


# Thresholds


async def test_a_threshold_is_told_once_for_each_crossing_exactly_at_the_fen(database, tmp_path):
    begun = parse_instant(HOUR[0])
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(), None)
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        await service.issue(YEAR, "10.00")
        numbers = itertools.count(1)

        async def grant(fen: int) -> None:
            """Use as much as entitles to an amount: a card costs 0.02 in 16 seconds."""
            seq = next(numbers)
            made = record(f"r{seq}", "A", begun, begun + 16 * fen, 1_000)
            assert (await service.usage([made], seq=seq)).status == 200

        async with listening(service, alpha) as heard:
            for fen in (799, 1, 149, 1, 49):
                await grant(fen)
            await heard_all(service, heard)
            assert crossed(heard) == [(80, "8.00"), (95, "9.50")]
            await grant(1)  # 10.00 of 10.00
            await grant(50)  # uncovered
            await service.usage([], [void("r7"), void("r2")], seq=next(numbers))  # 9.99
            await grant(1)  # 10.00 again
            await service.issue(YEAR, "2.50")  # 80 % to the fen: it was above, so nothing new
            await service.issue(YEAR, "0.01")  # below it
            body = coupon_body(YEAR, "0.01")
            assert (await service.post("/v1/coupons/withdraw", body)).status == 201  # and again
            await heard_all(service, heard)
        assert crossed(heard)[2:] == [(100, "10.00"), (100, "10.00"), (80, "10.00")]
        assert [each["issued"] for each in heard.named("coupon.threshold")[-2:]] == [
            *("10.00", "12.50"),
        ]


async def test_a_coupon_that_comes_after_the_usage_crosses_all_thresholds_in_one_entry(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(), None)
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        async with listening(service, alpha) as heard:
            await service.issue(YEAR, "144.00")
            await heard_all(service, heard)
        number = service.intake.watermark.size - 1
        names = ["coupon.issued", "grant.changed", *["coupon.threshold"] * 3]
        ids = [*(f"{number}.{index}" for index in (1, 2, 3, 4)), str(number)]
        assert [event[:2] for event in heard.events] == list(zip(ids, names, strict=True))
        assert [percent for percent, _ in crossed(heard)] == [80, 95, 100]


@pytest.mark.parametrize(
    ("percent", "issued", "granted", "answer"),
    [
        (80, 0, 0, False),
        (100, 1, 1, True),
        (80, 5, 4, True),
        (80, 6, 4, False),
        (95, 10**9, 95 * 10**7, True),
        (95, 10**9, 95 * 10**7 - 1, False),
    ],
)
def test_a_threshold_is_reached_exactly(percent, issued, granted, answer):
    assert reaches(percent, issued, granted) is answer


def crossed(heard: Heard) -> list[tuple[int, str]]:
    return [(each["percent"], each["granted"]) for each in heard.named("coupon.threshold")]


async def heard_all(service, heard: Heard) -> None:
    """Wait until the stream has the last entry, or its place behind it."""
    await until(lambda: heard.last_id == str(service.intake.watermark.size - 1))


# Live


async def test_open_streams_see_each_event_once_and_in_order_while_usage_is_posted(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await random_past(service, 2)
        known = await tokens(service)
        begun = str(service.intake.watermark.size - 1)
        async with contextlib.AsyncExitStack() as stack:
            live = {
                name: [await stack.enter_async_context(listening(service, text)) for _ in range(2)]
                for name, text in known.items()
            }
            chance = random.Random(5)
            batches = {
                seq: [some_record(chance, f"live{seq}-{i}", "ABX") for i in range(3)]
                for seq in range(100, 160)
            }
            posts = (service.usage(made, seq=seq) for seq, made in batches.items())
            _, *answers = await asyncio.gather(more_past(service, chance, 10, 10), *posts)
            assert {answer.status for answer in answers} == {200}
            for heard in itertools.chain(*live.values()):
                await heard_all(service, heard)
        for name, text in known.items():
            expected = (await replay(service, text, begun)).events
            assert [heard.events for heard in live[name]] == [expected] * 2
            assert expected


async def test_nothing_is_told_before_it_is_committed(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        write, held, may_end = tables_write.write, asyncio.Event(), asyncio.Event()

        async def slow(*arguments):
            opened = await write(*arguments)
            held.set()
            await may_end.wait()
            return opened

        monkeypatch.setattr(tables_write, "write", slow)
        async with listening(service, alpha) as heard:
            posting = asyncio.create_task(service.usage([record("r1", "A", *HOUR, 1_000)]))
            await held.wait()
            blocks = heard.blocks
            await until(lambda: heard.blocks > blocks + 2)  # heartbeats
            assert heard.events == []
            may_end.set()
            await posting
            await heard_all(service, heard)
        assert len(heard.named("record.accepted")) == 1


async def test_a_heartbeat_tells_the_place_though_all_is_foreign(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        beta = await token(service, "beta", "enterprise", BETA)
        async with listening(service, beta) as heard:
            await service.usage([record("r1", "A", *HOUR, 1_000)])
            await heard_all(service, heard)
        assert heard.events == []


async def test_a_stream_goes_on_after_a_restart_with_what_was_missed(database, tmp_path):
    heard = Heard()
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        async with listening(service, alpha, heard=heard):
            await service.usage([record("r1", "A", *HOUR, 1_000)])
            await heard_all(service, heard)
            async with asyncio.timeout(3):  # an open stream does not hold up the end
                await service.stop()
    async with serving(database, tmp_path) as service:
        await service.usage([record("r2", "A", *HOUR, 1_000)], seq=2)
        async with listening(service, alpha, heard.last_id, heard):
            await service.usage([record("r3", "A", *HOUR, 1_000)], seq=3)
            await heard_all(service, heard)
        whole = await replay(service, alpha)
    assert [each["record"] for each in heard.named("record.accepted")] == ["r1", "r2", "r3"]
    assert heard.events == whole.events[-len(heard.events) :]


async def test_a_reader_that_does_not_read_is_cut_off_and_can_resume(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(edge, "WRITE_SECONDS", 0.3)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        made = [record(f"r{n}", "A", *HOUR, 1) for n in range(3_000)]
        await service.usage(made)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect((urlsplit(service.url).hostname, urlsplit(service.url).port))
            head = f"GET /v1/events?after=-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alpha}"
            slow.sendall(f"{head}\r\n\r\n".encode())
            await until_streams(service, 1)
            await until_streams(service, 0)
            slow.setblocking(True)
            got = b""
            with contextlib.suppress(ConnectionError):
                while piece := await asyncio.to_thread(slow.recv, 65_536):
                    got += piece
        assert len(got) < 400_000
        whole = await replay(service, alpha)
        assert len(whole.named("record.accepted")) == 3_000
        seen = re.findall(rb"^id: ([0-9.]+)\nevent: ", got, re.MULTILINE)
        last = seen[-2].decode()  # the very last may be cut in the middle
        rest = await replay(service, alpha, last)
        assert rest.events == whole.events[whole.ids.index(last) + 1 :]


async def until_streams(service, count: int) -> None:
    line = f"\nkashi_event_streams {count}.0\n".encode()
    async with asyncio.timeout(10):
        while line not in (await service.get("/metrics")).body:  # noqa: ASYNC110 - tells if asked
            await asyncio.sleep(0.02)


# Who, and how many


async def test_a_token_may_have_only_so_many_streams_open(database, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "MAX_STREAMS_PER_TOKEN", 2)
    monkeypatch.setattr(streams, "MAX_STREAMS", 3)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        audit = await token(service, "audit", "auditor")
        async with listening(service, alpha), listening(service, alpha):
            answer = await service.get("/v1/events", Authorization=f"Bearer {alpha}")
            assert (answer.status, answer.code) == (503, "busy")
            async with listening(service, audit):
                assert (await service.get("/v1/events")).code == "busy"  # too many of all
        await until_streams(service, 0)
        async with listening(service, alpha):
            pass


async def test_a_stream_ends_with_its_token(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        alpha = await token(service, "alpha", "enterprise", ALPHA)
        async with listening(service, alpha) as heard:
            await until(lambda: heard.blocks > 2)
            monkeypatch.setenv(DATABASE_VARIABLE, database)
            await services.revoke_token(service.folder, "alpha")
            await until_streams(service, 0)
        answer = await service.get("/v1/events", Authorization=f"Bearer {alpha}")
        assert answer.code == "unauthorized"


@pytest.mark.parametrize("after", ["x", "1.x", "99999", "-2"])
async def test_a_place_that_the_ledger_does_not_have_is_refused(database, tmp_path, after):
    async with serving(database, tmp_path) as service:
        assert (await service.get(f"/v1/events?after={after}")).code == "malformed"
        assert (await service.get("/v1/events", Last_Event_ID=after)).code == "malformed"


async def test_a_head_request_does_not_wait_for_events(database, tmp_path):
    async with serving(database, tmp_path) as service, asyncio.timeout(3):
        answer = await service.send("HEAD", "/v1/events")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Type"] == "text/event-stream"
