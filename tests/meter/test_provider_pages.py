"""A provider's pages over HTTP: what they show is what the API answers, and no other money."""

import csv
import io

import pytest

from ledger.note import Verifier
from meter.auditor import receipt_check
from meter.auditor.receipt_check import Trust, policy_of
from meter.console import export
from meter.console.formats import LANGUAGES, money, number
from meter.console.words import words
from meter.console.words.advice import ADVICE_ZH
from meter.wire import stored_receipt
from tests.books import BETA, record, uscc_of
from tests.meter.test_console_pages import EVIL, Elements
from tests.people import sign_in
from tests.services import (
    HOUR,
    contract_body,
    enterprise_body,
    key_body,
    provider_body,
    serving,
)

TABS = ("", "/batches", "/refused", "/withheld", "/contracts")


@pytest.fixture
async def service(database, tmp_path):
    """A stream with gaps, a refused record, a withheld one, and contracts of two firms."""
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.ask("/v1/enterprises", **enterprise_body(BETA, name=EVIL))
        limited = contract_body("B", enterprise=BETA, max_devices={"ascend-910b": 8})
        await service.ask("/v1/contracts", **limited)
        await service.ask("/v1/providers", **provider_body("szu", uscc=uscc_of(77), name="别家"))
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        over = [record("r<2>", "B", *HOUR, 16_000), record("r3", "none", *HOUR, 1_000)]
        await service.usage(over, seq=4)
        await service.usage([], seq=6)
        await service.published()
        yield service


async def shown(service, visitor, path):
    answer = await service.get(path, **visitor.headers)
    assert answer.status == 200, answer.body
    return Elements(answer.body.decode())


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_provider_sees_streams_refusals_what_is_withheld_and_contracts(service, language):
    visitor, w = await sign_in(service, "provider", "pcl"), words(language)
    base = f"/{language}/providers/pcl"
    start = await service.http.get(service.url, headers=visitor.headers, allow_redirects=False)
    assert start.headers["Location"].endswith("/providers/pcl")

    found = await shown(service, visitor, base)
    assert {"main", "6", "2–3, 5", "pcl-1", w["key_good"]} <= set(found.text)
    (stream,) = (await service.get("/v1/providers/pcl/streams")).json["streams"]
    assert (stream["last"], stream["missing"]) == (6, 3)
    assert any("2025" in text and "12:00:00" in text for text in found.text)

    found = await shown(service, visitor, f"{base}/refused")
    (refused,) = (await service.get("/v1/providers/pcl/rejected")).json["rejected"]
    of_code = {"zh": ADVICE_ZH["record", "unknown_contract"], "en": refused["advice"]}
    advice = of_code[language]
    assert {"unknown_contract", advice, "r3"} <= set(found.text)

    found = await shown(service, visitor, f"{base}/withheld")
    (held,) = (await service.get("/v1/providers/pcl/withheld")).json["withheld"]
    assert {"r<2>", money(held["amount"]), number(held["device_hours"])} <= set(found.text)
    assert money(held["amount"]) == "¥36.00"
    assert any(
        text.startswith(w["limit_contract"]) and "08:00" in text and "09:00" in text
        for text in found.text
    )

    found = await shown(service, visitor, f"{base}/contracts")
    served = (await service.get("/v1/providers/pcl/contracts")).json
    for each in (*served["contracts"], served["total"]):
        assert {money(each["cost"]), money(each["withheld"])} <= set(found.text)
    assert EVIL in found.text


async def test_no_page_of_a_provider_tells_other_money_or_another_s(service):
    own, other = (
        await sign_in(service, "provider", "pcl"),
        await sign_in(service, "provider", "szu"),
    )
    for tab in TABS:
        text = (await service.get(f"/en/providers/pcl{tab}", **own.headers)).body.decode()
        assert "144.00" not in text  # what was granted
        assert "500,000.00" not in text  # what was issued
        assert (await service.get(f"/en/providers/pcl{tab}", **other.headers)).status == 404
        assert (await service.get(f"/en/providers/szu{tab}", **other.headers)).status == 200


async def test_empty_lists_say_what_comes_next(service):
    visitor, w = await sign_in(service, "provider", "szu"), words("en")
    for tab, word in zip(
        TABS,
        ("no_streams", "no_batches", "no_rejected", "no_withheld", "no_contracts"),
        strict=True,
    ):
        assert w[word] in (await shown(service, visitor, f"/en/providers/szu{tab}")).text


