"""Who reads which entry: every entry of every kind, asked for by every role.

What may be told is written here once more, from the bytes alone: which firms they name, which
money they hold.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from ledger.tlog import leaf_hash
from meter.rules.kinds.table import BY_NAME
from meter.views.told import TOLD
from tests.books import ALPHA, BETA, uscc_of
from tests.recovering import NOW, Diary, today, yesterday
from tests.services import authorization, serving, stored

WIRE = Path(__file__).parents[2] / "docs" / "wire.md"
THIRD, MERGED = uscc_of(3), uscc_of(4)
FIRMS = {ALPHA: {ALPHA}, BETA: {BETA, MERGED}, THIRD: {THIRD}}  # BETA succeeded one
PARTIES = {
    **{uscc: ("enterprise", uscc) for uscc in FIRMS},
    "pcl": ("provider", "pcl"),
    "szu": ("provider", "szu"),
}


def described() -> dict[str, set[str]]:
    """Return the table of the documentation: kinds by whom they are told to."""
    section = WIRE.read_text(encoding="utf-8").partition("## Who reads an entry")[2]
    rows = re.findall(r"^\| ([a-z ]+) \| (`.*`) \|$", section, re.MULTILINE)
    return {who: set(re.findall(r"`([a-z_]+)`", kinds)) for who, kinds in rows}


def test_the_documentation_has_the_table():
    told = described()
    assert set(told) == {"enterprise", "provider", "both", "officials alone"}
    assert sum(map(len, told.values())) == len(BY_NAME)
    for kind, parties in TOLD.items():
        who = {0: "officials alone", 2: "both"}.get(len(parties), "".join(parties))
        assert kind in told[who]


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, NOW) as service:
        diary = Diary(service)
        await yesterday(diary)
        await today(diary)
        funds = {"reference": "8", "level": "district", "amount": "0.10", "document": "notice"}
        await service.ask("/v1/projects/P/funds", **funds)
        await service.ask("/v1/projects/P/audit", amount="95.00", document="report")
        yield service


@pytest.fixture
async def tokens(service):
    return {
        name: {"Authorization": await authorization(service, f"t-{number}", *who)}
        for number, (name, who) in enumerate(PARTIES.items())
    }


async def read_by(service, header, count):
    """Return the bytes of all entries that a token may read, by number."""
    found, refused = {}, set()
    for number in range(count + 3):
        answer = await service.get(f"/v1/entries/{number}", **header)
        bare = await service.get(f"/v1/entries/{number}/bytes", **header)
        assert bare.status == answer.status
        if answer.status == 200:
            assert bare.headers["Content-Type"] == "application/octet-stream"
            assert b'"entry":' + bare.body + b"}" in answer.body
            found[number] = bare.body
        else:
            assert answer.code == "not_found"
            refused.add((answer.body, bare.body))
    assert len(refused) <= 1 or not header  # beyond the end they are the same
    return found


def firms_in(text: str) -> set[str]:
    """Return the firms that a text names."""
    return {name for name, codes in FIRMS.items() if any(code in text for code in codes)}


async def test_every_entry_by_everybody(service, tokens, database):
    entries = [entry.decode() for entry in await stored(database)]
    kinds = [json.loads(text)["kind"] for text in entries]
    assert set(kinds) == BY_NAME.keys() - {"person_recovery"}
    owners = {
        each["id"]: each["enterprise"]
        for each in (await service.get("/v1/contracts")).json["contracts"]
    }
    allowed, told = described(), defaultdict(set)
    for name, (role, _) in PARTIES.items():
        read = await read_by(service, tokens[name], len(entries))
        for number, data in read.items():
            text, kind = data.decode(), kinds[number]
            assert text == entries[number]
            assert kind in allowed[role] | allowed["both"], kind
            told[role].add(kind)
            if role == "enterprise":
                assert firms_in(text) <= {name}, text
            else:
                words = ("entitled", "coupon:", "accrued:", "granted", "amount", "project")
                assert not any(word in text for word in words), text
                assert name in text or kind in ("freeze", "unfreeze", "late_window", "revocation")
        for number, text in enumerate(entries):
            fields = json.loads(text)
            # What was metered under a contract that stayed where it was is told to its firm.
            mine = owners.get(fields.get("contract")) == name and fields["contract"] != "W"
            if kinds[number] in ("usage", "void", "release", "freeze") and mine:
                assert number in read, text
            if kinds[number] == "batch":
                assert (number in read) == (fields["provider"] == name)
    for role, kinds_told in told.items():
        assert kinds_told == allowed[role] | allowed["both"]
    official = await read_by(service, {}, len(entries))
    assert [official[number].decode() for number in range(len(entries))] == entries


async def test_an_amendment_that_moves_a_contract_is_told_to_neither_firm(
    service, tokens, database
):
    entries = [json.loads(entry) for entry in await stored(database)]
    (moved,) = [
        number
        for number, fields in enumerate(entries)
        if fields["kind"] == "amendment" and "enterprise" in fields
    ]
    for firm in (ALPHA, BETA):
        assert (await service.get(f"/v1/entries/{moved}", **tokens[firm])).code == "not_found"
    # What came before it was ALPHA's.
    before = [
        number
        for number, fields in enumerate(entries)
        if fields["kind"] == "usage" and fields["contract"] == "W" and number < moved
    ]
    assert before
    for number in before:
        assert (await service.get(f"/v1/entries/{number}", **tokens[ALPHA])).status == 200
        assert (await service.get(f"/v1/entries/{number}", **tokens[BETA])).code == "not_found"


async def test_the_bytes_prove_themselves(service, tokens, database):
    number = next(
        number
        for number, entry in enumerate(await stored(database))
        if json.loads(entry)["kind"] == "usage"
    )
    answer = await service.get(f"/v1/entries/{number}", **tokens[ALPHA])
    bare = await service.get(f"/v1/entries/{number}/bytes", **tokens[ALPHA])
    assert answer.json["leaf_hash"] == leaf_hash(bare.body).hex()
    tag = bare.headers["ETag"]
    again = await service.get(f"/v1/entries/{number}/bytes", If_None_Match=tag, **tokens[ALPHA])
    assert again.status == 304
    for wrong in ("-1", "x", "1" * 16):
        assert (await service.get(f"/v1/entries/{wrong}/bytes")).code == "malformed"
