"""What holds for all answers: whom they are for, their snapshot, and that none is sent twice."""

import asyncio
from datetime import date, timedelta

import asyncpg
import pytest

from tests.asking import PAGED, as_a, right
from tests.books import ALPHA, BETA, uscc_of
from tests.services import ask, stored


@pytest.mark.parametrize(
    "path", [*PAGED, "/v1/entries?kind=usage", "/v1/receipt-key", "/v1/batches/{digest}"]
)
async def test_an_answer_that_is_the_same_need_not_be_sent_again(service, path):
    first = await service.usage([right()])
    path = path.replace("{digest}", first.json["batch"])
    answer = await service.get(path)
    assert answer.status == 200
    tag = answer.headers["ETag"]
    again = await service.get(path, If_None_Match=tag)
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert (await service.get(path, If_None_Match='"other"')).status == 200
    if "as_of" in answer.json:
        assert answer.json["as_of"]["entries"] == len(await stored(service.dsn))
        await service.usage([right("more")], seq=2)
        later = await service.get(path, If_None_Match=tag)
        assert later.status == 200
        assert later.json["as_of"]["entries"] == answer.json["as_of"]["entries"] + 2


@pytest.mark.usefixtures("past")
async def test_what_is_anothers_is_not_there(service):
    provider, enterprise = (
        await as_a(service, "provider", "other"),
        await as_a(service, "enterprise", BETA),
    )
    for path in PAGED:
        for headers, own in ((provider, "/other/"), (enterprise, BETA)):
            answer = await service.get(path, **headers)
            assert answer.code in ("not_found", "forbidden"), path
            mine = path.replace("/pcl/", "/other/").replace(ALPHA, BETA)
            if own in mine:
                assert (await service.get(mine, **headers)).status == 200, mine
    for name in ("usage", "records", "refused"):
        path = f"/v1/enterprises/{BETA}/{name}"
        for contract in ("A", "nothing"):
            answer = await service.get(f"{path}?contract={contract}", **enterprise)
            assert (answer.status, answer.code) == (404, "not_found")
        assert (await service.get(f"{path}?contract=A")).code == "unknown_contract"
    assert (await service.get(f"/v1/enterprises/{uscc_of(77)}/usage")).code == "unknown_enterprise"


async def test_no_filter_makes_a_fault(service):
    wrong = {
        "kind": ["nothing", "Usage", "%00"],
        "contract": ["", "a/b", "x" * 65, "%00", "%F0%9F%92%A9"],
        "record": ["", "a b", "x" * 129, "%00"],
        "provider": ["", ":", "%0A"],
        "batch": ["", "0", "0" * 63 + "G", "0" * 64 + "%0A"],
        "enterprise": ["", ALPHA[:-1] + "X", ALPHA.lower()],
        "after": ["-2", "x", str(2**53), ""],
        "limit": ["0", "1001"],
    }
    for name, values in wrong.items():
        for value in values:
            answer = await service.get(f"/v1/entries?{name}={value}")
            assert answer.code == "malformed", (name, value)
    for query in ("from=2025-02-30", "until=x", "from=1899-01-01", "programme=%00"):
        assert (await service.get(f"/v1/enterprises/{ALPHA}/usage?{query}")).code == "malformed"
    for query in ("year=0", "year=99999999999", "programme=A%00"):
        assert (await service.get(f"/v1/coupons?{query}")).code == "malformed"
    beyond = await service.get(f"/v1/entries?after={2**53 - 1}")
    assert (beyond.json["entries"], beyond.json["next"]) == ([], 2**53 - 1)


@pytest.mark.usefixtures("past")
async def test_a_page_is_one_snapshot(service):
    """While batches arrive, `as_of` and the counts never contradict each other."""

    async def post():
        for seq in range(300, 330):
            await service.usage([right(f"s{seq}")], seq=seq, stream="busy")

    posting = asyncio.create_task(post())
    before = len(await service.entries())
    seen = 0
    while not posting.done():
        answer = (await service.get(f"/v1/enterprises/{ALPHA}/records?limit=1000")).json
        size = answer["as_of"]["entries"]
        assert all(each["entry"] < size for each in answer["records"])
        busy = [each for each in answer["records"] if each["entry"] >= before]
        assert size - before <= 2 * len(busy) + 2
        seen += bool(busy)
    await posting
    assert seen


def test_dates_of_days_count_from_1970():
    from meter.values.units import day_of, day_start, format_date

    for day in range(-30_000, 40_000, 997):
        assert format_date(day_start(day)) == str(date(1970, 1, 1) + timedelta(days=day))
        assert day_of(day_start(day)) == day_of(day_start(day + 1) - 1) == day


async def test_the_database_takes_no_second_row_for_a_payload(service):
    await service.usage([right()])
    with pytest.raises(asyncpg.UniqueViolationError):
        await ask(
            service.dsn,
            "INSERT INTO meter.batch SELECT provider, stream, seq + 1, entry + 1, entries, payload,"
            " envelope, receipt, signature FROM meter.batch",
        )
