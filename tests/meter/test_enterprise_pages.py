"""An enterprise's pages over HTTP: they show what the API answers, to whom it concerns."""

import csv
import gzip
import html
import io
import random
import re
from decimal import Decimal

import pytest

from meter.api.day_responses import CouponDay, CouponDays, ForecastView
from meter.console import enterprise, enterprise_view, export, formats, page
from meter.console.csv_file import csv_file
from meter.console.formats import LANGUAGES, money
from meter.console.words import spoken, words
from meter.values.problems import Problem
from meter.values.units import format_hours
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, record, void
from tests.browser.firm import EVIL, H800, NOW, hours, open_firm
from tests.meter.test_console_pages import Elements
from tests.people import sign_in
from tests.services import contract_body, enterprise_body, serving

BASE = f"/zh/enterprises/{ALPHA}"
TABS = ("", "/usage", "/records", "/contracts", "/refused")
MONEY = re.compile(r"−?¥[0-9,]+\.[0-9]{2}")


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now="2025-06-01T00:00:00+08:00") as service:
        await open_firm(service, days=16)
        yield service


@pytest.fixture
async def short(database, tmp_path):
    """The coupon is not enough, so what is granted differs from what is entitled."""
    async with serving(database, tmp_path, now="2025-06-01T00:00:00+08:00") as service:
        await open_firm(service, days=16, issued="20000.00")
        yield service


async def shown(service, visitor, path, status=200):
    answer = await service.get(path, **visitor.headers)
    assert answer.status == status, answer.body
    return answer, Elements(answer.body.decode())


async def api(service, path):
    answer = await service.get(f"/v1/enterprises/{ALPHA}/{path}")
    assert answer.status == 200, answer.body
    return answer.json


def sums(found):
    """Return all amounts of money in an answer of the API, as pages write them."""
    if isinstance(found, dict):
        return set().union(*map(sums, found.values()))
    if isinstance(found, list):
        return set().union(*map(sums, found))
    is_money = isinstance(found, str) and re.fullmatch(r"-?[0-9]+\.[0-9]{2}", found)
    return {money(found)} if is_money else set()


def money_in(found):
    return set(MONEY.findall("\n".join(found.text)))


COUPON = f"programme={PROGRAMME}&year=2025"
ASKED = {
    "": [
        *(f"{each}?{COUPON}" for each in ("balance", "forecast", "coupon-days")),
        *("contracts", "days?year=2025", "records?order=newest"),
    ],
    "/usage": ["days?year=2025"],
    "/usage?by=month": ["days?year=2025&by=month"],
    "/usage?by=contract": ["days?year=2025"],
    "/records": ["records?order=newest"],
    "/contracts": ["contracts"],
    "/refused": ["refused"],
}


async def check_sums(service, firm, language):
    """Check that a page has no sum but the API's, and these where their names stand."""
    base, w = f"/{language}/enterprises/{ALPHA}", spoken(language)
    for path, asked in ASKED.items():
        _, found = await shown(service, firm, base + path)
        answered = set().union(*[sums(await api(service, each)) for each in asked])
        assert money_in(found) <= answered, (path, money_in(found) - answered)
        assert money_in(found)
    _, found = await shown(service, firm, base)
    balance = await api(service, f"balance?{COUPON}")
    for name in ("remaining", "granted", "issued", "uncovered", "withheld"):
        assert has_run(found, [getattr(w, name), money(balance[name])]), name
    for contract in (await api(service, "contracts"))["contracts"]:
        run = [money(contract[name]) for name in ("amount", "granted", "uncovered", "withheld")]
        assert has_run(found, run), contract
    for line in (await api(service, "records?order=newest&limit=8"))["records"]:
        assert has_run(found, [money(line["cost"]), money(line["granted"])]), line
        assert f"#{line['entry']}" in found.text
    for path in ("/usage", "/usage?by=week"):
        _, found = await shown(service, firm, base + path)
        days = await api(service, f"days?year=2025{path[6:].replace('?', '&')}")
        for day in days["days"] + days["contracts"]:
            hours_used = formats.number(day["device_hours"])
            run = [day["contract"], hours_used, money(day["cost"]), money(day["entitled"])]
            assert has_run(found, run), day


