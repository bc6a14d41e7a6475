"""Lists come page by page, each item once, and a cursor is good for its own list alone."""

import base64
import hmac
import json
from itertools import count

import pytest

from meter.api import get_enterprise, get_official, get_provider
from tests.asking import PAGED, Past, everything, right
from tests.books import ALPHA
from tests.books import summary as summary_of

LISTS = {
    "/v1/providers/pcl/rejected": "rejected",
    f"/v1/enterprises/{ALPHA}/records": "records",
    f"/v1/enterprises/{ALPHA}/records?contract=A": "records",
    f"/v1/enterprises/{ALPHA}/refused": "refused",
    "/v1/entries?kind=usage": "entries",
    "/v1/entries?contract=A": "entries",
}


@pytest.mark.parametrize("path", LISTS)
async def test_paging_gives_each_item_once_and_in_order_while_new_ones_arrive(service, path):
    past = Past(service, 5)
    await past.steps(25)
    arrivals = count()

    async def arrive():
        if next(arrivals) < 12:
            await past.step()

    name = LISTS[path]
    found = await everything(service, path, name, 1, arrive)
    assert next(arrivals) > 5
    afterwards = await everything(service, path, name)
    stable = ("batch", "what", "id", "code", "entry", "number", "seq")
    assert [[each.get(key) for key in stable] for each in found] == [
        [each.get(key) for key in stable] for each in afterwards
    ]


@pytest.mark.parametrize("path", LISTS)
async def test_the_end_of_a_list_is_where_to_ask_again(service, path):
    past = Past(service, 6)
    found = []
    mark, after = "&" if "?" in path else "?", ""
    for _ in range(12):
        await past.steps(2)
        answer = (await service.get(path + (f"{mark}after={after}" if after else ""))).json
        assert answer["more"] is False
        found += answer[LISTS[path]]
        after = answer["next"]
    everywhere = await everything(service, path, LISTS[path])
    assert len(found) == len(everywhere)
    stable = ("batch", "what", "id", "code", "entry", "number", "seq")
    assert [[each.get(key) for key in stable] for each in found] == [
        [each.get(key) for key in stable] for each in everywhere
    ]


def test_every_list_is_paged_and_looked_at_here():
    modules = (get_provider, get_enterprise, get_official)
    paths = {route.path for module in modules for route in module.ROUTES}
    named = {
        path.replace("pcl-1", "{keyid}")
        .replace("pcl", "{provider}")
        .replace("main", "{stream}")
        .replace(ALPHA, "{uscc}")
        for path in PAGED
    }
    others = {"/v1/receipt-key", "/v1/batches/{digest}", "/v1/batches/{digest}/envelope"}
    assert paths - others == named


async def fill(service) -> None:
    """Give every list two lines."""
    await service.usage([right(), right("x", "X"), right("w", "W", milli_devices=2_000)])
    await service.usage(seq=2)
    for seq, day in enumerate(("2025-02-01", "2025-02-02"), 1):
        answer = await service.usage(stream="days", seq=seq, summary=summary_of(day))
        assert answer.status == 200, answer.body


@pytest.mark.parametrize("path", PAGED)
async def test_a_cursor_is_good_for_its_question_alone_and_only_as_it_is(service, path):
    await fill(service)
    cursor = (await service.get(f"{path}?limit=1")).json["next"]
    assert cursor.isascii()
    assert (await service.get(f"{path}?after={cursor}")).status == 200
    changed = [cursor[:i] + other + cursor[i + 1 :] for i in range(len(cursor)) for other in "A_7"]
    changed += [cursor[:i] for i in range(1, len(cursor))]
    changed += [cursor + "A", cursor + "=", "A" + cursor, "0", "-1", "41", "a b", "%00", "é"]
    for other in changed:
        if other != cursor:
            assert (await service.get(f"{path}?after={other}")).code == "malformed", other
    for other in PAGED:
        if other != path:
            assert (await service.get(f"{other}?after={cursor}")).code == "malformed"
    for limit in ("0", "1001", "-1", "x", ""):
        assert (await service.get(f"{path}?limit={limit}")).code == "malformed", limit
    assert (await service.get(f"{path}?limit=1000")).status == 200
    assert (await service.get(f"{path}?nonsense=1")).code == "malformed"


