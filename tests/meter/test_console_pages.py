"""The console's pages over HTTP: what they show is what the API answers, and nothing gets in."""

import asyncio
import gzip
import html
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from meter.console import access_log, app, claims_view, form, page
from meter.console.act_forms import ACTS, GROUPS
from meter.console.formats import LANGUAGES, money
from meter.console.words import WORDS, words
from meter.console.words.advice import ADVICE_ZH
from meter.host.sign_in import DONE
from meter.rules.claim_book import ClaimState
from meter.rules.two_persons import PROPOSABLE
from meter.tables.alerts import Why
from meter.values.policy_file import Evidence
from meter.views.crossings import Kind as CrossingKind
from meter.views.preview import FigureName
from meter.wire.advice import ADVICE
from meter.wire.receipt import RECORD_CODES, VOID_CODES
from tests.books import ALPHA, PROGRAMME, lifted, uscc_of
from tests.commands import good, kashi
from tests.services import (
    Clock,
    authorization,
    contract_body,
    enterprise_body,
    provider_body,
    serving,
)

CONSOLE = Path(app.__file__).parent
GLOSSARY = Path(__file__).parents[2] / "docs/glossary.md"
FIRMS = [ALPHA, *(uscc_of(number) for number in (31, 32, 33, 34))]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
EVIL = '<script>alert("x")</script>'
CODES_OF_USAGE = {*RECORD_CODES, *VOID_CODES, "conflict", "withheld", "seq_conflict"}


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(" ".join(data.split()))


@pytest.fixture
async def service(database, tmp_path):
    """Five firms have coupons of 1,438,941.60 yuan together, since March."""
    clock = Clock("2025-03-20T12:00:00+08:00")
    policy = lifted(pool="90000000.00")
    assert 'title_en = "Training coupon"' in policy
    policy = policy.replace('title_en = "Training coupon"', f"title_en = '{EVIL}'")
    async with serving(database, tmp_path, clock=clock) as service:
        await service.activate(policy)
        await service.ask("/v1/providers", **provider_body())
        for number, uscc in enumerate(FIRMS):
            await service.ask("/v1/enterprises", **enterprise_body(uscc))
            body = contract_body(f"C{number}", enterprise=uscc, amount="5000000.00")
            await service.ask("/v1/contracts", **body)
            await service.issue(2025, "287788.32", uscc)
        clock.set("2025-04-02T12:00:00+08:00")
        await service.published()
        yield service


async def shown(service, path, **headers):
    answer = await service.get(path, Authorization="", **headers)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer, Elements(answer.body.decode())


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_public_page_shows_what_the_api_answers(service, language):
    answer, found = await shown(service, f"/{language}/")
    assert answer.status == 200
    public = (await service.get("/v1/public")).json
    assert len(public["pools"]) == 3
    for pool in public["pools"]:
        assert str(pool["year"]) in found.text
        assert money(pool["amount"]) in found.text
    assert found.text.count("¥90,000,000.00") == 3
    assert "¥1,438,941.60" in found.text
    assert found.text.count(words(language)["few"]) == 2
    checkpoint = (await service.get("/log/checkpoint")).body.decode().splitlines()
    assert set(checkpoint[:3]) <= set(found.text)
    key = (await service.get("/v1/receipt-key")).json
    assert f"{key['keyid']} {key['public_key']}" in found.text
    (vkey,) = service.intake.state.log_keys
    assert vkey in found.text
    assert words(language)["keys"] in found.text
    assert not any("object at 0x" in text for text in found.text)
    command = next(text for text in found.text if text.startswith("kashi verify"))
    token = service.http.headers["Authorization"].removeprefix("Bearer ")
    _, *typed = shlex.split(command.replace("…", token))
    assert vkey in typed
    assert "good: root" in good(await asyncio.to_thread(kashi, *typed))


async def test_dates_are_beijings_and_say_so(service):
    _, chinese = await shown(service, "/zh/")
    _, english = await shown(service, "/en/")
    assert any("2025年4月1日" in text and "北京时间" in text for text in chinese.text)
    assert any("1 April 2025" in text and "Beijing time" in text for text in english.text)


async def test_names_stay_text(service):
    answer, found = await shown(service, "/en/")
    assert EVIL in found.text
    assert EVIL.encode() not in answer.body
    assert html.escape(EVIL, quote=False).replace('"', "&#34;").encode() in answer.body


