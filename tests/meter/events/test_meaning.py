"""Events: each subject is told what the books say, and nothing foreign, from any place."""

from collections import Counter, defaultdict
from fractions import Fraction

import pytest
from msgspec import UNSET

from meter.api import events as edge
from meter.api import streams
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.views.events import Position, Viewer
from tests.books import ALPHA, BETA, PROGRAMME
from tests.listening import YEAR, Heard, random_past, replay, token, tokens
from tests.services import enterprise_body, serving

VIEWERS = {
    "alpha": Viewer("enterprise", ALPHA),
    "beta": Viewer("enterprise", BETA),
    "pcl": Viewer("provider", "pcl"),
    "other": Viewer("provider", "other"),
    "audit": Viewer("auditor"),
}


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