async def test_a_page_of_a_list_leads_to_the_next_one(service):
    visitor = await sign_in(service, "provider", "pcl")
    many = [record(f"x{number}", "none", *HOUR, 1_000) for number in range(60)]
    await service.usage(many, seq=7)
    path, found = "/en/providers/pcl/refused", []
    while path:
        page = await shown(service, visitor, path)
        found += [text for text in page.text if text[0] in "rx" and text[1:].isdigit()]
        links = [each.get("href") or "" for tag, each in page.found if tag == "a"]
        path = next((x for x in links if x.startswith("/en/providers/pcl/refused?after=")), "")
    assert found == ["r3", *(f"x{number}" for number in range(60))]
    assert (await service.get("/en/providers/pcl?after=x", **visitor.headers)).status == 400


async def test_batches_and_proved_receipts_are_downloaded_and_verify_offline(service):
    visitor, w = await sign_in(service, "provider", "pcl"), words("en")
    found = await shown(service, visitor, "/en/providers/pcl/batches")
    listed = (await service.get("/v1/providers/pcl/streams/main/batches")).json["batches"]
    assert [each["seq"] for each in listed] == [6, 4, 1]
    assert [(each["records"], each["voids"]) for each in listed] == [(0, 0), (2, 0), (1, 0)]
    assert w["batch_counts"].format(records=2, purchases=0, voids=0) in found.text
    links = [each["href"] for _, each in found.found if "/en/batches/" in each.get("href", "")]
    digests = [each["batch"] for each in listed]
    assert links == [
        f"/en/batches/{digest}/{file}" for digest in digests for file in ("receipt", "envelope")
    ]
    log = Verifier.parse(service.folder.log_vkey.read_text().strip())
    for digest in digests:
        proved = await service.get(f"/en/batches/{digest}/receipt", **visitor.headers)
        name = f'attachment; filename="{digest}.proved.json"'
        assert proved.headers["Content-Disposition"] == name
        stored = stored_receipt.parse(proved.body)
        assert receipt_check.check(stored, Trust([policy_of([log])])).conclusion == "good"
        sent = await service.get(f"/en/batches/{digest}/envelope", **visitor.headers)
        assert sent.body == (await service.get(f"/v1/batches/{digest}/envelope")).body
    other = await sign_in(service, "provider", "szu")
    for link in links:
        refused = await service.get(link, **other.headers)
        nobody = await service.get(link.replace(digests[0], "0" * 64), **other.headers)
        assert (refused.status, refused.body) == (404, nobody.body)


async def test_every_list_is_a_file_with_the_api_s_lines(service, monkeypatch):
    monkeypatch.setattr(export, "EXPORTED", 2)
    visitor = await sign_in(service, "provider", "pcl")
    for name, path, items in (
        ("streams", "streams", "streams"),
        ("batches", "streams/main/batches", "batches"),
        ("refused", "rejected", "rejected"),
        ("withheld", "withheld", "withheld"),
        ("contracts", "contracts", "contracts"),
    ):
        query = "?stream=main" if name == "batches" else ""
        url = f"/zh/providers/pcl/{name}.csv{query}"
        answer = await service.get(url, **visitor.headers)
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
        told = (await service.get(f"/v1/providers/pcl/{path}")).json[items]
        assert len(rows) == len(told) > 0, name
        names = {"starts": "start", "ends": "end"}
        if name == "contracts":
            names = {"starts": "from", "ends": "until"}
        for row, line in zip(rows, told, strict=True):
            cells = {field: str(line[names.get(field, field)]) for field in row}
            assert {field: text.removeprefix("'") for field, text in row.items()} == cells


async def test_a_key_is_changed_step_by_step(service):
    visitor, w = await sign_in(service, "provider", "pcl"), words("en")

    async def steps():
        found = await shown(service, visitor, "/en/providers/pcl")
        is_open = any(tag == "details" and "open" in each for tag, each in found.found)
        now = sum(each.get("aria-current") == "step" for _, each in found.found)
        (command,) = [text for text in found.text if text.startswith("kashi provider keygen")]
        return is_open, now, command, w["rotation_two"] in found.text

    command = (
        "kashi provider keygen pcl-{0}.pem --log kashi.test/service --provider pcl --keyid pcl-{0}"
    )
    assert await steps() == (False, 1, command.format(2), False)
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-2"))
    assert await steps() == (True, 1, command.format(3), True)
    await service.ask("/v1/keys/pcl-1/revoke", reason="rotated")
    assert await steps() == (False, 1, command.format(3), False)
