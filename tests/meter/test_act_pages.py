"""The authority's acts as forms over HTTP, and the lists of what is registered."""

import csv
import io
import re
from html import unescape

import pytest

from meter.api import examples, post
from meter.api.routes import path_names
from meter.console.act_forms import ACTS, body_of, values_of
from meter.console.formats import money
from meter.console.words import words
from meter.rules.month_book import month_of
from meter.rules.two_persons import PROPOSABLE
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, record, uscc_of
from tests.meter.test_authority_pages import fields_of, official
from tests.meter.test_console_pages import EVIL, Elements
from tests.meter.test_proposals import city
from tests.papers import DAY
from tests.people import sign_in
from tests.services import HOUR, contract_body, coupon_body, enterprise_body, key_body, serving

W = words("en")
ISSUE = {"programme": PROGRAMME, "enterprise": ALPHA, "year": "2025", "amount": "50.00"}


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="100.00")
        yield service


def text_of(answer):
    return " ".join(Elements(answer.body.decode()).text)


async def confirmation(service, visitor, act, **values):
    """Fill an act's form in; return its confirmation, and the fields that this would send."""
    answer = await visitor.send(service, f"/en/acts/{act}", **values)
    assert answer.status == 200, answer.body
    return answer, fields_of(answer)


async def test_an_issue_is_confirmed_by_the_figures_of_the_api(service):
    clerk = await sign_in(service, "authority")
    shown = await service.get(f"/en/acts/issue?enterprise={ALPHA}&year=2025", **clerk.headers)
    assert f'name="enterprise" value="{ALPHA}"' in shown.body.decode()
    assert f'<option value="{ALPHA}">深圳某某科技有限公司</option>' in shown.body.decode()
    size = len(await service.entries())
    answer, fields = await confirmation(service, clerk, "issue", **ISSUE, reason=EVIL)
    assert len(await service.entries()) == size
    body = {"command": "issue", "body": coupon_body(2025, "50.00")}
    told = (await service.post("/v1/previews", body, None)).json["figures"]
    texts = Elements(answer.body.decode()).text
    for each in told:
        changes = each["before"] != each["after"]
        assert (W[f"figure_{each['name']}"] in texts) == changes
        if changes:
            place = texts.index(W[f"figure_{each['name']}"])
            row = [f"{each['of']} {each['year']}", money(each["before"]), money(each["after"])]
            assert texts[place + 1 : place + 4] == row
    assert EVIL in texts
    assert W["act_one_person"] in texts
    done = await clerk.send(service, "/en/acts/issue", **fields)
    assert (done.status, done.headers["Location"]) == (303, f"/en/entries/{size}")
    entry = (await service.entries())[-1]
    assert (entry.kind, entry.amount, entry.reason, entry.by) == ("issue", 5_000, EVIL, clerk.id)


async def test_a_double_click_books_once_and_both_lead_to_the_entry(service):
    clerk = await sign_in(service, "authority")
    firm = {"uscc": BETA, "name": "乙", "kind": "enterprise", "founded_on": "2020-01-01"}
    for act, values in (("issue", ISSUE), ("enterprise", firm), ("freeze", {"contract": "A"})):
        _, fields = await confirmation(service, clerk, act, **values)
        size = len(await service.entries())
        for _ in range(2):
            done = await clerk.send(service, f"/en/acts/{act}", **fields)
            assert (done.status, done.headers["Location"]) == (303, f"/en/entries/{size}"), act
        assert len(await service.entries()) == size + 1


