"""Texts that people see, and ids that they could take for one another."""

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from meter.rules import commands
from meter.rules.commands import RegisterEnterprise
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.strict import decode, decode_request
from meter.values.text import check_text, folded, in_form_c
from meter.wire.batch import Batch
from tests import books as tests_books
from tests.books import ALPHA, BETA, SHIPPED, Books, properties, public_text, signer, uscc_of

COMPOSED, DECOMPOSED = "Universit\u00e9", "Universite\u0301"

# Each with what people would not see, or would see wrongly.
HIDING = {
    "a line feed": "a\nb",
    "a tab": "a\tb",
    "the end of ASCII": "a\x7f",
    "a C1 control": "a\x85b",
    "a soft hyphen": "a\u00adb",
    "an Arabic letter mark": "a\u061cb",
    "a Mongolian vowel separator": "a\u180eb",
    "a zero width space": "a\u200bb",
    "a zero width joiner": "a\u200db",
    "a right-to-left mark": "a\u200fb",
    "a line separator": "a\u2028b",
    "a paragraph separator": "a\u2029b",
    "an embedding": "a\u202ab",
    "an override": "paid\u202edeiraw",
    "a word joiner": "a\u2060b",
    "an isolate": "a\u2066b\u2069",
    "a Hangul filler": "a\u3164b",
    "a half-width Hangul filler": "a\uffa0b",
    "a combining grapheme joiner": "a\u034fb",
    "a variation selector": "a\ufe0f",
    "a byte order mark": "a\ufeffb",
    "an interlinear anchor": "a\ufff9b",
    "private use": "a\ue000b",
    "private use of plane 15": "a\U000f0000b",
    "a tag": "a\U000e0041b",
    "a variation selector of plane 14": "葛\U000e0100",
    "a noncharacter": "a\ufffeb",
    "a noncharacter of plane 2": "a\U0002fffeb",
    "a number that is no character": "a\u0378b",
    "a lone surrogate": "a\ud800b",
}
BLANK = {
    *("", " ", "   ", "\u3000", "\u00a0", "\u2003 \u2003", "\u2800", " \u2800 "),
    *("\u200b", "\u3164", "\ufeff"),
}
GOOD = [
    *(
        "鹏城实验室",
        "深圳市腾讯计算机系统有限公司",
        "深圳(龙岗)·智算中心",
        "㐀䶿鿿𠀀𪛖𱍊",
        "ＡＢＣ　①",
    ),
    *("Université de Montréal", "Straße", "ООО Ромашка", "東京大学", "서울대학교", "node failed"),
    *(" a ", "a\u00a0b", "¥1,000.00", "“quoted”", "a\u2800b", "x" * 200, "𠮷野家", "שלום", "ไทย"),
]


@pytest.mark.parametrize("text", GOOD)
def test_names_of_the_world_are_taken(text):
    check_text(text)
    assert name_of(text) == text


@pytest.mark.parametrize("text", HIDING.values(), ids=HIDING)
def test_what_hides_is_refused_and_named(text):
    with pytest.raises(
        ValueError, match=r"^a text holds (the control character )?U\+[0-9A-F]{4,6}"
    ):
        check_text(text)


@pytest.mark.parametrize("text", sorted(BLANK))
def test_a_blank_name_or_reason_is_refused(text):
    for read in (name_of, reason_of_void, state_of):
        with pytest.raises(ValueError, match=r"."):
            read(text)


@pytest.mark.parametrize("text", HIDING.values(), ids=HIDING)
def test_no_command_and_no_signed_batch_holds_what_hides(text):
    for read in (name_of, reason_of_void, state_of):
        with pytest.raises(ValueError, match=r"."):
            read(text)


def test_no_character_that_this_python_knows_to_hide_is_taken():
    hidden = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    taken = set()
    for number in range(sys.maxunicode + 1):
        try:
            check_text(chr(number))
        except ValueError:
            continue
        taken.add(unicodedata.category(chr(number)))
    assert len(taken) > 15
    assert not taken & hidden - {"Cn"}  # of ideographs, an older Python does not know the newest


