"""The access log as a file of any length, and its days with their digests on the page."""

import csv
import io

import aiohttp
import pytest

from meter.api import get_access_log
from meter.console import access_log, export
from meter.console.words import words
from meter.values.problems import Problem
from tests.accesses import digests
from tests.meter.test_claim_pages import text_of
from tests.people import sign_in
from tests.services import ask, serving

NOON = "2025-03-02T12:00:00+08:00"
DAY = 20_149  # 2025-03-02, days since 1970-01-01
ROWS = """
INSERT INTO meter.access (day, at, token, person, role, route, subjects, count)
SELECT $1::integer - 1 + n % 2, 1740844800000000 + n * 60000000, 'bureau', '', 'auditor',
    '/v1/log', ARRAY['entry:' || n], 1 FROM generate_series(1, $2::bigint) AS numbers (n)
"""


async def test_a_file_has_more_rows_than_other_lists_page_by_page(database, tmp_path, monkeypatch):
    held, lines = [], access_log.csv_lines

    def counted(rows):
        rows = list(rows)
        held.append(len(rows))
        return lines(rows)

    monkeypatch.setattr(access_log, "csv_lines", counted)
    monkeypatch.setattr(export, "MAX_EXPORTED", 4_000)
    count = export.MAX_EXPORTED + 500
    async with serving(database, tmp_path, NOON) as service:
        await ask(database, ROWS, DAY, count)
        bureau = await sign_in(service, "auditor")
        path = "/en/access-log.csv?from=2025-03-01&until=2025-03-03&token=bureau"
        file = await service.get(path, **bureau.headers)
        assert (file.status, "Content-Length" in file.headers) == (200, False)
        rows = list(csv.DictReader(io.StringIO(file.body.decode("utf-8-sig"))))
        assert len({row["subjects"] for row in rows}) == len(rows) == count
        assert [row["day"] for row in rows] == sorted(row["day"] for row in rows)
        assert (max(held), sum(held)) == (access_log.EXPORTED, count)


async def test_a_file_that_cannot_be_read_to_its_end_is_cut_off(database, tmp_path, monkeypatch):
    read, asked = get_access_log.accesses, []

    async def away(*words):
        asked.append(words)
        if len(asked) == 2:
            raise Problem("unavailable", "the database is away")
        return await read(*words)

    monkeypatch.setattr(access_log, "EXPORTED", 10)
    monkeypatch.setattr(get_access_log, "accesses", away)
    async with serving(database, tmp_path, NOON) as service:
        await ask(database, ROWS, DAY, 30)
        bureau = await sign_in(service, "auditor")
        with pytest.raises(aiohttp.ClientPayloadError):
            await service.get("/en/access-log.csv?token=bureau", **bureau.headers)
        asked.clear()
        asked.append(None)  # the first page is refused: there is no file
        refused = await service.get("/en/access-log.csv?token=bureau", **bureau.headers)
        assert (refused.status, refused.code) == (503, "unavailable")


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_page_is_of_one_day_with_its_digest_once_there_is_one(database, tmp_path, language):
    said = words(language)["access_digest"]
    async with serving(database, tmp_path, NOON) as service:
        await ask(database, ROWS, DAY, 5)
        await digests(service).look()  # of 2025-03-01
        bureau = await sign_in(service, "auditor")
        (entry,) = [
            (number, each)
            for number, each in enumerate(await service.entries())
            if each.kind == "access_digest"
        ]
        path = f"/{language}/access-log?day=2025-03-0"
        shown = await service.get(f"{path}1&token=bureau", **bureau.headers)
        assert text_of(shown).count("/v1/log") == 2
        assert f"{said} 2025-03-01: 2 · #{entry[0]} {entry[1].sha256}" in text_of(shown)
        assert f'href="{path}1"' in shown.body.decode()
        shown = await service.get(f"{path}2&token=bureau", **bureau.headers)
        assert (text_of(shown).count("/v1/log"), said in text_of(shown)) == (3, False)
        service.clock.set("2025-03-03T12:00:00+08:00")
        await digests(service).look()
        bureau = await sign_in(service, "auditor")
        for day in (1, 2):
            shown = await service.get(f"{path}{day}&token=bureau", **bureau.headers)
            assert f"{said} 2025-03-0{day}: " in text_of(shown)
        file = await service.get(f"/{language}/access-log.csv?day=2025-03-01", **bureau.headers)
        assert file.body.count(b"\r\n2025-03-01,") == 2
        wrong = await service.get(f"/{language}/access-log?day=x", **bureau.headers)
        assert (wrong.status, wrong.code) == (400, "malformed")