async def test_a_confirmation_whose_figures_have_changed_does_nothing(service):
    clerk = await sign_in(service, "authority")
    _, fields = await confirmation(service, clerk, "issue", **ISSUE)
    await service.issue(2025, "7.00")
    size = len(await service.entries())
    stale = await clerk.send(service, "/en/acts/issue", **fields)
    assert (stale.status, W["stale"] in text_of(stale)) == (409, True)
    assert {"¥107.00", "¥157.00"} <= set(Elements(stale.body.decode()).text)
    assert len(await service.entries()) == size
    again = fields_of(stale)
    for other in ({"amount": "60.00"}, {"reason": "another"}):  # not what was shown
        assert (await clerk.send(service, "/en/acts/issue", **again | other)).status == 409
    assert (again["key"], again["seal"] == fields["seal"]) == (fields["key"], False)
    assert (await clerk.send(service, "/en/acts/issue", **again)).status == 303
    assert len(await service.entries()) == size + 1


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_bad_input_is_shown_at_its_field_with_all_values(service, language):
    clerk, said = await sign_in(service, "authority"), words(language)
    amounts = (("5", "fault_money"), ("", "fault_needed"), ("10000000.00", "refusal_cap_exceeded"))
    cases = [("issue", "amount", amount, word, ISSUE) for amount, word in amounts]
    cases += [
        ("issue", "enterprise", BETA, "refusal_unknown_enterprise", ISSUE),
        ("issue", "enterprise", "x<b>", "fault_uscc", ISSUE),
        ("issue", "year", "2025a", "fault_number", ISSUE),
        ("issue", "year", "2035", "refusal_unknown_year", ISSUE),
        ("withdrawal", "amount", "50.00", "refusal_below_granted", ISSUE),
        ("freeze", "contract", "none", "refusal_unknown_contract", {}),
        ("unfreeze", "contract", "A", "refusal_not_frozen", {}),
        ("contract", "prices", "ascend-910b", "fault_prices", form_of("C")),
        ("contract", "prices", "ascend-910b x", "fault_prices", form_of("C")),
        ("contract", "use", "fun", "fault_choice", form_of("C")),
        ("contract", "from", "1.2.2025", "fault_date", form_of("C")),
        ("contract", "id", "A", "refusal_exists_differently", form_of("C")),
        ("contract", "contract_no", "HT-A", "refusal_contract_known", form_of("C")),
        ("enlistment", "enlisted.from", "x", "fault_date", ENLISTED),
        ("enlistment", "devices", "ascend-910b 1.5", "fault_devices", ENLISTED),
        ("late_window", "open_until", "", "fault_needed", {"contract": "A"}),
    ]
    await service.usage([record("r1", "A", *HOUR, 64_000)])
    size = len(await service.entries())
    for act, name, value, word, rest in cases:
        values = dict(rest) | {name: value}
        answer = await clerk.send(service, f"/{language}/acts/{act}", **values)
        page = answer.body.decode()
        where = (act, name, value)
        assert answer.status == 400, where
        found = Elements(page)
        (fault,) = re.findall(rf'id="fault-{name}">([^<]*)<', page) or [page]
        assert unescape(fault).startswith(said[word]), where
        assert f'<a href="#field-{name}">' in page, where
        assert 'role="alert" tabindex="-1" autofocus' in page
        for field, held in values.items():
            kept = [
                each
                for tag, each in found.found
                if each.get("name") == field or (tag == "option" and each.get("value") == held)
            ]
            assert kept, (where, field)
    assert len(await service.entries()) == size


ENLISTED = {
    "provider": "pcl",
    "devices": "ascend-910b 5",
    "enlisted.batch": "2025-2",
    "enlisted.from": "2025-06-01",
    "enlisted.until": "2026-01-01",
}


def form_of(name, **changes):
    """Return a contract as its form has it."""
    body = contract_body(name) | {"max_devices": {DEVICE: 8}} | changes
    names = {"starts": "from", "ends": "until"}
    body = {names.get(each, each): value for each, value in body.items()}
    return values_of(ACTS["contract"], body)


