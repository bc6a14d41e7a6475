"""The pages of claims over HTTP: a firm's draft and its claim, the review, and who may do what."""

import csv
import gzip
import io
import re
from html import unescape

import pytest

from meter.console.words import words
from tests.books import ALPHA, BETA
from tests.claiming import NOTICE_URL, again, claim, claiming, official
from tests.meter.test_claims_http import PAPERS, service  # noqa: F401
from tests.meter.test_every_page import MAX_PACKED, MAX_PLAIN
from tests.people import sign_in

W = words("en")
NEW = f"/en/enterprises/{ALPHA}/claims/new"
EVIL = "<script>'x'</script>"


def fields_of(answer):
    """Return the fields of the form in the page's content, as a browser would send them."""
    main = answer.body.decode().partition("<main")[2]
    found = {}
    for tag in re.findall(r"<input[^>]*>", main):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if "name" in attributes:
            found[attributes["name"]] = unescape(attributes.get("value", ""))
    return found


def check_size(answer):
    """Check that a page is as small as each page must be."""
    assert len(answer.body) <= MAX_PLAIN
    assert len(gzip.compress(answer.body)) <= MAX_PACKED


def text_of(answer):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", answer.body.decode())))


def filled(base, **changes):
    """Return a form with the papers that the shipped policy asks for."""
    (invoice,), (payment,) = PAPERS["invoices"], PAPERS["payments"]
    rows = {f"invoice-0-{name}": value for name, value in invoice.items()}
    rows |= {f"payment-0-{name}": value for name, value in payment.items()}
    return base | rows | {"id": "C1", "delivery": PAPERS["delivery"]} | changes


async def enter(service, firm):  # noqa: F811
    """Let a firm enter claim C1 by its pages."""
    form = fields_of(await service.get(f"{NEW}?item=A&year=2025", **firm.headers))
    asked = await firm.send(service, NEW, **filled(form), step="continue")
    entered = await firm.send(service, NEW, **fields_of(asked), step="submit")
    assert entered.status == 303, text_of(entered)


async def test_a_firm_sees_the_limit_grow_and_enters_its_claim_once(service):  # noqa: F811
    firm = await sign_in(service, "enterprise", ALPHA)
    listed = await service.get(f"/en/enterprises/{ALPHA}/claims", **firm.headers)
    assert f'href="{NEW}?item=A&amp;year=2025"' in listed.body.decode()
    empty = await service.get(f"{NEW}?item=A&year=2025", **firm.headers)
    assert empty.status == 200
    base = fields_of(empty)
    assert (base["invoice-0-seller"], base["invoice-0-buyer"]) == (
        PAPERS["invoices"][0]["seller"],
        ALPHA,
    )
    assert W["evidence_gap"].format(papers="the proof of delivery, invoices, payments") in text_of(
        empty
    )
    grown = await firm.send(
        service, NEW, **filled(base, step="recalculate", **{"payment-0-reference": ""})
    )
    assert grown.status == 200
    assert "Invoiced (I) ¥1,000,000.00 50%" in text_of(grown)
    assert W["rows_incomplete"].format(count=1) in text_of(grown)
    whole = filled(base)
    asked = await firm.send(service, NEW, **whole, step="continue")
    assert asked.status == 200, text_of(asked)
    assert "Can be approved ¥500,000.00" in text_of(asked)
    confirmed = fields_of(asked)
    size = len(await service.entries())
    answers = [await firm.send(service, NEW, **confirmed | {"step": "submit"}) for _ in range(2)]
    assert [each.headers.get("Location") for each in answers] == ["/en/claims/C1"] * 2
    assert len(await service.entries()) == size + 1
    own = await service.get("/en/claims/C1", **firm.headers)
    assert f'href="/en/entries/{size}"' in own.body.decode()
    assert 'href="/en/claims/C1/withdraw"' in own.body.decode()
    assert "/claims/C1/check" not in own.body.decode()