def has_run(found, run):
    """Return whether texts follow each other somewhere on a page."""
    starts = (place for place, text in enumerate(found.text) if text == run[0])
    return any(found.text[place : place + len(run)] == run for place in starts)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_sum_of_a_page_is_the_api_s_where_its_name_stands(short, language):
    assert (await api(short, f"balance?{COUPON}"))["uncovered"] != "0.00"
    await check_sums(short, await sign_in(short, "enterprise", ALPHA), language)


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_sums_are_the_api_s_whatever_happened(service, seed):
    """Records, voids, amendments, other public money, a release and a freeze in random order."""
    firm, draw = await sign_in(service, "enterprise", ALPHA), random.Random(seed)
    taken = []
    for step in range(12):
        contract = draw.choice(["TC-2025-0101", "TC-2025-0102", "TC-2025-0103"])
        match draw.choice(["record", "record", "void", "amend", "fund", "freeze"]):
            case "record":
                day = f"2025-08-{draw.randint(1, 20):02}"
                times = hours(day, *sorted(draw.sample(range(24), 2)))
                cards = draw.randint(1, 200_000)
                answer = await service.usage(
                    [record(f"w{step}", contract, *times, cards)], seq=200 + step
                )
                taken += [r["id"] for r in answer.json["results"] if r["status"] == "accepted"]
            case "void" if taken:
                await service.usage([], [void(taken.pop())], seq=200 + step)
            case "amend":
                prices = {DEVICE: f"{draw.randint(300, 600) / 100:.2f}"}
                terms = {"mode": "supplement", "signed_on": "2025-08-01", "document": "补充协议"}
                terms |= {"effective": f"2025-08-{draw.randint(2, 20):02}", "reason": "价格调整"}
                await service.ask(f"/v1/contracts/{contract}/amend", **terms, prices=prices)
            case "fund":
                await service.fund_contract(contract, f"{draw.randint(1, 90_000)}.00", f"{step}号")
            case "freeze":
                await service.ask(f"/v1/contracts/{contract}/freeze", reason="核查")
                await service.ask(f"/v1/contracts/{contract}/unfreeze", reason="核查完毕")
    await check_others(service)
    await service.ask("/v1/records/release", provider="pcl", id="beyond", reason="核实")
    await check_sums(service, firm, "zh")
    await check_others(service)


# By role and page: the API's routes that have its money.
OTHERS = {
    ("provider", "pcl"): {
        "/en/providers/pcl/withheld": ["/v1/providers/pcl/withheld"],
        "/en/providers/pcl/contracts": ["/v1/providers/pcl/contracts"],
        "/en/providers/pcl/refused": ["/v1/providers/pcl/rejected"],
    },
    ("authority", ""): {
        "/en/authority": [
            *("/v1/withheld", "/v1/pools", "/v1/coupons", "/v1/claims"),
            f"/v1/pool-forecast?{COUPON}",
        ],
    },
    ("auditor", ""): {"/en/log": []},
}


async def check_others(service):
    """Check that no page of the other roles has a sum but the API's."""
    seen = set()
    for (role, subject), paths in OTHERS.items():
        visitor = await sign_in(service, role, subject)
        for path, asked in paths.items():
            _, found = await shown(service, visitor, path)
            answers = [(await service.get(each)).json for each in asked]
            answered = set().union(*map(sums, answers))
            assert money_in(found) <= answered, (path, money_in(found) - answered)
            seen |= money_in(found)
    assert len(seen) > 5


