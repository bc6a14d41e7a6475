"""Forms that are not taken, figures that have changed meanwhile, and lists as CSV."""

import csv
import io

import pytest

from meter.console import form, page
from meter.console.formats import LANGUAGES
from meter.console.words import words
from meter.rules.commands import EnterClaim, RegisterProject
from meter.values.problems import Problem
from meter.values.strict import decode_request
from tests.books import ALPHA
from tests.people import sign_in
from tests.services import serving


def why(kind, body):
    """Return the problem that the API has with a command."""
    with pytest.raises(ValueError, match=r".") as refused:
        decode_request(body, kind, {})
    return Problem("malformed", str(refused.value))


@pytest.mark.parametrize(
    ("kind", "body", "name", "fault"),
    [
        (RegisterProject, b'{"id":"a b","title":"t"}', "id", "fault_id"),
        (RegisterProject, b'{"id":"a"}', "title", "fault_text"),
        (EnterClaim, b'{"id":"a","item":"b","year":2025,"amount":""}', "amount", "fault_needed"),
        (EnterClaim, b'{"id":"a","item":"b","year":"x"}', "year", "fault_text"),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_wrong_stands_at_its_field_and_says_what_it_takes(
    kind, body, name, fault, language
):
    values, said = {"id": "a b", "title": "<b>", "year": "x", "amount": " "}, words(language)
    found = form.refused(values, why(kind, body), "not said", said)
    assert found.faults == {name: said[fault]}
    assert found.value("title") == "<b>"
    assert found.value("other") == ""


def test_another_problem_is_the_forms_as_a_whole_or_of_the_field_that_it_names():
    said = words("zh")
    unknown = why(RegisterProject, b'{"id":"a","title":"t","x":1}')
    for problem in (unknown, Problem("cap_exceeded", "no more - at `$.id`")):
        found = form.refused({"id": "a"}, problem, "不可", said)
        assert found.faults == {form.NO_FIELD: "不可"}
    of_field = Problem("malformed", "the amount is zero", field="amount")
    assert form.refused({"amount": "0.00"}, of_field, "金额为零", said).faults == {
        "amount": "金额为零"
    }


def test_the_detail_of_a_problem_is_told_in_the_language_of_the_page():
    assert page.told("no contract TC-1", "zh") == "没有合同 TC-1"
    assert page.told("700.00 is above 500.00", "zh") == "700.00 元超过上限 500.00 元"
    assert page.told("in the URL: not a date YYYY-MM-DD: '5' - at `$.from`", "zh") == (
        "网址中：不是 YYYY-MM-DD 形式的日期：'5'（`$.from`）"
    )
    assert page.told("of no text", "zh") == "of no text"
    assert page.told("no contract TC-1", "en") == "no contract TC-1"


def test_the_form_is_shown_again_with_its_values_and_a_focused_summary():
    template = page._ENVIRONMENT.from_string(
        '{% from "form.html" import faults, text with context %}'
        '{{ faults(form) }}{{ text(form, "id", "Id") }}{{ text(form, "title", "Title") }}'
    )
    filled = form.Filled({"id": "a b", "title": '"<b>'}, {"id": "not <an> id", "": "and more"})
    shown = template.render(form=filled, w=type("W", (), words("en")))
    assert '<div class="faults" id="faults" role="alert" tabindex="-1" autofocus>' in shown
    assert '<a href="#field-id">not &lt;an&gt; id</a>' in shown
    assert "<li>and more</li>" in shown
    assert 'value="a b" aria-invalid="true" aria-describedby="fault-id"' in shown
    assert 'value="&#34;&lt;b&gt;">' in shown
    assert "faults" not in template.render(form=form.Filled(), w=type("W", (), words("en")))


def test_a_seal_is_of_its_figures_in_their_order():
    assert form.seal("1", "2") == form.seal("1", "2")
    assert len({form.seal("1", "2"), form.seal("2", "1"), form.seal("12"), form.seal("1")}) == 4


async def test_an_official_ends_a_person_as_confirmed(database, tmp_path):
    async with serving(database, tmp_path) as service:
        clerk, firm = await sign_in(service, "authority"), await sign_in(service, "auditor")
        other = await sign_in(service, "enterprise", ALPHA, "=陈,<b>")
        listed = (await service.get("/en/people", **clerk.headers)).body.decode()
        path = f"/en/people/{other.id}/end"
        assert f'<a href="{path}">End</a>' in listed
        assert f"/en/people/{clerk.id}/end" not in listed
        assert "=陈,&lt;b&gt;" in listed
        assert clerk.id in listed.partition("Who speaks for the authority")[2]
        assert "/end" not in (await service.get("/en/people", **firm.headers)).body.decode()
        shown = (await service.get(path, **clerk.headers)).body.decode()
        (seal,) = {line.split('"')[5] for line in shown.splitlines() if 'name="seal"' in line}
        # Meanwhile somebody signs out, so that the figures are others.
        await other.send(service, "/en/sign-out")
        stale = await clerk.send(service, path, seal=seal)
        assert stale.status == 409
        assert words("en")["stale"] in stale.body.decode()
        people = (await service.get("/en/people.csv", **clerk.headers)).body.decode("utf-8-sig")
        rows = {row[0]: row for row in csv.reader(io.StringIO(people))}
        assert rows[other.id] == [other.id, "enterprise", ALPHA, "'=陈,<b>", "", "", "0", ""]
        (seal,) = {
            line.split('"')[5] for line in stale.body.decode().splitlines() if 'name="seal"' in line
        }
        assert (await clerk.send(service, path, seal=seal)).status == 303
        ended = (await service.get("/en/people", **clerk.headers)).body.decode()
        assert "ended 1 March 2025" in ended
        assert (await clerk.send(service, path, seal=seal)).status == 409
        refused = await firm.send(service, path, seal=seal)
        assert (refused.status, refused.code) == (403, "forbidden")
        assert (await clerk.send(service, f"/en/people/{clerk.id}/end")).code == "not_found"