async def test_nobody_but_its_firm_and_the_authority_begins_a_claim(service):  # noqa: F811
    auditor = await sign_in(service, "auditor")
    listed = await service.get(f"/en/enterprises/{ALPHA}/claims", **auditor.headers)
    assert (listed.status, "claims/new" in listed.body.decode()) == (200, False)
    for path in (f"{NEW}?item=A&year=2025", f"{NEW.removesuffix('new')}payable?item=A&year=2025"):
        assert (await service.get(path, **auditor.headers)).code == "forbidden"


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_paper_s_field_says_what_it_takes_in_the_language_of_the_page(service, language):  # noqa: F811
    firm, said = await sign_in(service, "enterprise", ALPHA), words(language)
    path = NEW.replace("/en/", f"/{language}/")
    base = fields_of(await service.get(f"{path}?item=A&year=2025", **firm.headers))
    for field, text, word in (
        ("invoice-0-number", "12", "fault_invoice"),
        ("invoice-0-part", "5", "fault_money"),
        ("invoice-0-issued_on", "1.2.2025", "fault_date"),
        ("invoice-0-sha256", "", "fault_needed"),
        ("payment-0-reference", "流水", "fault_id"),
        ("id", "a b", "fault_id"),
        ("amount", "5", "fault_money"),
        ("delivery", "ab", "fault_sha256"),
    ):
        refused = await firm.send(service, path, **filled(base, **{field: text}), step="continue")
        assert refused.status == 400, field
        assert f'id="fault-{field}">{said[word]}<' in refused.body.decode(), field


async def act(visitor, service, name, claim="C1", **given):  # noqa: F811
    """Open an act's page, fill its form in, confirm it; returns the last answer."""
    path = f"/en/claims/{claim}/{name}"
    shown = await service.get(path, **visitor.headers)
    assert shown.status == 200, text_of(shown)
    fields = fields_of(shown) | given
    if "seal" not in fields:
        asked = await visitor.send(service, path, **fields, step="review")
        assert asked.status == 200, text_of(asked)
        fields = fields_of(asked)
    return await visitor.send(service, path, **fields | given, step="confirm")


async def test_two_persons_of_the_authority_bring_a_firm_s_claim_to_its_payment(database, tmp_path):
    async with claiming(database, tmp_path) as both:
        service = both.service
        firm = await sign_in(service, "enterprise", ALPHA)
        wang, li = await official(both, "wang"), await official(both, "li")
        await enter(service, firm)
        assert (await act(wang, service, "check", reason="seen")).status == 303
        refused = await act(wang, service, "approve", amount="400000.00")
        assert (refused.status, refused.code) == (403, "same_person")
        path = "/en/claims/C1/approve"
        form = fields_of(await service.get(path, **li.headers))
        assert form["amount"] == "500000.00"
        given = form | {"amount": "400000.00", "disallowed-0": "100000.00"}
        asked = await li.send(service, path, **given, step="review")
        assert "Approved ¥0.00 ¥400,000.00" in text_of(asked)
        assert "Invoiced (I) ↧ binds ¥900,000.00 50% ¥450,000.00" in text_of(asked)
        assert "Cash to pay ¥0.00 ¥400,000.00" in text_of(asked)
        confirmed = fields_of(asked) | {"step": "confirm"}
        size = len(await service.entries())
        for _ in range(2):
            done = await li.send(service, path, **confirmed)
            assert done.headers.get("Location") == "/en/claims/C1", text_of(done)
        assert len(await service.entries()) == size + 1
        assert (await act(wang, service, "notice", url=NOTICE_URL)).status == 303
        assert (await act(wang, service, "objection", sha256="ab" * 32)).status == 303
        early = await act(wang, service, "order")
        assert (early.status, early.code) == (409, "notice_running")
        service.clock.advance(8 * 86_400)
        wang, li, firm = [await again(service, each.id) for each in (wang, li, firm)]
        entry = len(await service.entries()) - 1
        page = await service.get("/en/claims/C1/resolve", **wang.headers)
        assert f"<option>{entry}</option>" in page.body.decode()
        resolved = {"objection": str(entry), "outcome": "dismissed", "reason": EVIL}
        assert (await act(wang, service, "resolve", **resolved)).status == 303
        assert (await act(li, service, "order")).code == "same_person"
        assert (await act(wang, service, "order")).status == 303
        paid = await act(wang, service, "payment", bank_reference="city-1")
        assert paid.status == 303
        for visitor, sees in ((wang, True), (firm, False)):
            page = await service.get("/en/claims/C1", **visitor.headers)
            assert EVIL.encode() not in page.body
            assert EVIL in text_of(page)
            assert ("wang" in text_of(page), " li " in text_of(page)) == (sees, sees)
            assert "paid" in text_of(page)
        assert [entry.kind for entry in await service.entries()][-8:] == [
            *("claim", "claim_check", "approval", "notice", "objection", "resolution", "order"),
            "payment",
        ]
        back = await act(wang, service, "payment-return", reason="a wrong account")
        assert re.fullmatch(r"/en/proposals/[0-9]+", back.headers["Location"])