async def test_a_figure_follows_the_ledger(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    _, before = await shown(service, firm, BASE)
    await service.usage([record("more", "TC-2025-0103", *hours(NOW, 0, 1), 8_000)], seq=99)
    _, after = await shown(service, firm, BASE)
    balance = await api(service, f"balance?programme={PROGRAMME}&year=2025")
    assert money(balance["remaining"]) in after.text
    assert money(balance["remaining"]) not in before.text
    entries = formats.number(str(balance["as_of"]["entries"]))
    assert any(entries in text and "截至" in text for text in after.text)


async def test_each_record_leads_to_its_calculation(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    _, found = await shown(service, firm, f"{BASE}/records?status=withheld")
    (link,) = [each["href"] for _, each in found.found if "/records/" in (each.get("href") or "")]
    _, page = await shown(service, firm, link)
    text = " ".join(page.text)
    assert "250 台设备 × 4 小时 × ¥4.50/卡时 = ¥4,500.00" in text
    assert "(¥4,500.00 − 待审核 ¥2,196.00) × 补贴比例 50%：应享补贴 ¥1,152.00" in text
    assert words("zh")["evidence"] in page.text
    _, page = await shown(service, firm, link.replace("/zh/", "/en/"))
    assert "250 devices × 4 h × ¥4.50 per device-hour = ¥4,500.00" in " ".join(page.text)
    number = link.rpartition("/")[2]
    (entry,) = [
        each["href"] for _, each in page.found if f"{ALPHA}/entries/" in (each.get("href") or "")
    ]
    answer = await service.get(entry, **firm.headers)
    assert answer.body == (await service.get(f"/v1/entries/{number}/bytes")).body
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{number}.entry"'


async def test_usage_of_a_year_is_shown_by_device_and_by_contract(service):
    firm, w = await sign_in(service, "enterprise", ALPHA), spoken("zh")
    usage = (await api(service, "usage?from=2025-01-01&until=2026-01-01&limit=1000"))["usage"]
    total = (await api(service, "usage?from=2025-01-01&until=2026-01-01&limit=1000"))["total"]
    devices = {each["device"] for each in usage}
    assert devices == {DEVICE, H800}
    _, found = await shown(service, firm, f"{BASE}/usage?by=device")
    for device in devices:
        own = [int(each["milli_device_seconds"]) for each in usage if each["device"] == device]
        used = formats.number(format_hours(sum(own)))
        assert has_run(found, [device, used, str(len(own))])
    answer = await service.get(f"{BASE}/usage.csv?by=device", **firm.headers)
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert sum(Decimal(each[w.device_hours]) for each in rows) == Decimal(total["device_hours"])
    totals = (await api(service, "days?year=2025"))["contracts"]
    assert len(totals) == 3
    _, found = await shown(service, firm, f"{BASE}/usage?by=contract")
    for each in totals:
        used = formats.number(each["device_hours"])
        assert has_run(
            found, [each["contract"], used, money(each["cost"]), money(each["entitled"])]
        )
    answer = await service.get(f"{BASE}/usage.csv?by=contract", **firm.headers)
    rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
    assert [(each[w.contract], each[w.cost]) for each in rows] == [
        (each["contract"], each["cost"]) for each in totals
    ]


async def test_a_record_s_page_says_who_signed_it_and_what_bound_it(short):
    """An official is led to the batch's files; to a firm they are another's too."""
    firm, auditor = await sign_in(short, "enterprise", ALPHA), await sign_in(short, "auditor")
    w, lines = words("en"), (await api(short, "records?order=newest"))["records"]
    bound = next(x for x in lines if x["line"] == "record" and x["granted"] != x["entitled"])
    base = f"/en/enterprises/{ALPHA}/records"
    _, found = await shown(short, firm, f"{base}/{bound['entry']}")
    told = (await api(short, f"records/{bound['entry']}"))["signed"]
    assert {told["keyid"], told["receipt_keyid"], w["envelope_whose"]} <= set(found.text)
    assert {w["short_by_coupon"], w["limit_coupon"]} <= set(found.text)
    assert not any("/batches/" in (each.get("href") or "") for _, each in found.found)
    _, found = await shown(short, auditor, f"{base}/{bound['entry']}")
    links = [each["href"] for _, each in found.found if "/batches/" in (each.get("href") or "")]
    assert links == [f"/en/batches/{told['batch']}/{file}" for file in ("envelope", "receipt")]
    for link in links:
        assert (await short.get(link, **auditor.headers)).status == 200
        assert (await short.get(link, **firm.headers)).status == 403
    times = hours(NOW, 5, 6)
    terms = contract_body("small", amount="10.00")
    await short.ask("/v1/contracts", **terms)
    answer = await short.usage([record("too-much", "small", *times, 4_000)], seq=120)
    entry = answer.json["results"][0]["entry"]
    _, found = await shown(short, firm, f"{base}/{entry}")
    detail = await api(short, f"records/{entry}")
    limit = w["short_by_limit"].format(share=money(detail["share"]), short=money(detail["short"]))
    assert limit in found.text
    await short.ask("/v1/records/void", provider="pcl", id="beyond", reason="核实")
    void_line = (await api(short, "records?order=newest&limit=1"))["records"][0]
    _, found = await shown(short, firm, f"{base}/{void_line['entry']}")
    assert w["signed_by_authority"] in found.text


async def test_a_list_goes_on_page_by_page_to_its_end(service, monkeypatch):
    monkeypatch.setattr(enterprise, "LISTED", 7)
    firm = await sign_in(service, "enterprise", ALPHA)
    found, path = [], f"{BASE}/records?contract=TC-2025-0101"
    while path:
        _, page = await shown(service, firm, path)
        found += re.findall(r"#(\d+)", " ".join(page.text))
        links = [each.get("href") or "" for _, each in page.found]
        assert not any("/en/" in link and "after=" in link for link in links)
        path = next((link for link in links if "after=" in link and "next=" not in link), "")
    records = (await api(service, "records?order=newest&contract=TC-2025-0101"))["records"]
    assert found == [str(each["entry"]) for each in records]
    assert len(found) > 14


async def test_days_and_contracts_go_on_page_by_page_and_a_chart_has_eight(service, monkeypatch):
    monkeypatch.setattr(enterprise, "USAGE_LINES", 7)
    firm, w = await sign_in(service, "enterprise", ALPHA), spoken("zh")
    path, dates, count = f"{BASE}/usage?by=day", [], 0
    while path:
        _, found = await shown(service, firm, path)
        dates += [text for text in found.text if re.fullmatch(r"2025年\d+月\d+日", text)]
        links = [each["href"] for _, each in found.found if "before=" in (each.get("href") or "")]
        path = next((x for x in links if "/sign-in" not in x and "/en/" not in x), "")
        count += 1
    held = dict.fromkeys(each["date"] for each in (await api(service, "days?year=2025"))["days"])
    assert dates == [formats.date(each, "zh") for each in reversed(held)]
    assert count > 3
    monkeypatch.setattr(enterprise, "LISTED", 2)
    monkeypatch.setattr(enterprise, "CONTRACTS", 2)
    monkeypatch.setattr(enterprise_view, "MOST_SERIES", 2)
    _, found = await shown(service, firm, f"{BASE}/contracts")
    assert {"TC-2025-0101", "TC-2025-0102"} <= set(found.text)
    assert "TC-2025-0103" not in found.text
    _, found = await shown(service, firm, f"{BASE}/contracts?skip=2")
    assert "TC-2025-0103" in found.text
    assert "TC-2025-0101" not in found.text
    _, found = await shown(service, firm, BASE)
    assert {w.more_contracts, w.daily_most.format(count=2)} <= set(found.text)
    answer = await service.get(f"{BASE}/contracts?skip=x", **firm.headers)
    assert answer.code == "malformed"


async def test_what_is_exported_are_the_api_s_lines(service, monkeypatch):
    monkeypatch.setattr(export, "EXPORTED", 5)
    firm = await sign_in(service, "enterprise", ALPHA)

    async def rows(path):
        answer = await service.get(BASE + path, **firm.headers)
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert answer.body.startswith(b"\xef\xbb\xbf")
        return list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))

    w = spoken("zh")
    records = (await api(service, "records?order=newest"))["records"]
    found = await rows("/records.csv?contract=&status=&device=&from=&until=")
    assert [each[w.entry] for each in found] == [str(each["entry"]) for each in records]
    assert [each[w.granted] for each in found] == [each["granted"] for each in records]
    withheld = await rows("/records.csv?status=withheld")
    assert [each[w.record_id] for each in withheld] == ["beyond"]
    days = (await api(service, "days?year=2025&by=week"))["days"]
    found = await rows("/usage.csv?by=week")
    assert [(each[w.date], each[w.cost]) for each in found] == [
        (each["date"], each["cost"]) for each in days
    ]
    contracts = (await api(service, "contracts"))["contracts"]
    found = await rows("/contracts.csv")
    assert [each[w.amount_of_contract] for each in found] == [each["amount"] for each in contracts]
    refused = (await api(service, "refused"))["refused"]
    found = await rows("/refused.csv?contract=")
    assert [(each[w.record_id], each[w.code]) for each in found] == [
        (each["id"], each["code"]) for each in refused
    ]