AWARD = {
    "id": "AW",
    "programme": "adaptation",
    "enterprise": ALPHA,
    "project": "P",
    "year": "2025",
    "base": "4000000.00",
    "amount": "1.00",
    "document": "评审",
}
FORMS = [
    ("release", {"provider": "pcl", "id": "over", "reason": "seen"}),
    ("dispute", {"contract": "A", "provider": "pcl", "id": "r1", "reason": "asked by letter"}),
    ("dispute_dismissal", {"provider": "pcl", "id": "r1", "reason": "it ran"}),
    ("void", {"provider": "pcl", "id": "r1", "reason": "found"}),
    ("policy", {"programme": "adaptation", "version": "2024-12"}),
    ("budget", {"programme": "adaptation", "year": "2025", "amount": "90.00", "document": "12号"}),
    ("project", {"id": "P", "title": "适配", "audited_investment": "5000000.00"}),
    ("project_audit", {"project": "P", "amount": "4000000.00", "document": "审计"}),
    (
        "project_funds",
        {
            "project": "P",
            "reference": "7号",
            "level": "district",
            "amount": "0.50",
            "document": "通知",
        },
    ),
    ("award", AWARD),
    ("award_change", {"award": "AW", "amount": "0.50", "reason": "review"}),
    ("withdrawal", ISSUE | {"amount": "1.00"}),
    ("budget", {"programme": PROGRAMME, "year": "2025", "amount": "9000.00", "document": "12号"}),
    ("enterprise", values_of(ACTS["enterprise"], enterprise_body(BETA) | {"kind": "enterprise"})),
    (
        "enterprise_amendment",
        {"uscc": ALPHA, "name": "新名", "document": "登记", "reason": "renamed"},
    ),
    (
        "provider",
        {
            "id": "qcl",
            "uscc": uscc_of(8),
            "name": "二",
            "devices": "h800 16\nascend-910b 8",
            "enlisted.batch": "1",
            "enlisted.from": "2025-01-01",
            "enlisted.until": "2026-01-01",
        },
    ),
    ("enlistment", ENLISTED),
    ("revocation", {"keyid": "pcl-1", "suspected_since": "2025-02-01T00:00:00+08:00"}),
    ("provider_amendment", {"provider": "pcl", "name": "改名", "document": "x", "reason": "y"}),
    ("contract", form_of("C")),
    (
        "contract",
        form_of("C", prices={DEVICE: {"amount": "3000.00", "per": "month"}}, related_party=True),
    ),
    (
        "amendment",
        {
            "contract": "A",
            "mode": "supplement",
            "effective": "2025-04-01",
            "signed_on": "2025-02-01",
            "prices": "ascend-910b 4.00",
            "document": "补",
            "reason": "new price",
        },
    ),
    ("freeze", {"contract": "A", "reason": "asked"}),
    (
        "late_window",
        {
            "contract": "A",
            "from": "2025-01-01",
            "until": "2025-02-01",
            "open_until": "2025-04-01",
            "reason": "an outage",
        },
    ),
    (
        "contract_funds",
        {
            "contract": "A",
            "reference": "7号",
            "level": "district",
            "amount": "100.00",
            "document": "通知",
        },
    ),
    (
        "succession",
        {
            "uscc": ALPHA,
            "successor": BETA,
            "effective": "2025-02-01",
            "document": "工商",
            "reason": "merged",
        },
    ),
]


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_each_form_makes_its_entry(service, language):
    """The entry holds what was filled in, also after a confirmation that went back."""
    clerk = await sign_in(service, "authority")
    listed = await service.get(f"/{language}/acts", **clerk.headers)
    for act in ACTS:
        assert f'href="/{language}/acts/{act}"' in listed.body.decode()
        assert (await service.get(f"/{language}/acts/{act}", **clerk.headers)).status == 200
    used = set()
    await service.ask("/v1/contracts", **contract_body("B", max_devices={DEVICE: 8}))
    await service.usage([record("r1", "A", *HOUR, 64_000), record("over", "B", *HOUR, 16_000)])
    for act, given in FORMS:
        path = f"/{language}/acts/{act}"
        is_second = act == "contract" and "contract" in used
        values = given | ({"id": "D", "contract_no": "HT-D"} if is_second else {})
        used.add(act)
        shown = await clerk.send(service, path, **values)
        fields = fields_of(shown)
        assert shown.status == 200, (act, text_of(shown))
        back = await clerk.send(service, path, **fields, act="change")
        assert back.status == 200
        for value in filter(None, values.values()):
            assert all(line in unescape(back.body.decode()) for line in value.split("\n")), act
        size = len(await service.entries())
        done = await clerk.send(service, path, **fields)
        assert done.headers.get("Location") == f"/{language}/entries/{size}", (act, done.body)
        entry = (await service.entries())[-1]
        assert entry.kind == act
        body, faults = body_of(ACTS[act], values)
        assert faults == {}
        entry_of = (await service.get(f"/v1/entries/{size}")).json["entry"]
        for name in set(body) & {"contract", "enterprise", "uscc", "id", "reason", "document"}:
            assert entry_of[name] == body[name], (act, name)


async def test_a_month_is_closed_with_a_waiver_and_confirmed_by_forms(service):
    path = "/en/acts/month_closing"
    await service.usage([record("r1", "A", *HOUR, 64_000)], seq=2)
    month, service.clock.now = month_of(service.clock.now), service.clock.now + 40 * DAY
    clerk = await sign_in(service, "authority")
    gaps = await clerk.send(service, path, month=month)
    assert gaps.status == 400
    assert 'id="fault-waiver.person"' in gaps.body.decode()
    waived = {"month": month, "waiver.person": "authority", "waiver.reason": "nothing ran"}
    _, fields = await confirmation(service, clerk, "month_closing", **waived)
    number = len(await service.entries())
    done = await clerk.send(service, path, **fields)
    assert done.headers["Location"] == f"/en/entries/{number}"
    closed, listed = (await service.entries())[-2:]
    assert (closed.kind, closed.waiver.reason, listed.closing) == (
        *("month_closing", "nothing ran"),
        number,
    )
    values = {"month": month, "enterprise": ALPHA}
    _, fields = await confirmation(service, clerk, "month_confirmation", **values)
    assert (await clerk.send(service, "/en/acts/month_confirmation", **fields)).status == 303
    assert (await service.entries())[-1].kind == "month_confirmation"


