"""The authority's pages over HTTP: what waits, a review, a proposal for another person."""

import re
from html import unescape

import pytest

from meter.console import authority_view as view
from meter.console.formats import money
from meter.console.words import words
from meter.host.tokens import Identity
from meter.service import sign_ins
from meter.values.units import parse_moment
from tests import people
from tests.books import ALPHA, record
from tests.meter.test_console_pages import EVIL, Elements
from tests.meter.test_proposals import city
from tests.people import sign_in
from tests.services import Clock, contract_body, serving

W = words("en")
DAY = ("2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00")


@pytest.fixture
async def service(database, tmp_path):
    """Two records wait for a reviewer; they came three days ago, and number 2 is missing."""
    clock = Clock("2025-03-01T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock) as service:
        await service.open_books()
        limited = contract_body("B", max_devices={"ascend-910b": 8})
        await service.ask("/v1/contracts", **limited)
        await service.usage([record("r1", "A", *DAY, 64_000)])
        over = [record("over", "B", *DAY, 16_000), record("<b>", "B", *DAY, 1_000)]
        await service.usage(over, seq=3)
        clock.set("2025-03-04T12:00:01+08:00")
        yield service


async def shown(service, visitor, path):
    answer = await service.get(path, **visitor.headers)
    assert answer.status == 200, answer.body
    return Elements(answer.body.decode())


def fields_of(answer):
    """Return the hidden fields of a page's own form."""
    main = answer.body.decode().partition("<main")[2]
    found = re.findall(r'type="hidden" name="([\w.]+)" value="([^"]*)"', main)
    return {name: unescape(value) for name, value in found}


async def test_the_authority_begins_with_what_waits_and_how_the_money_stands(service):
    visitor = await sign_in(service, "authority")
    start = await service.http.get(service.url, headers=visitor.headers, allow_redirects=False)
    assert start.headers["Location"].endswith("/authority")
    found = await shown(service, visitor, "/en/authority")
    queue = (await service.get("/v1/withheld")).json["withheld"]
    assert [each["id"] for each in queue] == ["over", "<b>"]
    for each in queue:
        place = found.text.index(each["id"])
        assert found.text[place + 3 : place + 5] == [money(each["amount"]), "3"]
    pools = (await service.get("/v1/pools")).json["pools"]
    assert pools
    for pool in pools:
        assert {money(pool["amount"]), money(pool["issued"]), money(pool["left"])} <= set(
            found.text
        )
    (coupon,) = (await service.get("/v1/coupons")).json["coupons"]
    name = (await service.get(f"/v1/enterprises/{ALPHA}")).json["enterprise"]["name"]
    assert {ALPHA, name, money(coupon["remaining"])} <= set(found.text)
    text = " ".join(found.text)
    assert "Training coupon 2025" in text
    assert all(W[name] in text for name in ("silent", "no_proposals", "no_claims_open"))


async def test_a_record_is_released_as_it_was_shown_and_once(service):
    visitor = await sign_in(service, "authority")
    number = (await service.get("/v1/withheld")).json["withheld"][0]["entry"]
    review = await service.get(f"/en/review/{number}", **visitor.headers)
    for act in ("release", "void"):
        assert f'action="/en/acts/{act}"' in review.body.decode()
    fields, path = fields_of(review), "/en/acts/release"
    empty = await visitor.send(service, path, **fields, reason="")
    assert empty.status == 400
    assert 'id="fault-reason"' in empty.body.decode()
    shown = await visitor.send(service, path, **fields, reason=EVIL)
    texts = Elements(shown.body.decode()).text
    place = texts.index(W["figure_entitled"])
    assert texts[place + 1 : place + 4] == ["B", "¥18.00", "¥36.00"]
    stale = await visitor.send(service, path, **fields_of(shown) | {"seal": "x"})
    assert (stale.status, W["stale"] in stale.body.decode()) == (409, True)
    size = len(await service.entries())
    for _ in range(2):
        answer = await visitor.send(service, path, **fields_of(shown))
        assert (answer.status, answer.headers["Location"]) == (303, f"/en/entries/{size}")
    entries = await service.entries()
    assert (len(entries), entries[-1].kind, entries[-1].id) == (size + 1, "release", "over")
    assert entries[-1].by == visitor.id
    told = await service.get(f"/en/entries/{size}", **visitor.headers)
    assert EVIL in Elements(told.body.decode()).text
    assert (await service.get(f"/en/review/{number}", **visitor.headers)).status == 404
    again = await visitor.send(service, path, **fields, reason="once more")
    assert (again.status, W["refusal_already_released"] in again.body.decode()) == (400, True)


async def test_an_auditor_sees_a_record_and_can_do_nothing(service):
    auditor = await sign_in(service, "auditor")
    number = (await service.get("/v1/withheld")).json["withheld"][1]["entry"]
    found = await shown(service, auditor, f"/zh/review/{number}")
    assert "<b>" in found.text
    for kind, names in (("enterprises", ("uscc", "name")), ("providers", ("id", "name"))):
        (party,) = (await service.get(f"/v1/{kind}")).json[kind]
        assert {party[name] for name in names} <= set(found.text)
    assert words("zh")["act_release"] not in found.text
    sent = await auditor.send(service, "/zh/acts/release", provider="pcl", id="<b>", reason="x")
    assert sent.status == 403
    assert len((await service.get("/v1/withheld")).json["withheld"]) == 2


def test_what_is_scarce_stands_first_and_an_empty_coupon_nowhere():
    def coupon(name, issued, remaining):
        money = {"issued": issued, "remaining": remaining, "granted": "0.00"}
        rest = {"entitled": "0.00", "uncovered": "0.00", "programme": "p", "year": 2025}
        return view.CouponView(enterprise=name, **money, **rest)

    held = [
        coupon("half", "100.00", "50.00"),
        coupon("none", "0.00", "0.00"),
        coupon("small", "100.00", "1.00"),
        coupon("large", "1000.00", "10.00"),
        coupon("spent", "0.01", "0.00"),
    ]
    found = view.scarcest(held, 3)
    assert [each.coupon.enterprise for each in found] == ["spent", "large", "small"]
    assert [each.left.text for each in found] == ["0%", "1.0%", "1.0%"]


def test_a_provider_is_silent_after_a_day_and_gappy_by_its_numbers():
    provider = view.ProviderView(
        id="p", entry=1, uscc="", name="P", serves=[], enlistments=[], keys=[]
    )
    now = parse_moment("2025-03-02T12:00:00+08:00")

    def found(*streams):
        rows = [view.StreamView("s", 2, 2, missing, time) for missing, time in streams]
        return [
            (each.last[11:19], each.missing, each.is_silent)
            for each in view.troubled([(provider, rows)], now)
        ]

    assert found((0, "2025-03-01T12:00:00+08:00")) == []
    assert found((0, "2025-03-01T11:59:59.999999+08:00")) == [("11:59:59", 0, True)]
    recent = (3, "2025-03-02T11:00:00.5+08:00"), (4, "2025-03-02T11:00:00+08:00")
    assert found(*recent) == [("11:00:00", 7, False)]
    assert found() == [("", 0, True)]


async def person_of(both, person):
    """Let a person of the authority sign in, under an id that both let the ledger name."""
    service, id_ = both.service, f"{person}-web"
    await both.by_both("token", id=id_, holder=person)
    with people.environment(service):
        await sign_ins.add_person(service.folder, Identity(id_, "authority", ""), person)
    return id_


async def official(both, person):
    """Sign a person of the authority in."""
    service, id_ = both.service, await person_of(both, person)
    answer = await people.open_link(service, await people.link(service, id_))
    return people.Visitor(id_, people.secret_of(answer))


async def test_what_needs_two_persons_is_proposed_and_confirmed_by_the_other(database, tmp_path):
    async with city(database, tmp_path) as both:
        service = both.service
        await both.open_books()
        limited = contract_body("B", max_devices={"ascend-910b": 8})
        await service.ask("/v1/contracts", **limited)
        await service.usage([record("over", "B", *DAY, 16_000)])
        wang, li = await official(both, "wang"), await official(both, "li")
        (held,) = (await service.get("/v1/withheld")).json["withheld"]
        review = await service.get(f"/en/review/{held['entry']}", **wang.headers)
        path = "/en/acts/release"
        shown_to_wang = await wang.send(service, path, **fields_of(review), reason=EVIL)
        given = fields_of(shown_to_wang)
        proposed = await wang.send(service, path, **given)
        number = len(await service.entries()) - 1
        assert proposed.headers["Location"] == f"/en/proposals/{number}"
        again = await wang.send(service, path, **given)
        assert again.headers["Location"] == proposed.headers["Location"]
        assert len(await service.entries()) == number + 1

        queue = await shown(service, li, "/en/authority")
        assert any(each.get("href") == f"/en/proposals/{number}" for _, each in queue.found)
        page = await service.get(f"/en/proposals/{number}", **li.headers)
        found = Elements(page.body.decode())
        assert {"wang", EVIL, "over", W["proposal_open"]} <= set(found.text)
        assert EVIL.encode() not in page.body
        own = fields_of(await service.get(f"/en/proposals/{number}", **wang.headers))
        same = await wang.send(service, f"/en/proposals/{number}", **own | {"act": "confirm"})
        assert (same.status, "same_person" in same.body.decode()) == (403, True)
        assert len(await service.entries()) == number + 1
        act = fields_of(page) | {"act": "confirm"}
        for _ in range(2):
            done = await li.send(service, f"/en/proposals/{number}", **act)
            assert done.headers["Location"] == f"/en/entries/{number + 1}"
        entries = await service.entries()
        assert len(entries) == number + 2
        assert (entries[-1].kind, entries[-1].person, entries[-1].proposal) == (
            "release",
            "li",
            number,
        )
        found = await shown(service, li, f"/en/proposals/{number}")
        assert any(W["proposal_confirmed"] in text for text in found.text)
        assert (await service.get("/en/proposals/999", **li.headers)).status == 404