def test_a_spreadsheet_takes_no_text_for_a_formula():
    rows = [["=1+1", "+x", "-x", "@x", "\tx", "a=b"], ["-9.00", "12", "0.5", 'a"b,c', "", "é"]]
    text = csv_file(["a"] * 6, rows).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["'=1+1", "'+x", "'-x", "'@x", "'\tx", "a=b"],
        rows[1],
    ]
    assert text.count("\r\n") == 3


async def test_a_firm_sees_its_own_and_officials_see_all(service):
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    firm = await sign_in(service, "enterprise", ALPHA)
    other = await sign_in(service, "enterprise", BETA)
    auditor = await sign_in(service, "auditor")
    for tab in (*TABS, "/records.csv", "/usage.csv", "/contracts.csv", "/refused.csv"):
        await shown(service, auditor, BASE + tab)
        theirs = await shown(service, other, BASE + tab, 404)
        nobody = await shown(service, other, BASE.replace(ALPHA, BETA[:-1] + "X") + tab, 404)
        assert theirs[0].body == nobody[0].body
        answer = await service.get(BASE + tab, Authorization="")
        assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/zh/sign-in")
    answer, _ = await shown(service, firm, f"{BASE}/records/1", 404)
    assert answer.code == "not_found"


async def test_a_firm_without_contracts_reads_what_comes_next(service):
    await service.ask("/v1/enterprises", **enterprise_body(BETA))
    firm = await sign_in(service, "enterprise", BETA)
    for language in LANGUAGES:
        base = f"/{language}/enterprises/{BETA}"
        for tab, word in zip(
            TABS,
            ("nothing_yet_text", "no_usage", "no_records", "no_contracts", "no_refused"),
            strict=True,
        ):
            _, found = await shown(service, firm, base + tab)
            assert words(language)[word] in found.text