@properties
@given(st.text())
def test_form_c_of_what_is_taken_is_for_ever(text):
    """All of it was there in Unicode 3.2, or has no other form: so no later version changes it."""
    try:
        check_text(text)
    except ValueError:
        assume(False)
    old = "".join(each for each in text if unicodedata.ucd_3_2_0.category(each) != "Cn")
    assert unicodedata.is_normalized("NFC", text)
    for each in set(text) - set(old):
        assert unicodedata.combining(each) == 0
        assert unicodedata.decomposition(each) == ""


# Form C


def test_a_signed_batch_in_another_form_is_refused_and_a_command_is_put_into_form_c():
    for read in (reason_of_void, state_of):
        assert read(COMPOSED) == COMPOSED
        for text in (DECOMPOSED, "\u212b", "\uf900"):  # U+212B is U+00C5, U+F900 an ideograph
            with pytest.raises(ValueError, match="form C"):
                read(text)
    assert name_of(DECOMPOSED) == name_of(COMPOSED) == COMPOSED
    assert name_of("\uf900") == "\u8c48"


def test_a_command_is_as_long_as_its_form_c():
    assert len(name_of("e\u0301" * 200)) == 200
    with pytest.raises(ValueError, match="length"):
        name_of("\u0958" * 200)  # form C writes it as two


def test_two_keys_that_form_c_would_make_one_stay_two():
    body = json.dumps({"name": "a", "na\u212be": 1}).encode()
    with pytest.raises(ValueError, match=r"unknown|missing|form C"):
        decode_request(body, RegisterEnterprise, {})
    twice = b'{"reason":"a","reason":"b"}'
    with pytest.raises(ValueError, match="twice"):
        decode_request(twice, commands.FreezeContract, {"contract": "A"})


@properties
@given(st.text())
def test_form_c_is_made_once(text):
    once = in_form_c({"a": [text]})
    assert in_form_c(once) == once
    assert unicodedata.is_normalized("NFC", once["a"][0])


def test_the_entry_of_a_command_holds_form_c_and_reads_back():
    books = opened()
    number = books.ask(RegisterEnterprise, **enterprise(DECOMPOSED))
    assert books.entries[number].name == COMPOSED
    assert books.ask(RegisterEnterprise, **enterprise(COMPOSED)) == number


# Policies


@pytest.mark.parametrize("name", ["an override", "private use", "a zero width space", "a tab"])
def test_a_policys_texts_hide_nothing_however_they_are_spelled(name):
    for spelled in (HIDING[name], json.dumps(HIDING[name])[1:-1]):  # TOML has the same escapes
        with pytest.raises(Problem, match="bad_policy"):
            Policy.parse(titled(spelled))


def test_a_policys_title_is_neither_blank_nor_in_another_form():
    for title in ("", "  ", "e\\u0301"):
        with pytest.raises(Problem, match="bad_policy"):
            Policy.parse(titled(title))
    assert Policy.parse(titled("\u00c9t\u00e9")).title == "\u00c9t\u00e9"


def titled(title: str) -> str:
    """The shipped policy under another title."""
    assert SHIPPED.count('title = "训力券"') == 1
    return SHIPPED.replace('title = "训力券"', f'title = "{title}"')


# Ids


@pytest.mark.parametrize("other", ["PCL", "Pcl", "pcl.", "pcl...", "PcL."])
def test_ids_that_people_take_for_one_another_have_one_fold(other):
    assert folded(other) == folded("pcl") == "pcl"


def test_ids_that_differ_otherwise_keep_apart():
    ids = ["pcl", "p.cl", "pcl-", "pcl_", "pcl1", ".pcl", "pc1"]
    assert len(set(map(folded, ids))) == len(ids)


