"""Posts of usage are answered before all routing, as the route itself answers them."""

import io
import json
from collections import Counter

import pytest

from meter.api import post_usage
from meter.host import logs
from meter.values.problems import Problem
from tests.attacking import Raw
from tests.books import record
from tests.meter.test_metrics import scrape
from tests.services import HOUR, Service, serving

FIRST, BY_ROUTE = "/v1/usage", "/v1/usage?"  # an empty query is none, and its URL another text
OF_ITS_MOMENT = {"Date", "Kashi-Time"}
COUNTED = {"kashi_batches_total", "kashi_refused_requests_total", "kashi_signature_seconds_count"}

Response = tuple[int, dict[str, str], bytes]


async def posted(service: Service, path: str, data: bytes, *lines: str) -> Response:
    """Post on a connection of its own; return the whole response without the time."""
    length = f"Content-Length: {len(data)}"
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: kashi.test", length, *lines, "", ""])
    raw = await Raw.opened(service, head.encode() + data)
    answer = await raw.answer()
    raw.abort()
    headers = {name: "" if name in OF_ITS_MOMENT else text for name, text in answer.headers.items()}
    return answer.status, headers, answer.body


class Watched:
    """What a service logs of requests and counts of posts, each time since the last."""

    def __init__(self, service: Service, log: io.StringIO) -> None:
        self._service = service
        self._log = log
        self._counts: Counter[tuple[str, ...]] = Counter()

    async def since(self) -> tuple[list[dict], Counter[tuple[str, ...]]]:
        events = [json.loads(line) for line in self._log.getvalue().splitlines()]
        self._log.truncate(self._log.seek(0))
        lines = [{k: v for k, v in each.items() if k != "time"} for each in events]
        found = await scrape(self._service)
        counts = Counter({name: n for name, n in found.items() if name[0] in COUNTED})
        before, self._counts = self._counts, counts
        return [each for each in lines if each["event"] in {"refused", "fault"}], counts - before


async def test_each_post_is_answered_logged_and_counted_as_by_its_route(database, tmp_path):
    log = io.StringIO()
    async with serving(database, tmp_path) as service:
        await service.open_books()
        good = service.envelope([record("r1", "A", *HOUR, 64_000)])
        other = service.envelope([record("r2", "A", *HOUR, 64_000)])
        assert (await service.post(FIRST, good, None)).status == 200  # from now on, a replay
        requests = [
            (200, good),
            (409, other),  # of which the log names the batch
            (400, b"{"),
            (401, service.envelope(keyid="nobody")),
            (400, good, "Idempotency-Key: a", "Idempotency-Key: b"),
            (415, good, "Content-Encoding: gzip"),
            (200, good, "X-Other: a", "x-other: b"),
            (200, good, "Idempotency-Key: a", "Content-Encoding: identity"),
            (200, good, "Connection: close"),
            (417, good, "Expect: 200-ok"),
        ]
        with logs.write_to(log):
            watched = Watched(service, log)
            await watched.since()
            for status, data, *lines in requests:
                first = await posted(service, FIRST, data, *lines), await watched.since()
                routed = await posted(service, BY_ROUTE, data, *lines), await watched.since()
                assert first == routed
                assert (first[0][0], "Kashi-Time" in first[0][1]) == (status, True)


@pytest.mark.parametrize("error", [RuntimeError("geheim"), Problem("unavailable", "away")])
async def test_what_fails_within_is_told_as_by_its_route(database, tmp_path, monkeypatch, error):
    def failing(*_: object) -> None:
        raise error

    log = io.StringIO()
    async with serving(database, tmp_path) as service:
        await service.open_books()
        with logs.write_to(log):
            watched = Watched(service, log)
            await watched.since()
            monkeypatch.setattr(post_usage, "verified", failing)
            first = await posted(service, FIRST, b"x"), await watched.since()
            routed = await posted(service, BY_ROUTE, b"x"), await watched.since()
        assert without_frames(first) == without_frames(routed)
        assert first[0][0] == (500 if isinstance(error, RuntimeError) else 503)


def without_frames(told: tuple[Response, tuple[list[dict], Counter]]) -> object:
    """Return the same without the lines that an error went through, which differ by the way."""
    response, (lines, counts) = told
    return response, [{k: v for k, v in each.items() if k != "where"} for each in lines], counts


async def test_only_posts_at_the_bare_url_go_before_the_routing(database, tmp_path):
    async with serving(database, tmp_path) as service:
        for method, path, status in (
            ("GET", "/v1/usage", 405),
            ("PUT", "/v1/usage", 405),
            ("POST", "/v1/usage/", 404),
            ("POST", "/v1/usage?wait=never", 400),
            ("POST", "/v1/usage?wait=published", 400),  # by its body
        ):
            assert (await service.send(method, path, b"{}")).status == status, path
