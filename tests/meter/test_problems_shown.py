"""Problems on pages: the sentence of a code in the language of the page, with its detail."""

import html

import pytest

from meter.languages import Speech
from meter.values.problems import CODES
from tests.books import ALPHA, BETA
from tests.meter.test_claim_pages import text_of
from tests.meter.test_month_pages import keyed
from tests.people import sign_in
from tests.services import serving

NOON = "2025-03-10T12:00:00+08:00"


def test_each_code_has_a_sentence_in_both_languages():
    chinese = {code: Speech("zh").say(title) for code, (_, title) in CODES.items()}
    assert [code for code, (_, title) in CODES.items() if chinese[code] == title] == []
    assert len(set(chinese.values())) == len(CODES)


@pytest.mark.parametrize(
    ("language", "meaning", "detail"),
    [
        ("zh", "没有登记", "合同 A 没有 pcl 的记录 r9"),
        ("en", "is registered", "no record r9 of pcl for A"),
    ],
)
async def test_a_page_and_a_form_say_what_a_code_means(
    database, tmp_path, language, meaning, detail
):
    def sentence(code: str) -> str:
        return html.unescape(Speech(language).say(CODES[code][1]))

    assert meaning in sentence("unknown_enterprise")
    async with serving(database, tmp_path, NOON) as service:
        await service.open_books()
        clerk = await sign_in(service, "authority")
        refused = await service.get(f"/{language}/enterprises/{BETA}", **clerk.headers)
        assert refused.status == 404
        assert sentence("unknown_enterprise") in text_of(refused)
        assert refused.code == "unknown_enterprise"
        firm = await sign_in(service, "enterprise", ALPHA)
        path = f"/{language}/enterprises/{ALPHA}/months"
        form = keyed(await service.get(path, **firm.headers), step="dispute", contract="A", id="r9")
        again = await firm.send(service, path, **form, reason="x")
        assert (again.status, again.code) == (404, "unknown_record")
        assert sentence("unknown_record") in text_of(again)
        assert detail in text_of(again)
