"""The page that verifies an entry, in a real browser."""

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ledger.note import Checkpoint, Signer, claimed_checkpoint, sign
from ledger.proof import Proof
from ledger.tlog import leaf_hash
from meter.console.words import words
from tests.books import record
from tests.browser.chromium import check_access, is_wider_than_its_window, opened
from tests.services import HOUR, authorization, serving, stored

STEPS = ["signature", "checkpoint", "leaf", "path", "root"]
GOOD = dict.fromkeys(STEPS, "good") | {"leaf": "computed"}
OLD_BROWSER = """
  SubtleCrypto.prototype.importKey = async () => {
    throw new DOMException("no such algorithm", "NotSupportedError");
  };
"""


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage([record("r1", "A", *HOUR, 64_000)])
        await service.published()
        yield service


async def proof_of(service, number):
    """Return the proof of an entry with the entry in it."""
    answer = await service.get(f"/v1/entries/{number}/proof", Authorization="")
    return replace(Proof.parse(answer.body), extra=(await stored(service.dsn))[number])


@asynccontextmanager
async def verifying(service, chromium, language="en", **options):
    async with opened(chromium, f"{service.url}/{language}/verify", **options) as page:
        yield page


async def choose(page, *files):
    """Choose files; returns what the page concludes."""
    await page.evaluate("() => { document.querySelector('#verdict').textContent = ''; }")
    chosen = [
        {"name": f"{place}.bin", "mimeType": "application/octet-stream", "buffer": data}
        for place, data in enumerate(files)
    ]
    await page.set_input_files("#files", chosen)
    return await verdict(page)


async def verdict(page):
    await page.wait_for_function("() => document.querySelector('#verdict').textContent !== ''")
    return await page.inner_text("#verdict")


async def outcomes(page):
    rows = await page.locator("#steps > li:visible").all()
    found = {}
    for row in rows:
        name = await row.get_attribute("data-step")
        found[name] = await row.locator(".chip").get_attribute("data-outcome")
    return found


@pytest.mark.parametrize(
    ("language", "look"),
    [("zh", {"width": 1280}), ("en", {"width": 390, "color_scheme": "dark"})],
)
async def test_a_good_a_tampered_and_a_foreign_entry(service, chromium, language, look):
    w = words(language)
    right = await proof_of(service, 3)
    size = claimed_checkpoint(right.checkpoint_note).size
    tampered = replace(right, extra=right.extra.replace(b'"v":1', b'"v":2'))
    assert tampered != right
    stranger = Signer.from_seed("kashi.test/elsewhere", bytes(32))
    root = claimed_checkpoint(right.checkpoint_note).root
    note = sign(Checkpoint(stranger.name, size, root).format(), stranger)
    foreign = replace(right, checkpoint_note=note)
    async with verifying(service, chromium, language, **look) as page:
        assert await choose(page, right.format()) == w["verify_good"]
        assert await outcomes(page) == GOOD
        shown = await page.inner_text("#steps")
        for value in (leaf_hash(right.extra), root, *right.hashes):
            assert base64.b64encode(value).decode() in shown
        await check_access(page)
        assert not await is_wider_than_its_window(page)
        assert await choose(page, tampered.format()) == w["verify_bad"]
        assert await outcomes(page) == GOOD | {"root": "bad"}
        assert w["verify_other_root"] in await page.inner_text("#steps")
        await check_access(page)
        assert await choose(page, foreign.format()) == w["verify_bad"]
        assert await outcomes(page) == GOOD | {"signature": "bad", "checkpoint": "bad"}
        assert w["verify_other_log"] in await page.inner_text("#steps")
        assert await choose(page, right.extra) == f"{w['verify_unread']} {w['verify_needs_proof']}"
        assert not await page.locator("#steps").is_visible()


async def test_a_stored_receipt_shows_a_sixth_step(service, chromium):
    bearer = await authorization(service, "pcl", "provider", "pcl")
    envelope = service.envelope([record("r2", "A", *HOUR, 64_000)], seq=2)
    answer = await service.post("/v1/usage?wait=published", envelope, None)
    digest = answer.json["batch"]
    stored_one = await service.get(f"/v1/batches/{digest}/proof", Authorization=bearer)
    changed = json.loads(stored_one.body)
    changed["receipt"] = changed["receipt"].replace('"seq":2', '"seq":3')
    async with verifying(service, chromium) as page:
        assert await choose(page, stored_one.body) == words("en")["verify_good"]
        assert await outcomes(page) == GOOD | {"digests": "good"}
        assert await choose(page, json.dumps(changed).encode()) == words("en")["verify_bad"]
        assert await outcomes(page) == GOOD | {"digests": "bad"}


async def test_an_entry_that_is_dropped_finds_its_proof_by_number(service, chromium):
    entry = (await stored(service.dsn))[3]
    drop = """([bytes]) => {
      const held = new DataTransfer();
      held.items.add(new File([new TextEncoder().encode(bytes)], "entry"));
      const event = new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true });
      document.querySelector(".drop").dispatchEvent(event);
    }"""
    async with verifying(service, chromium) as page:
        await page.fill("#number", "3")
        await page.evaluate(drop, [entry.decode()])
        assert await verdict(page) == words("en")["verify_good"]
        await page.fill("#number", "2")
        await page.evaluate("() => { document.querySelector('#verdict').textContent = ''; }")
        await page.evaluate(drop, [entry.decode()])
        assert await verdict(page) == words("en")["verify_bad"]


async def test_a_key_that_the_reader_names_stands_for_the_page_s(service, chromium):
    right = (await proof_of(service, 3)).format()
    origin = claimed_checkpoint((await proof_of(service, 3)).checkpoint_note).origin
    other = Signer.from_seed(origin, bytes(32)).verifier.format()
    async with verifying(service, chromium) as page:
        await page.fill("#keys", other)
        assert await choose(page, right) == words("en")["verify_bad"]
        assert words("en")["verify_not_signed"] in await page.inner_text("#steps")
        await page.fill("#keys", "nonsense")
        assert (await choose(page, right)).startswith(words("en")["verify_unread"])


async def test_a_browser_without_ed25519_names_the_command(service, chromium):
    right = (await proof_of(service, 3)).format()
    context = await chromium.new_context()
    page = await context.new_page()
    await page.add_init_script(OLD_BROWSER)
    await page.goto(f"{service.url}/en/verify")
    assert await choose(page, right) == words("en")["verify_unchecked"]
    assert await outcomes(page) == GOOD | {"signature": "unchecked"}
    assert "Signature not checked here" in await page.inner_text("#steps")
    assert "kashi entry verify" in await page.inner_text("pre")
    await context.close()


async def test_without_script_the_page_names_the_commands_alone(service, chromium):
    async with verifying(service, chromium, java_script_enabled=False) as page:
        assert words("en")["verify_no_script"] in await page.inner_text("main")
        assert words("en")["verify_caution"] in await page.inner_text("main")
        assert not await page.locator("#verify-page").is_visible()
        assert "kashi receipt verify" in await page.inner_text("pre")
