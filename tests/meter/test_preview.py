"""What a command would do: its answer and figures are those of then, and nothing changes."""

import copy
from collections import Counter

import pytest

from meter.rules.commands import Command, EndProposal, Propose
from meter.rules.kinds.kind import Stamp
from meter.rules.kinds.table import BY_COMMAND
from meter.rules.two_persons import PROPOSABLE
from meter.views import preview as views
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, Books, balances, record
from tests.commanding import every_command
from tests.meter.test_allocations import proportional
from tests.meter.test_proposals import city
from tests.services import HOUR, contract_body, coupon_body, enterprise_body, projections, serving


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="100.00")
        await service.ask("/v1/contracts", **contract_body("B", max_devices={DEVICE: 8}))
        await service.usage([record("r1", "A", *HOUR, 64_000), record("over", "B", *HOUR, 16_000)])
        yield service


async def preview(service, command, **body):
    names = {"starts": "from", "ends": "until", "applicant": "kind"}
    body = {names.get(name, name): value for name, value in body.items()}
    return await service.post("/v1/previews", {"command": command, "body": body}, None)


def figures(answer):
    assert answer.status == 200, answer.body
    return {
        (each["name"], each["of"], each.get("year", 0)): (each.get("before"), each.get("after"))
        for each in answer.json["figures"]
    }


async def test_an_issue_has_the_figures_of_pool_cap_need_and_coupon(service):
    found = figures(await preview(service, "issue", **coupon_body(2025, "50.00")))
    assert found == {
        ("pool", PROGRAMME, 2025): ("500000000.00", "500000000.00"),
        ("pool_left", PROGRAMME, 2025): ("499999900.00", "499999850.00"),
        ("cap_left", ALPHA, 2025): ("9999900.00", "9999850.00"),
        ("need_left", ALPHA, 2025): ("999900.00", "999850.00"),
        ("issued", ALPHA, 2025): ("100.00", "150.00"),
        ("granted", ALPHA, 2025): ("100.00", "150.00"),
        ("remaining", ALPHA, 2025): ("0.00", "0.00"),
        ("uncovered", ALPHA, 2025): ("62.00", "12.00"),
    }


COMMANDS = [
    ("issue", "/v1/coupons", coupon_body(2025, "50.00")),
    ("withdrawal", "/v1/coupons/withdraw", coupon_body(2026, "20.00")),
    ("release", "/v1/records/release", {"provider": "pcl", "id": "over", "reason": "seen"}),
    ("void", "/v1/records/void", {"provider": "pcl", "id": "r1", "reason": "found"}),
    (
        "amendment",
        "/v1/contracts/A/amend",
        {
            "mode": "correction",
            "prices": {DEVICE: "4.40"},
            "amount": "900000.00",
            "document": "更正",
            "reason": "mistyped",
        },
    ),
    ("contract_funds", "/v1/contracts/A/funds", None),
    ("freeze", "/v1/contracts/A/freeze", {"reason": "asked"}),
]


@pytest.mark.parametrize(("command", "path", "body"), COMMANDS, ids=[c[0] for c in COMMANDS])
async def test_what_is_foretold_is_what_then_happens(service, database, command, path, body):
    """The response and the figures are those of the API once the command has been given."""
    await service.issue(2026, "30.00")
    if body is None:
        body = {"reference": "1", "level": "district", "amount": "499900.00", "document": "x"}
    named = {"contract": "A"} if path.startswith("/v1/contracts/") else {}
    before = await projections(database)
    answer = await preview(service, command, **body, **named)
    found = figures(answer)
    assert await projections(database) == before
    pools, coupon, contracts = await totals(service)
    assert_told(found, 0, pools, coupon, contracts)
    given = await service.post(path, body)
    assert given.status == 201, given.body
    assert answer.json["response"] == given.json
    assert_told(found, 1, *await totals(service))
    assert found
    assert any(before != after for before, after in found.values())