async def test_a_number_in_a_url_has_one_spelling(service):
    for number in ("1e1", "1.0", "010", "+1", "1_0", "%201", "0x1", "1e400", "Infinity", "９"):
        for query in ("/v1/entries?limit=", "/v1/entries?after=", "/v1/coupons?year="):
            assert (await service.get(query + number)).code == "malformed", query + number
    for query in ("/v1/entries?limit=10", "/v1/entries?after=-1", "/v1/coupons?year=2025"):
        assert (await service.get(query)).status == 200, query


async def test_a_cursor_belongs_to_its_filters(service):
    path = f"/v1/enterprises/{ALPHA}/usage"
    await service.usage([right()])
    cursor = (await service.get(f"{path}?contract=A&from=2025-01-01")).json["next"]
    same = f"{path}?from=2025-01-01&after={cursor}&contract=A&limit=7"
    assert (await service.get(same)).status == 200
    for other in ("contract=A", "contract=W&from=2025-01-01", "contract=A&from=2025-01-02"):
        assert (await service.get(f"{path}?{other}&after={cursor}")).code == "malformed"


@pytest.mark.parametrize(
    "place",
    [
        [2**63],
        [-(2**63)],
        [10**30],
        [1.5],
        [True],
        [None],
        ["x"],
        [],
        [1, 2, 3],
        [[1]],
        {"a": 1},
        7,
    ],
)
async def test_a_forged_place_is_refused_even_with_the_right_check(service, place):
    path = "/v1/withheld"
    forged = made_cursor(service, path, place)
    assert (await service.get(f"{path}?after={forged}")).code == "malformed"


@pytest.mark.parametrize("name", ["\0", "\x1f", "\ud800", "é", "x" * 200])
async def test_a_forged_name_is_refused_even_with_the_right_check(service, name):
    path = "/v1/providers/pcl/streams"
    forged = made_cursor(service, path, [name])
    assert (await service.get(f"{path}?after={forged}")).code == "malformed"


def made_cursor(service, path, place, key=None):
    """Return a cursor as a thief of the key could make it, or with another key."""
    key = key or base64.b64decode(service.folder.cursor_key.read_text())
    data = json.dumps(place, separators=(",", ":")).encode()
    text = json.dumps([path, []], separators=(",", ":")).encode() + data
    return (
        base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")[:16] + data).decode().rstrip("=")
    )


async def place_of(service, path):
    """Return the place that a path's cursor holds."""
    text = (await service.get(f"{path}?limit=1")).json["next"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[16:])


@pytest.mark.parametrize("path", PAGED)
async def test_a_cursor_may_carry_any_number_and_the_service_does_not_fail(service, path):
    await fill(service)
    place = await place_of(service, path)
    for number in (0, -1, 2**31, -(2**31) - 1, 2**53 - 1, -(2**53) + 1):
        other = [number if isinstance(part, int) else part for part in place]
        answer = await service.get(f"{path}?after={made_cursor(service, path, other)}")
        assert answer.status == 200 or answer.code == "moved", (other, answer.body)
    if any(isinstance(part, int) for part in place):
        for number in (2**53, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**40):
            other = [number if isinstance(part, int) else part for part in place]
            answer = await service.get(f"{path}?after={made_cursor(service, path, other)}")
            assert answer.code == "malformed", other


async def test_a_cursor_is_authenticated_by_a_key_that_its_owner_alone_can_read(service):
    file = service.folder.cursor_key
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    await service.usage([right(), right("x", "X")])
    path = "/v1/withheld"
    own = (await service.get(f"{path}?limit=1")).json["next"]
    place = await place_of(service, path)
    assert own == made_cursor(service, path, place)
    for key in (bytes(32), b""):
        forged = made_cursor(service, path, place, key or b"another")
        assert (await service.get(f"{path}?after={forged}")).code == "malformed"
