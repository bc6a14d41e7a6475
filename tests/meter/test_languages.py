"""What `kashi` tells in Chinese: each text has a translation, and JSON knows no language."""

import os
import subprocess
import sys

import pytest
from babel.messages.pofile import read_po

from deploy import catalogue
from meter.languages import MAX_PARTS, Speech, Template, language_of

ZH, EN = Speech("zh"), Speech("en")


@pytest.fixture(scope="module")
def texts():
    return catalogue.texts()


@pytest.fixture
def known():
    with (catalogue.REPOSITORY / catalogue.CATALOGUE).open("rb") as file:
        return read_po(file, locale="zh")


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zha_CN"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_TW.UTF-8"}, "zh"),
    ],
)
def test_the_first_variable_of_a_locale_that_is_set_chooses(environment, language):
    assert language_of(environment) == language


def test_each_text_of_the_code_has_a_translation_with_the_same_facts(texts, known):
    assert list(catalogue.find_faults(texts, known)) == []
    assert len(texts) > 400


@pytest.mark.parametrize(
    ("translation", "fault"),
    [
        ("", "no translation of 'good: root {root}'"),
        ("相符：根哈希 {roots}", "other facts in the translation of 'good: root {root}'"),
        ("相符", "other facts in the translation of 'good: root {root}'"),
    ],
)
def test_a_text_without_its_translation_or_its_facts_is_found(texts, known, translation, fault):
    known.get("good: root {root}").string = translation
    (found,) = catalogue.find_faults(texts, known)
    assert found == f"meter/auditor/verdict.py: {fault}"


def test_a_translation_of_what_no_code_says_is_found(texts, known):
    known.add("gone", "已删除")
    (found,) = catalogue.find_faults(texts, known)
    assert found.endswith("no code says 'gone'")


def test_a_new_text_of_the_code_is_gathered_with_its_facts_named():
    source = """
def check(entry):
    detail = f"at {entry.at!r:.9}, after {len(self._seen)} and {entry.at}"
    raise Violation("late", detail)
say("verifying")
told = Other("not this")
"""
    assert list(catalogue.texts_of(source)) == [
        "verifying",
        "at {at}, after {seen} and {at2}",
    ]


def test_each_sentence_is_retold_by_the_text_that_it_was_made_from(known):
    """Facts of letters that stand in no text: only the right template gives them back."""
    for message in known:
        text = str(message.id)
        if not text or text.isspace():
            continue
        names = Template.of(text, "").names
        facts = {name: f"Ω{number}" for number, name in enumerate(names)}
        told = ZH.retell(text.format(**facts))
        assert told in translations_of(known, text, facts), text


def translations_of(known, text, facts):
    """Return the translations of all texts that give one sentence with these facts."""
    sentence = text.format(**facts)
    found = set()
    for other in known:
        template = Template.of(str(other.id), str(other.string))
        told = template.facts_of(sentence) if other.id else None
        if told is not None and sorted(told.values()) == sorted(facts.values()):
            found.add(template.translation.format(**told))
    return found


def test_an_error_within_an_error_is_retold_and_codes_stay():
    inner = "bad_proof: the proof is too short"
    assert ZH.retell(inner) == "bad_proof: 证明过短"
    assert ZH.retell(f"the evidence is false: {inner}") == "证据不实：bad_proof: 证明过短"
    persons = "key k1 of provider pcl, by wang, proposed by li: entry 41"
    assert ZH.retell(persons) == "供应方 pcl 的密钥 k1，由 li 提出、wang 复核确认：条目 41"
    differences = "cost is 1, not 2; at is 3, not 4"
    assert ZH.retell(differences) == "cost 为 1，而不是 2；at 为 3，而不是 4"


def test_what_no_text_gives_or_two_ways_split_stays_as_it_is():
    for sentence in ("", "Errno 28", "row 1: a b is no number: c d is no number: 3"):
        assert ZH.retell(sentence) == sentence
        assert EN.retell(sentence) == sentence


def test_a_sentence_of_too_many_parts_is_not_divided():
    """Each part costs a search of all texts, and pages tell what strangers wrote into a URL."""
    part = "cost is 1, not 2"
    most = "; ".join([part] * MAX_PARTS)
    assert ZH.retell(most) == "；".join(["cost 为 1，而不是 2"] * MAX_PARTS)
    assert "；" not in ZH.retell(f"{most}; {part}")


def test_a_long_hostile_sentence_costs_little():
    for sentence in ("a: " * 600, "; " * 900, "size 1: a, by b: entry 1; " * 70, "x" * 10**6):
        assert ZH.retell(sentence) is not None


def test_the_compiled_catalogue_has_the_same_bytes_each_time(tmp_path):
    compiled = (catalogue.REPOSITORY / catalogue.CATALOGUE).with_suffix(".mo")
    copy = tmp_path / catalogue.CATALOGUE
    copy.parent.mkdir(parents=True)
    copy.write_bytes(compiled.with_suffix(".po").read_bytes())
    path = os.pathsep.join([str(catalogue.REPOSITORY), *filter(None, sys.path)])
    for seed, zone in (("1", "UTC"), ("2", "Asia/Shanghai")):
        subprocess.run(
            [sys.executable, "-c", "from deploy.compiling import translate; translate()"],
            cwd=tmp_path,
            env={"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": path},
            check=True,
        )
        assert copy.with_suffix(".mo").read_bytes() == compiled.read_bytes()