@pytest.mark.parametrize("path", ["/zh/", "/en/", "/"])
async def test_nothing_gets_into_a_page(service, path):
    answer = await service.http.get(service.url + path, allow_redirects=False)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    for tag, attributes in Elements(await answer.text()).found:
        assert tag not in ("script", "style", "iframe", "object", "base")
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        for name in ("href", "src"):
            link = attributes.get(name)
            assert link is None or re.match(r"/(?!/)|#", link), link


async def test_every_link_of_the_page_leads_somewhere(service):
    _, found = await shown(service, "/en/")
    links = {each["href"] for _, each in found.found if (each.get("href") or "").startswith("/")}
    assert {"/zh/", "/docs", "/log/checkpoint"} <= links
    for link in links:
        assert (await service.get(link, Authorization="")).status == 200, link


async def test_assets_have_the_hash_of_their_content_and_stay(service):
    assert len(page.ASSETS) == 5
    for name, data in page.ASSETS.items():
        answer = await service.get(f"/assets/{name}", Authorization="")
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["Cache-Control"] == "max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (await service.get("/assets/console.css")).code == "not_found"
    assert (await service.get("/assets/..%2Fapp.py")).code == "not_found"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("en-GB,en;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr,en;q=0.5,zh;q=0.4", "en"),
        ("fr", "zh"),
        ("en;q=0,zh;q=0", "zh"),
        ("en;q=x", "zh"),
        ("en;q=inf,zh", "zh"),
        ("fr, en ; q=0.5, zh; q=0.4", "en"),
        ("EN", "en"),
    ],
)
async def test_the_start_leads_to_the_language_that_the_browser_prefers(service, accept, language):
    headers = {"Authorization": ""} | ({} if accept is None else {"Accept-Language": accept})
    async with service.http.get(service.url, headers=headers, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, f"/{language}/")
        assert answer.headers["Vary"] == "Accept-Language, Cookie"


async def test_what_is_in_no_language_is_no_page(service):
    for path in ("/fr/", "/v1/"):
        assert (await service.get(path)).code == "not_found"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_no_page_has_is_told_on_a_page(service, language):
    """Whoever mistypes an address is a person, and reads no JSON."""
    for path in ("nope", "enterprises/", "a/b/c", "sign-out"):
        answer, found = await shown(service, f"/{language}/{path}")
        assert (answer.status, answer.code) == (404, "not_found")
        assert page.told("no page has this address", language) in found.text
    path = f"{service.url}/{language}"
    async with service.http.get(path, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, f"/{language}/")


async def test_a_shared_link_may_have_something_after_it(service):
    answer, _ = await shown(service, "/zh/?from=timeline&isappinstalled=0")
    assert answer.status == 200


async def test_a_page_is_the_same_for_every_token_and_every_method_that_reads(service):
    firm = await authorization(service, "firm", "enterprise", ALPHA)
    await service.published()
    plain = (await service.get("/en/", Authorization="")).body
    for token in (firm, "Bearer x.y", ""):
        assert (await service.get("/en/", Authorization=token)).body == plain
    head = await service.send("HEAD", "/en/")
    assert (head.status, head.body) == (200, b"")
    assert (await service.post("/en/", {})).code == "method_not_allowed"
    tag = (await service.get("/en/")).headers["ETag"]
    assert (await service.get("/en/", If_None_Match=tag)).status == 304


async def test_pages_are_no_part_of_the_api_s_description(service):
    described = (await service.get("/openapi.json")).json["paths"]
    assert not {route.path for route in app.ROUTES} & described.keys()


async def test_pages_and_style_are_small(service):
    for language in LANGUAGES:
        body = (await service.get(f"/{language}/")).body
        assert len(body) <= 120_000
        assert len(gzip.compress(body)) <= 25_000
    (style,) = [data for name, data in page.ASSETS.items() if name.endswith(".css")]
    assert len(style) <= 16_384
    (script,) = [
        data
        for name, data in page.ASSETS.items()
        if name.startswith("console-") and name.endswith(".js")
    ]
    assert len(script) <= 12_288
    text = style.decode()
    assert "light-dark(" not in text
    assert not re.search(r"url\(|@import", text)
    # No rule within a rule, other than of a medium.
    assert not re.search(r"\{[^{}@]*\{", re.sub(r"@media[^{]*\{|@page[^}]*\}", "", text))