async def test_a_confirmation_that_is_out_of_date_does_nothing_and_shows_the_figures_of_now(
    database, tmp_path
):
    async with claiming(database, tmp_path) as both:
        service = both.service
        await claim(both)
        li = await official(both, "li")
        fields = fields_of(await service.get("/en/claims/C1/check", **li.headers))
        await both.by_both("void", provider="pcl", id="r1", reason="never run")
        size = len(await service.entries())
        stale = await li.send(service, "/en/claims/C1/check", **fields, step="confirm")
        assert stale.status == 409
        assert W["stale"] in text_of(stale)
        assert "Granted (G) ↧ binds ¥0.00" in text_of(stale)
        assert len(await service.entries()) == size
        again = fields_of(stale) | {"step": "confirm"}
        assert (await li.send(service, "/en/claims/C1/check", **again)).status == 303
        wrong = await service.get("/en/claims/C1/order", **li.headers)
        assert W["step_impossible"].format(state="checked") in text_of(wrong)
        late = await li.send(service, "/en/claims/C1/order", step="confirm")
        assert late.status == 409


async def test_what_is_wrong_with_a_claim_stands_at_its_field_with_all_that_was_filled_in(service):  # noqa: F811
    firm = await sign_in(service, "enterprise", ALPHA)
    base = fields_of(await service.get(f"{NEW}?item=A&year=2025", **firm.headers))
    size = len(await service.entries())
    bad = filled(base, **{"invoice-0-number": "12", "invoice-0-sha256": EVIL})
    refused = await firm.send(service, NEW, **bad, step="continue")
    assert (refused.status, refused.code) == (400, "malformed")
    assert 'href="#field-invoice-0-number"' in refused.body.decode()
    assert EVIL.encode() not in refused.body
    assert fields_of(refused)["invoice-0-sha256"] == EVIL
    other = filled(base, **{"invoice-0-seller": BETA})
    asked = await firm.send(service, NEW, **other, step="continue")
    refused = await firm.send(service, NEW, **fields_of(asked), step="submit")
    assert (refused.status, refused.code) == (422, "invoice_party")
    assert fields_of(refused)["invoice-0-seller"] == BETA
    more = await firm.send(service, NEW, **filled(base), step="more-invoices")
    assert "invoice-3-number" in fields_of(more)
    nothing = await firm.send(service, NEW, item="Z", year="2025", step="recalculate")
    assert "not_found" in text_of(nothing)
    assert len(await service.entries()) == size


def many(base, count):
    """Return a form with so many invoices and payments."""
    (invoice,), (payment,) = PAPERS["invoices"], PAPERS["payments"]
    found = base | {"id": "C1", "delivery": PAPERS["delivery"]}
    for number in range(count):
        paper = invoice | {"number": f"{number:020}", "sha256": f"{number:064x}"}
        paid = payment | {"reference": f"FT2025-{number:08}"}
        rows = (("invoice", paper), ("payment", paid))
        own = {"amount": "10000.00", "part": "9999.99"}
        found |= {
            f"{kind}-{number}-{name}": own.get(name, text)
            for kind, row in rows
            for name, text in row.items()
        }
    return found