async def test_a_key_is_registered_with_its_proof(service):
    clerk = await sign_in(service, "authority")
    body = key_body("pcl-2")
    values = {"provider": "pcl"} | {n: body[n] for n in ("keyid", "public_key", "proof")}
    answer, fields = await confirmation(service, clerk, "key", **values)
    place = (texts := Elements(answer.body.decode()).text).index(W["figure_keys"])
    assert texts[place + 1 : place + 4] == ["pcl", "1", "2"]
    assert (await clerk.send(service, "/en/acts/key", **fields)).status == 303
    bad = values | {"keyid": "pcl-4", "public_key": key_body("pcl-3")["public_key"]}
    answer = await clerk.send(service, "/en/acts/key", **bad)
    assert answer.status == 400
    assert W["refusal_bad_proof"] in text_of(answer)


async def test_what_exists_has_no_button(service):
    clerk = await sign_in(service, "authority")
    body = enterprise_body() | {"kind": "enterprise"}
    answer, _ = await confirmation(
        service, clerk, "enterprise", **values_of(ACTS["enterprise"], body)
    )
    assert W["act_exists"] in text_of(answer)
    assert W["act_give"] not in text_of(answer)


@pytest.mark.parametrize("name", ACTS)
def test_a_form_has_the_fields_of_its_documented_command(name):
    """The example of the API, URL and all, goes through the form and comes out as it was."""
    command = PROPOSABLE[name].command
    (route,) = (each for each in post.ROUTES if each.body is command)
    url = {each: examples.PATHS[each][1] for each in path_names(route)}
    example = examples.BODIES[command] | url
    held = values_of(ACTS[name], example)
    assert body_of(ACTS[name], held) == (example, {})
    fields = {field.name.partition(".")[0] for field in ACTS[name].fields} | {*ACTS[name].fixed}
    assert fields == set(command.__struct_encode_fields__)


def test_what_a_form_holds_and_a_body_are_inverse():
    for act, values in FORMS:
        body, faults = body_of(ACTS[act], values)
        assert faults == {}
        assert values_of(ACTS[act], body) == {name: text for name, text in values.items() if text}


async def test_acts_are_the_authority_s_alone_and_unknown_ones_are_not_there(service):
    clerk, auditor = await sign_in(service, "authority"), await sign_in(service, "auditor")
    assert (await service.get("/en/acts/none", **clerk.headers)).status == 404
    for path in ("/en/acts", "/en/acts/issue"):
        assert (await service.get(path, **auditor.headers)).status == 403
    lists = await service.get("/en/contracts", **auditor.headers)
    assert "/acts" not in lists.body.decode()


async def test_two_persons_see_who_proposed_and_the_figures_of_now(database, tmp_path):
    async with city(database, tmp_path) as both:
        service = both.service
        await both.open_books()
        wang, li = await official(both, "wang"), await official(both, "li")
        _, fields = await confirmation(service, wang, "issue", **ISSUE, reason="decision 12")
        size = len(await service.entries())
        for _ in range(2):
            proposed = await wang.send(service, "/en/acts/issue", **fields)
            assert proposed.headers["Location"] == f"/en/proposals/{size}"
        assert len(await service.entries()) == size + 1
        path = f"/en/proposals/{size}"
        own = await service.get(path, **wang.headers)
        same = await wang.send(service, path, **fields_of(own), act="confirm")
        assert (same.status, same.code) == (403, "same_person")
        assert W["refusal_same_person"] in text_of(same)
        page = await service.get(path, **li.headers)
        texts = Elements(page.body.decode()).text
        assert {"wang", "decision 12", W["figure_issued"]} <= set(texts)
        auditor = await sign_in(service, "auditor")
        seen = await service.get(path, **auditor.headers)
        assert W["figure_issued"] in text_of(seen)
        assert W["act_confirm"] not in text_of(seen)
        await both.by_both("issue", **coupon_body(2025, "7.00"))
        size = len(await service.entries())
        stale = await li.send(service, path, **fields_of(page), act="confirm")
        assert (stale.status, W["stale"] in text_of(stale)) == (409, True)
        assert len(await service.entries()) == size
        for _ in range(2):
            done = await li.send(service, path, **fields_of(stale), act="confirm")
            assert (done.status, done.headers["Location"]) == (303, f"/en/entries/{size}")
        entries = await service.entries()
        assert len(entries) == size + 1
        assert (entries[-1].kind, entries[-1].amount, entries[-1].person) == ("issue", 5_000, "li")