async def test_a_ledger_that_nothing_was_issued_from_says_what_comes_next(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.published()
        _, found = await shown(service, "/zh/")
        assert words("zh")["no_programmes"] in found.text
        (service.folder.log / "checkpoint").unlink()
        answer, found = await shown(service, "/zh/")
        assert answer.status == 200
        assert words("zh")["not_published"] in found.text


def named_by_acts() -> set[str]:
    """Return the texts whose names are made of what acts, their fields and figures are called."""
    fields = [field for act in ACTS.values() for field in act.fields]
    named = {f"acts_{group}" for group in GROUPS} | {f"act_{act}" for act in ACTS}
    named |= {field.word for field in fields} | {f"fault_{field.kind}" for field in fields}
    named |= {f"choice_{value}" for field in fields for value in field.choices}
    named |= {f"figure_{name}" for name in get_args(FigureName)}
    named |= {"fault_needed", "made_policy", "made_class", "made_warnings"}
    codes = {code for act in ACTS for code in PROPOSABLE[act].codes}
    codes |= {"same_person", "not_its_maker"}
    return named | {f"refusal_{code}" for code in codes} & set(WORDS)


def named_by_claims() -> set[str]:
    """Return the texts whose names are made of what a claim's steps, papers and states are."""
    fields = [field for act in claims_view.ACTS for field in act.fields]
    named = {f"step_{act.name.replace('-', '_')}" for act in claims_view.ACTS}
    named |= {f"claim_field_{field.name}" for field in fields}
    named |= {f"outcome_{value}" for field in fields for value in field.choices}
    named |= {f"state_{state}" for state in get_args(ClaimState)}
    for kind in claims_view.KINDS:
        named |= {kind.field, f"{kind.name}_row"}
        named |= {f"claim_field_{name}" for name in kind.fields}
    named |= {f"evidence_{each}" for each in get_args(Evidence)}
    named |= {f"fault_{kind}" for kind in form.TAKES.values()}
    return named | {"claim_state", "claim_approved", "claim_cash", "approved_in_all"}


def named_by_alerts() -> set[str]:
    """Return the texts whose names are made of what an alert tells, how, and how it went."""
    said = {
        *get_args(CrossingKind),
        "off",
        "test",
        "webhook",
        "mail",
        "waiting",
        "taken",
        "given_up",
    }
    return {f"alert_{each}" for each in said} | {
        f"alerts_off_{why}" for why in get_args(Why) if why
    }


def named_by_people() -> set[str]:
    """Return the texts whose names are made of what people did, and of what is wrong with one."""
    fields = ("id", "called", "subject", "sub", "until")
    return (
        {f"done_{what}" for what in DONE}
        | {f"fault_{field}" for field in fields}
        | {
            "person_not_so",
            "refusal_bound",
        }
    )


@pytest.mark.parametrize(
    ("word", "term"),
    [
        ("providers?", "供应方"),
        ("streams?", "上报流"),
        ("granted", "核给"),
        ("entitled", "应享补贴"),
        ("voided", "撤销"),
        ("released", "解除暂扣"),
        ("awards?", "奖补"),
    ],
)
def test_chinese_pages_call_things_as_the_glossary_does(word, term):
    assert term in GLOSSARY.read_text("utf-8")
    told = [text for text in WORDS.values() if re.search(rf"(?<!\{{)\b{word}\b", text.en)]
    assert told
    assert [text for text in told if term not in text.zh] == []


def test_all_advice_is_there_in_chinese():
    assert set(ADVICE_ZH) == set(ADVICE)
    assert all(text.endswith("。") for text in ADVICE_ZH.values())


def test_every_text_is_in_both_languages_and_used():
    templates = "".join(
        page._ENVIRONMENT.loader.get_source(page._ENVIRONMENT, name)[0]
        for name in page._ENVIRONMENT.list_templates()
    )
    sources = "".join(each.read_text() for each in CONSOLE.glob("*.py"))
    used = set(re.findall(r"\bw\.([a-z_]+)", templates + sources)) | named_by_acts()
    used |= named_by_claims() | named_by_alerts() | named_by_people()
    used |= {f"access_{name}" for name in access_log.FILTERS}
    used |= {f"code_{code}" for code in CODES_OF_USAGE}
    assert used == set(WORDS)
    for text in WORDS.values():
        assert text.zh.strip()
        assert text.en.strip()
        assert sorted(re.findall(r"\{\w+\}", text.zh)) == sorted(re.findall(r"\{\w+\}", text.en))
    assert PROGRAMME not in templates


async def test_behind_a_web_server_the_command_names_the_site(database, tmp_path):
    files = {"sign-in.toml": 'site = "https://kashi.test"\nlinks = true\n'}
    async with serving(database, tmp_path, files=files) as service:
        await service.published()
        _, found = await shown(service, "/en/")
    assert any(text.startswith("kashi verify https://kashi.test/log --") for text in found.text)