async def test_a_claim_of_a_hundred_papers_of_each_kind_is_filled_in_by_small_pages(service):  # noqa: F811
    firm = await sign_in(service, "enterprise", ALPHA)
    base = fields_of(await service.get(f"{NEW}?item=A&year=2025", **firm.headers))
    first = await firm.send(service, NEW, **many(base, 100), step="recalculate")
    assert first.status == 200, text_of(first)
    pages = [first]
    for step in ("invoices-40", "payments-80", "more-payments"):
        before = fields_of(pages[-1])
        pages.append(await firm.send(service, NEW, **before | {"step": step}))
    assert 'name="invoice-40-part" type="text" value="9999.99"' in pages[1].body.decode()
    assert 'name="payment-99-part" type="text" value="9999.99"' in pages[2].body.decode()
    assert 'value="more-payments"' not in pages[3].body.decode()
    # A row that is folded away is counted, and one that is wrong is shown.
    for answer in pages:
        assert "Invoiced (I) ↧ binds ¥999,999.00" in text_of(answer)
    wrong = fields_of(pages[3]) | {"invoice-40-issued_on": "soon"}
    away = await firm.send(service, NEW, **wrong | {"step": "invoices-0"})
    assert 'id="field-invoice-40-issued_on"' not in away.body.decode()
    shown = await firm.send(service, NEW, **fields_of(away) | {"step": "continue"})
    assert shown.status == 400
    assert '<a href="#field-invoice-40-issued_on">' in shown.body.decode()
    assert 'id="field-invoice-40-issued_on"' in shown.body.decode()
    right = fields_of(shown) | {"invoice-40-issued_on": PAPERS["invoices"][0]["issued_on"]}
    asked = await firm.send(service, NEW, **right | {"step": "continue"})
    assert asked.status == 200, text_of(asked)
    back = await firm.send(service, NEW, **fields_of(asked) | {"step": "change"})
    entered = await firm.send(service, NEW, **fields_of(asked) | {"step": "submit"})
    assert entered.status == 303, text_of(entered)
    held = (await service.get("/v1/claims/C1")).json
    assert [len(held[name]) for name in ("invoices", "payments")] == [100, 100]
    assert held["invoices"][99]["number"] == f"{99:020}"
    clerk = await sign_in(service, "authority")
    others = [
        await service.get(path, **clerk.headers)
        for path in ("/en/claims/C1", "/en/claims/C1/check", "/en/claims/C1/approve")
    ]
    for answer in (*pages, shown, asked, back, *others):
        check_size(answer)


async def test_claims_are_downloaded_beyond_one_page_in_order_and_with_their_states(
    service,  # noqa: F811
    monkeypatch,
):
    for number in range(5):
        body = {"id": f"C{number}", "item": "A", "year": 2025, **PAPERS}
        await service.ask("/v1/claims", **body)
        if number < 4:
            ended = {"outcome": "returned", "reason": EVIL}
            await service.ask(f"/v1/claims/C{number}/end", **ended)
    monkeypatch.setattr("meter.console.claims.EXPORTED", 2)
    monkeypatch.setattr("meter.console.reviews.EXPORTED", 2)
    firm, clerk = await sign_in(service, "enterprise", ALPHA), await sign_in(service, "authority")
    for visitor, path in (
        (firm, f"/en/enterprises/{ALPHA}/claims.csv"),
        (clerk, "/en/claims.csv"),
    ):
        answer = await service.get(path, **visitor.headers)
        text = answer.body.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row[W["claim"]] for row in rows] == ["C0", "C1", "C2", "C3", "C4"]
        states = [row[W["claim_state"]] for row in rows]
        assert states == [W["state_ended"]] * 4 + [W["state_entered"]]
    monkeypatch.setattr("meter.console.reviews.LISTED", 3)
    path, seen = "/en/claims?state=ended", []
    while path:
        text = (await service.get(path, **clerk.headers)).body.decode()
        seen += re.findall(r'href="/en/claims/(C\d)"', text)
        path = unescape(
            "".join(re.findall(r'href="([^"]*after=[^"]*)"', text.partition("<main")[2]))
        )
    assert seen == ["C0", "C1", "C2", "C3"]
    chosen = await service.get("/en/claims.csv?state=ended", **clerk.headers)
    assert len(chosen.body.decode().splitlines()) == 5