async def test_a_proposal_that_would_be_refused_now_says_so(database, tmp_path):
    async with city(database, tmp_path) as both:
        service = both.service
        await both.open_books()
        number = await both.propose("issue", **coupon_body(2025, "10000000.01"))
        li = await official(both, "li")
        page = await service.get(f"/en/proposals/{number}", **li.headers)
        assert W["proposal_refused"] in text_of(page)
        assert "cap_exceeded" in text_of(page)
        size = len(await service.entries())
        path = f"/en/proposals/{number}"
        refused = await li.send(service, path, **fields_of(page), act="confirm")
        assert (refused.status, refused.code) == (422, "cap_exceeded")
        assert len(await service.entries()) == size


# Lists


async def test_proposals_are_listed_by_their_status(database, tmp_path):
    async with city(database, tmp_path) as both:
        service = both.service
        await both.open_books()
        open_one = await both.propose("freeze", contract="A", reason=EVIL)
        li = await official(both, "li")
        entries = await service.entries()
        closed = [each.proposal for each in entries if getattr(each, "proposal", None)]
        for status, wanted in (("open", [open_one]), ("ended", []), ("confirmed", closed)):
            found = await service.get(f"/en/proposals?status={status}", **li.headers)
            page = found.body.decode()
            assert found.status == 200, page
            numbers = re.findall(r'href="/en/proposals/(\d+)"', page)
            assert [int(each) for each in numbers] == wanted
            assert (W["no_proposals_of"] in page) == (not wanted)
        page = await service.get("/zh/proposals?limit=2", **li.headers)
        (rest,) = re.findall(r'href="([^"]*after=[^"]*)"', page.body.decode())
        second = await service.get(unescape(rest), **li.headers)
        assert f"/zh/proposals/{closed[2]}" in second.body.decode()
        overview = Elements((await service.get("/en/authority", **li.headers)).body.decode())
        assert any(each.get("href") == f"/en/proposals/{open_one}" for _, each in overview.found)
        assert any(each.get("href") == "/en/proposals" for _, each in overview.found)


async def test_lists_show_what_is_registered_find_it_and_are_downloaded(service):
    await service.ask("/v1/enterprises", **enterprise_body(BETA, name="=乙,<b>"))
    await service.ask("/v1/contracts", **contract_body("B-2"))
    auditor = await sign_in(service, "auditor")
    for name, wanted, sought in (
        ("enterprises", {ALPHA, BETA, "=乙,<b>"}, (BETA, BETA)),
        ("contracts", {"A", "B-2"}, ("b-", "B-2")),
        ("providers", {"pcl", "pcl-1", "鹏城实验室"}, ("鹏城", "pcl")),
    ):
        shown = Elements((await service.get(f"/zh/{name}", **auditor.headers)).body.decode())
        assert wanted <= set(" ".join(shown.text).split()) | set(shown.text), name
        q, only = sought
        answer = await service.get(f"/zh/{name}.csv?q={q}", **auditor.headers)
        head, *rows = csv.reader(io.StringIO(answer.body.decode("utf-8-sig")))
        assert [row[0] for row in rows] == [only]
        assert len(head) == len(rows[0])
        nothing = await service.get(f"/en/{name}?q=zzz", **auditor.headers)
        assert W["nothing_sought"] in text_of(nothing)
    answer = await service.get(f"/zh/enterprises.csv?q={BETA}", **auditor.headers)
    assert "'=乙,<b>" in answer.body.decode("utf-8-sig")
    policies = text_of(await service.get("/en/policies", **auditor.headers))
    (held,) = (await service.get("/v1/policies")).json["policies"]
    assert {money(held["cap"]), money(held["pool"])} <= set(policies.split())
    assert held["content"].splitlines()[-1] in policies


async def test_a_list_is_turned_over_with_what_is_sought(service):
    for number in range(3):
        await service.ask("/v1/contracts", **contract_body(f"B-{number}"))
    auditor = await sign_in(service, "auditor")
    seen = []
    path = "/en/contracts?q=B-&limit=2"
    first = (await service.get(path, **auditor.headers)).body.decode()
    seen += re.findall(r"records\?contract=([\w-]+)", first)
    (rest,) = re.findall(r'href="([^"]*after=[^"]*)"', first)
    second = (await service.get(unescape(rest), **auditor.headers)).body.decode()
    seen += re.findall(r"records\?contract=([\w-]+)", second)
    assert seen == ["B-0", "B-1", "B-2"]
    assert "after=" not in second