async def test_names_stay_text(service):
    await service.ask("/v1/enterprises", **enterprise_body(BETA, name=EVIL))
    body = contract_body("E", enterprise=BETA, contract_no=EVIL)
    await service.ask("/v1/contracts", **body)
    firm = await sign_in(service, "enterprise", BETA)
    for tab in TABS:
        answer, _ = await shown(service, firm, f"/en/enterprises/{BETA}{tab}")
        assert EVIL.encode() not in answer.body
        assert html.escape(EVIL, quote=False).replace('"', "&#34;").encode() in answer.body


async def test_a_section_that_fails_leaves_the_others(service, monkeypatch):
    async def broken(_ask):
        raise Problem("busy", "try again")

    firm = await sign_in(service, "enterprise", ALPHA)
    asked = enterprise.answer

    async def answer(ask, handler, query=None, **names):
        if handler is enterprise.get_days:
            return await broken(ask)
        return await asked(ask, handler, query, **names)

    monkeypatch.setattr(enterprise, "answer", answer)
    _, found = await shown(service, firm, BASE)
    assert "busy" in found.text
    assert words("zh")["burn_down"] in found.text
    assert any("#" in text for text in found.text)


async def test_pages_are_small(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    for tab in TABS:
        answer, _ = await shown(service, firm, BASE + tab)
        assert len(answer.body) <= 120_000
        assert len(gzip.compress(answer.body)) <= 25_000


async def test_a_page_fetches_its_own_content_alone(service):
    firm = await sign_in(service, "enterprise", ALPHA)
    for path in (BASE, f"{BASE}/records?status=accepted"):
        whole, found = await shown(service, firm, path)
        part, again = await shown(service, firm, f"{path}{'&' if '?' in path else '?'}part=live")
        scripts = [each for tag, each in found.found if tag == "script"]
        (name,) = [each for each in page.ASSETS if re.fullmatch(r"console-.*\.js", each)]
        assert scripts == [{"src": f"/assets/{name}", "defer": None}]
        assert not [tag for tag, _ in again.found if tag in ("script", "nav", "header")]
        parts = [
            [each["data-part"] for _, each in held.found if "data-part" in each]
            for held in (found, again)
        ]
        assert parts[0] == parts[1] != []
        assert len(part.body) < len(whole.body)
        assert b"part=live" not in part.body


# Values


def programme(name, *years):
    return enterprise_view.ProgrammeView(name, name, name, list(years))


@pytest.mark.parametrize(
    ("asked", "year", "found"),
    [
        ({}, 2025, ("a", 2025)),
        ({}, 2030, ("a", 2026)),
        ({}, 2020, ("a", 2024)),
        ({"programme": "b"}, 2025, ("b", 2025)),
        ({"programme": "c"}, 2025, ("a", 2025)),
        ({"year": 2024}, 2026, ("a", 2024)),
    ],
)
def test_the_coupon_of_a_page_is_one_that_there_is(asked, year, found):
    held = [programme("a", 2024, 2025, 2026), programme("b", 2025)]
    chosen = enterprise_view.choose(
        held,
        asked.get("programme", enterprise_view.UNSET),
        asked.get("year", enterprise_view.UNSET),
        (year - 1970) * 366 - (year - 1970) * 3 // 4 + 100,
    )
    assert (chosen.programme.programme, chosen.year) == found
    assert enterprise_view.choose([], enterprise_view.UNSET, enterprise_view.UNSET, 0) is None


def test_the_parts_of_a_bar_stand_side_by_side_and_never_beyond_its_end():
    first, second = enterprise_view.bar("3.00", ("a", "1.00"), ("b", "5.00"))
    assert (first.start, first.width) == ("0.000%", "33.333%")
    assert (second.start, second.width) == ("33.333%", "66.666%")
    assert enterprise_view.bar("0.00", ("a", "0.00"))[0].width == "0.000%"
    assert enterprise_view.share("-1.00", "3.00", "a").text == "0%"


async def test_a_forecast_is_told_in_dates_and_drawn_as_a_wedge(service):
    coupon = f"programme={PROGRAMME}&year=2025"
    service.clock.set("2025-08-22T12:00:00+08:00")
    forecast = await api(service, f"forecast?{coupon}")
    told = ForecastView(**(forecast | {"as_of": None}))
    soon = replace_fields(
        told, status="lasts", end="2025-09-20", earliest="2025-09-19", latest="2025-09-22"
    )
    until = enterprise_view.until(soon, "en")
    assert (until.end, until.earliest, until.latest) == (
        *("20 September 2025", "19 September 2025", "22 September 2025"),
    )
    assert (until.expires, until.ends_early) == ("31 December 2025", True)
    late = replace_fields(soon, end="2026-01-01")
    assert not enterprise_view.until(late, "en").ends_early
    days = await api(service, f"coupon-days?{coupon}")
    held = [CouponDay(**each) for each in days["days"]]
    view = CouponDays(enterprise=ALPHA, programme=PROGRAMME, year=2025, days=held, as_of=None)
    drawn = enterprise_view.burn_down(view, soon, spoken("en"), "en")
    (points,) = re.findall(r'<polygon class="band" points="([^"]*)"', drawn)
    xs = [int(each.partition(",")[0]) // 10 for each in points.split()]
    assert xs == [233, 264, 261, 233]  # 22 August, 22 and 19 September, counted from 0
    assert [each.partition(",")[2] for each in points.split()][1:3] == ["1000", "1000"]


def replace_fields(struct, **changes):
    return type(struct)(**{n: getattr(struct, n) for n in struct.__struct_fields__} | changes)