async def test_a_divided_pool_has_what_each_firm_gets(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(proportional(pool="100.00"), issued=None)
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        await service.ask("/v1/contracts", **contract_body("B", enterprise=BETA))
        requests = [[ALPHA, "90.00"], [BETA, "60.00"]]
        body = {"programme": PROGRAMME, "year": 2025, "requests": requests}
        answer = await preview(service, "allocation", **body)
        assert figures(answer) == {
            ("pool", PROGRAMME, 2025): ("100.00", "100.00"),
            ("pool_left", PROGRAMME, 2025): ("100.00", "0.00"),
            ("issued", ALPHA, 2025): ("0.00", "60.00"),
            ("issued", BETA, 2025): ("0.00", "40.00"),
        }
        given = await service.post("/v1/allocations", body)
        assert answer.json["response"] == given.json
        pools, coupons, contracts = await totals(service)
        assert_told(figures(answer), 1, pools, coupons, contracts)


async def test_policies_budgets_and_awards_show_their_pool(service):
    policy = {"programme": "adaptation", "version": "2024-12"}
    found = figures(await preview(service, "policy", **policy))
    assert found["pool", "adaptation", 2025] == (None, "0.00")
    await service.ask("/v1/policies", **policy)
    budget = {"programme": "adaptation", "year": 2025, "amount": "90.00", "document": "12号"}
    found = figures(await preview(service, "budget", **budget))
    assert found["pool_left", "adaptation", 2025] == ("0.00", "90.00")
    await service.ask("/v1/budgets", **budget)
    await service.ask("/v1/projects", id="P", title="适配")
    award = {
        "id": "AW",
        "programme": "adaptation",
        "enterprise": ALPHA,
        "project": "P",
        "year": 2025,
        "base": "5000000.00",
        "amount": "7.00",
        "document": "评审",
    }
    answer = await preview(service, "award", **award)
    assert answer.status == 200, answer.body
    found = figures(answer)
    await service.ask("/v1/awards", **award)
    assert found["amount", "AW", 0] == (None, "7.00")
    assert found["granted", ALPHA, 2025] == ("0.00", "7.00")
    changed = {"award": "AW", "amount": "3.00", "reason": "review"}
    assert figures(await preview(service, "award_change", **changed)) == {
        ("pool", "adaptation", 2025): ("90.00", "90.00"),
        ("pool_left", "adaptation", 2025): ("83.00", "87.00"),
        ("issued", ALPHA, 2025): ("7.00", "3.00"),
        ("granted", ALPHA, 2025): ("7.00", "3.00"),
        ("amount", "AW", 0): ("7.00", "3.00"),
    }


async def totals(service):
    pools = (await service.get("/v1/pools")).json["pools"]
    coupons = (await service.get("/v1/coupons")).json["coupons"]
    contracts = (await service.get("/v1/contracts")).json["contracts"]
    return (
        {(each["programme"], each["year"]): each for each in pools},
        {(each["enterprise"], each["year"]): each for each in coupons},
        {each["id"]: each for each in contracts},
    )


def assert_told(found, side, pools, coupons, contracts):
    """Compare one side of figures with what the API answers."""
    for (name, of, year), values in found.items():
        if name in ("pool", "pool_left"):
            field = "amount" if name == "pool" else "left"
            assert values[side] == pools[of, year][field], (name, year)
        elif name == "frozen":
            assert values[side] == str(int(contracts[of]["frozen"]))
        elif of in contracts and name in ("amount", "cost", "entitled", "granted"):
            assert values[side] == contracts[of][name], (name, of)
        elif year and name in ("issued", "granted", "remaining", "uncovered"):
            held = coupons.get((of, year), {})
            assert values[side] == held.get(name, "0.00"), (name, year)


async def test_a_contract_shows_what_the_firm_rents_and_could_need(service):
    body = contract_body("C", amount="500000.00", ends="2026-01-01")
    answer = await preview(service, "contract", **body)
    found = figures(answer)
    assert found["rented", ALPHA, 2025] == ("2000000.00", "2500000.00")
    assert found["need_left", ALPHA, 2025] == ("999900.00", "1249900.00")
    assert found["support_limit", "C", 0] == (None, "250000.00")
    assert answer.json["response"]["class"] == "standard"
    assert (answer.json["persons"], answer.json["exists"]) == (1, False)


async def test_devices_and_keys_are_counted(service):
    enlisted = {"batch": "2025-2", "from": "2025-06-01", "until": "2026-01-01"}
    answer = await preview(
        service, "enlistment", provider="pcl", devices={DEVICE: 5}, enlisted=enlisted
    )
    assert figures(answer) == {("devices", DEVICE, 0): ("10000000", "10000005")}
    answer = await preview(service, "revocation", keyid="pcl-1", reason="left")
    assert figures(answer) == {("keys", "pcl", 0): ("1", "0")}


async def test_a_refusal_is_that_of_the_command(service):
    for command, body, code in (
        ("issue", coupon_body(2025, "10000000.00"), "cap_exceeded"),
        ("issue", coupon_body(2025, "0.00"), "malformed"),
        ("withdrawal", coupon_body(2025, "0.01"), "below_granted"),
        ("freeze", {"contract": "none"}, "unknown_contract"),
        ("freeze", {}, "malformed"),
        ("nothing", {}, "malformed"),
    ):
        answer = await preview(service, command, **body)
        assert answer.code == code, answer.body
    assert (await service.post("/v1/previews", b"[]", None)).code == "malformed"


async def test_what_exists_changes_nothing(service):
    answer = await preview(service, "enterprise", **enterprise_body())
    (registered,) = (await service.get("/v1/enterprises")).json["enterprises"]
    assert answer.json["exists"] is True
    assert answer.json["response"] == {"entry": registered["entry"]}
    assert answer.json["figures"] == []


def test_each_command_does_what_was_foretold(monkeypatch):
    """Of every kind: the money of the figures is that of the accounts, before and after."""
    give, seen = Books.do, Counter()

    def foresee(books, command, by=None, request=None):
        if not isinstance(command, Command) or not BY_COMMAND[type(command)].persons:
            return give(books, command, by, request)
        stamp = Stamp(books.now, by or books.entries[0].by, "k", "00", books.checkpoint())
        told = views.preview(copy.deepcopy(books.state), command, stamp)
        check_money(books, told, "before")
        number = give(books, command, by, request)
        assert told.response["entry"] == number
        assert told.persons == 1
        check_money(books, told, "after")
        seen[type(command)] += sum(each.before != each.after for each in told.figures)
        return number

    monkeypatch.setattr(Books, "do", foresee)
    every_command()
    assert set(seen) == {kind.command for kind in PROPOSABLE.values()} | PROPOSALS
    silent = {kind.__name__ for kind, changes in seen.items() if not changes}
    assert silent == NO_FIGURES


PROPOSALS = {Propose, EndProposal}
NO_FIGURES = {
    *("AddLogKey", "AddReceiptKey", "RetireLogKey", "RetireReceiptKey", "EndToken", "MakeToken"),
    *("EndPerson", "RegisterPerson", "Propose", "EndProposal", "AmendEnterprise", "AmendProvider"),
    *("RegisterEnterprise", "SucceedEnterprise", "RegisterProject", "AuditProject", "FundProject"),
    *("CloseMonth", "ConfirmMonth", "DisputeRecord", "DismissDispute"),
    *("OpenLateWindow", "CloseYear", "EnterClaim", "CheckClaim", "EndClaim", "NoticeClaim"),
    *("EnterObjection", "ResolveObjection", "PayClaim", "ReturnPayment"),  # paid when ordered
}


def check_money(books, told, side):
    """Compare figures with the accounts of plain books."""
    (*_, accounts) = balances(books.entries)
    by_item = {"payable": "payable:{}:{}", "paid": "paid:{}:{}", "cost": "due:{}"}
    for each in told.figures:
        name, of, year = each.id
        fen = getattr(each, side)
        if name in by_item:
            account = by_item[name].format(of, year)
            assert (fen or 0) == abs(accounts.get(account, 0)), (told, each)
        if name == "pool_left" and fen is not None:
            assert fen == accounts.get(f"pool:{of}:{year}", 0), each
        if name == "remaining":
            rests = {accounts.get(f"coupon:{each}:{year}:{of}", 0) for each in books.state.active}
            assert fen in rests, told


async def test_two_persons_are_needed_where_entry_0_says_so(database, tmp_path):
    async with city(database, tmp_path) as both:
        await both.open_books()
        for command, body, persons in (
            ("issue", coupon_body(2025, "1.00"), 2),
            ("freeze", {"contract": "A"}, 1),
        ):
            answer = await both.post("li", "/v1/previews", {"command": command, "body": body})
            assert answer.json["persons"] == persons, answer.body