@pytest.mark.parametrize("other", ["PCL", "pcl."])
def test_a_provider_that_looks_like_another_is_refused(other):
    books = opened()
    assert refused(books.provider, other, uscc=uscc_of(5)) == "looks_alike"
    books.provider("pcl-2", uscc=uscc_of(5))


@pytest.mark.parametrize("other", ["a", "A.", "a.."])
def test_a_contract_that_looks_like_another_is_refused(other):
    books = opened()
    assert refused(books.contract, other) == "looks_alike"
    books.contract("AA")


@pytest.mark.parametrize("other", ["PCL-1", "pcl-1."])
def test_a_key_that_looks_like_another_is_refused_also_after_a_revocation(other):
    books = opened()
    public = public_text(signer("another"))
    assert refused(books.key, other, public_key=public) == "looks_alike"
    books.revoke()
    assert refused(books.key, other, public_key=public) == "looks_alike"


@pytest.mark.parametrize("other", ["Receipt-1", "receipt-1."])
def test_a_receipt_key_that_looks_like_another_is_refused(other):
    assert refused(opened().add_receipt_key, other) == "looks_alike"


@pytest.mark.parametrize("other", ["B-1", "b-1."])
def test_an_enlistment_that_looks_like_another_of_its_provider_is_refused(other):
    books = opened()
    enlisted = {"from": "2025-01-01", "until": "2026-01-01"}
    body = {"provider": "pcl", "devices": {"x": 1}}
    books.ask(commands.EnlistProvider, **body, enlisted=enlisted | {"batch": "b-1"})
    late = {**body, "enlisted": enlisted | {"batch": other}}
    assert refused(books.ask, commands.EnlistProvider, **late) == "looks_alike"
    books.provider("other", uscc=uscc_of(5))
    books.ask(commands.EnlistProvider, **late | {"provider": "other"})


def test_a_policy_whose_version_looks_like_another_is_refused():
    books = opened()
    books.activate(SHIPPED.replace('version = "2024-12"', 'version = "v1"'))
    for version in ("V1", "v1."):
        text = SHIPPED.replace('version = "2024-12"', f'version = "{version}"')
        assert refused(books.activate, text) == "looks_alike"


@pytest.mark.parametrize("other", ["Main", "main.", "MAIN"])
def test_a_stream_that_looks_like_another_of_its_provider_is_refused(other):
    books = opened()
    books.post(stream="main")
    assert refused(books.post, stream=other) == "looks_alike"
    books.post(stream="main-2")
    books.post(stream="main")


def opened() -> Books:
    books = tests_books.opened()
    books.contract("A")
    return books


def refused(ask: Any, *words: Any, **body: Any) -> str:
    with pytest.raises(Problem) as problem:
        ask(*words, **body)
    return problem.value.code


def enterprise(name: str) -> dict[str, Any]:
    return {"uscc": BETA, "name": name, "applicant": "enterprise", "founded_on": "2019-04-01"}


def name_of(text: str) -> str:
    """The name that a command brings in."""
    body = {"uscc": ALPHA, "name": text, "kind": "enterprise", "founded_on": "2019-04-01"}
    return decode_request(json.dumps(body).encode(), RegisterEnterprise, {}).name


def reason_of_void(text: str) -> str:
    """The reason in a batch that a provider signs."""
    return signed_batch(voids=[{"id": "r", "reason": text}]).voids[0].reason


def state_of(text: str) -> str:
    """The state of a job in a batch that a provider signs."""
    times = {"start": "2025-03-01T08:00:00+08:00", "end": "2025-03-01T09:00:00+08:00"}
    record = {"id": "r", "contract": "A", "device": "x", "milli_devices": 1, "state": text}
    return signed_batch(records=[record | times]).records[0].state


def signed_batch(**items: Any) -> Batch:
    body = {"log": "kashi.test/log", "provider": "pcl", "stream": "main", "seq": 1} | items
    return decode(json.dumps(body).encode(), Batch)
