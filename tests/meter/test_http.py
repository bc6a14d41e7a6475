"""The service over HTTP: its routes, who may ask, and the form of requests and problems."""

import asyncio
import copy
import gzip
import json
import random
from typing import Any

from meter.api import get, post
from meter.host.tokens import Identity
from meter.values.problems import CODES
from meter.wire import dsse
from meter.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS
from tests.books import ALPHA, signer, void
from tests.http_commands import (
    BALANCE,
    COMMANDS,
    COUPON,
    POLICY,
    PROVIDER,
    QUESTIONS,
    RECORD,
    problem,
    up_to_coupon,
)
from tests.services import ORIGIN, Answer, Service, check_sums, serving, stored


def test_every_route_is_looked_at_here():
    posts = {route.path for route in post.ROUTES}
    named = {
        path.replace("/pcl/", "/{provider}/")
        .replace("/pcl-1/", "/{keyid}/")
        .replace("/TC-2025-0001/", "/{contract}/")
        .replace("/P/", "/{project}/")
        for path, _ in COMMANDS
    }
    elsewhere = {"/v1/providers/{provider}/enlistments", "/v1/records/release"}  # test_openapi
    elsewhere |= {
        *("/v1/log-keys", "/v1/log-keys/retire"),  # test_keys
        *("/v1/receipt-keys", "/v1/receipt-keys/retire"),
        *("/v1/awards", "/v1/awards/{award}/change"),  # test_awards_http
        "/v1/enterprises/{uscc}/succeed",  # test_successions
        *("/v1/persons", "/v1/persons/{id}/end", "/v1/tokens", "/v1/tokens/{token}/end"),
        *(f"/v1/proposals{rest}" for rest in ("", "/{proposal}/confirm", "/{proposal}/end")),
    }  # test_proposals
    elsewhere |= {path for path in posts if path.startswith("/v1/claims")}  # test_claims_http
    elsewhere |= {"/v1/coupons/expire", "/v1/years/close"}  # test_periods
    elsewhere |= {"/v1/allocations"}  # test_allocations
    elsewhere |= {path for path in posts if path.startswith(("/v1/months", "/v1/records/dispute"))}
    elsewhere |= {"/v1/enterprises/{uscc}/amend", "/v1/providers/{provider}/amend"}
    elsewhere |= {"/v1/recoveries", "/v1/invoices/red", "/v1/items/{item}/forfeits"}
    assert posts == named | elsewhere
    assert {route.path for route in get.ROUTES} == {
        "/v1/enterprises/{uscc}/balance",
        "/v1/contracts/{contract}",
        "/v1/entries",
        "/v1/entries/{entry}",
        "/v1/entries/{entry}/bytes",
        "/healthz",
        "/readyz",
        "/metrics",
    }


# Roles


async def test_authority_and_auditors_need_a_token_and_learn_nothing_without(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        token = service.folder.token_of("authority").read_text().strip()
        service.http.headers.clear()
        for header in (
            *(None, "", "Bearer", "Bearer ", "Bearer .", "Bearer x", "Basic eDp5"),
            *(f"Bearer  {token}", f"Bearer {token}x", f"Bearer {token[:-1]}"),
            *("Bearer authority-1.", f"Bearer {token.partition('.')[2]}", "Bearer é.é"),
            *(f"Bearer authority-2.{token.partition('.')[2]}", "Bearer " + "x." * 4000),
        ):
            headers = {} if header is None else {"Authorization": header}
            for path, body in COMMANDS:
                answer = await service.post(path, body, **headers)
                problem(answer, "unauthorized", 401)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            for path in QUESTIONS:
                answer = await service.get(path, **headers)
                problem(answer, "unauthorized", 401)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await service.get(BALANCE, Authorization=f"Bearer {token}")).status == 200
        assert len(await stored(database)) == 7


async def test_a_token_of_bytes_that_are_no_text_is_just_a_wrong_token(database, tmp_path):
    async with serving(database, tmp_path) as service:
        for token in (b"\xff.x", b"authority-1.\xff", b"\xed\xa0\x80.\xed\xa0\x80"):
            answer = await raw(
                service,
                b"GET /v1/entries HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Authorization: Bearer " + token + b"\r\n\r\n",
            )
            assert answer.startswith(b"HTTP/1.1 401 "), answer


async def raw(service: Service, request: bytes) -> bytes:
    host, _, port = service.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_checkpoint_and_state_of_the_service_are_public(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.published()
        service.http.headers.clear()
        for path in ("/log/checkpoint", "/healthz", "/readyz", "/metrics"):
            assert (await service.get(path)).status == 200


async def test_a_token_of_another_officer_signs_with_its_own_name(database, tmp_path, monkeypatch):
    from meter.service import admin as running

    async with serving(database, tmp_path) as service:
        monkeypatch.setenv("KASHI_DATABASE_URL", database)
        await service.ask("/v1/tokens", id="officer-2", holder="authority")
        token = await running.add_token(service.folder, Identity("officer-2", "authority"))
        assert token.startswith("officer-2.")
        answer = await service.post("/v1/policies", POLICY, Authorization=f"Bearer {token}")
        assert answer.status == 201
        assert (await service.get("/v1/entries/2")).json["entry"]["by"] == "officer-2"


# The form of requests


async def test_an_unknown_url_is_404_and_a_wrong_method_405_with_allow(database, tmp_path):
    async with serving(database, tmp_path) as service:
        for path in ("/nope", "/nope/", "/v1", "/v1/usage/", "/v1/contracts//freeze", "/v2/usage"):
            for method in ("GET", "POST"):
                problem(await service.send(method, path), "not_found", 404)
        for path, allowed in (
            ("/v1/usage", {"POST"}),
            ("/v1/coupons/withdraw", {"POST"}),
            ("/v1/coupons", {"GET", "HEAD", "POST"}),
            ("/v1/entries", {"GET", "HEAD"}),
            ("/log/checkpoint", {"GET", "HEAD"}),
        ):
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - allowed:
                answer = await service.send(method, path)
                problem(answer, "method_not_allowed", 405)
                assert set(answer.headers["Allow"].split(",")) == allowed


HOSTILE_BODIES = [
    *(b"", b"{", b"[]", b"null", b"1", b'"x"', b"\x00", b"\xff\xfe", b"{}{}", b"{} x"),
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xef\xbb\xbf{}",
    json.dumps(COUPON).encode("utf-16"),
    json.dumps(COUPON).encode() + b"\x00",
    json.dumps(COUPON).replace("2025", "2025.0").encode(),
    json.dumps(COUPON).replace("2025", "2.025e3").encode(),
    json.dumps(COUPON).replace("2025", "NaN").encode(),
    json.dumps(COUPON).replace("2025", "1" * 5_000).encode(),
    json.dumps(COUPON).replace("2025", "true").encode(),
    json.dumps(COUPON).replace("2025", '"2025"').encode(),
    json.dumps(COUPON).replace("}", ',"year":2025}').encode(),
    json.dumps(COUPON).replace("}", ',"amount":"1.00"}').encode(),
    json.dumps(COUPON).replace("training-coupon", "training\\ud800coupon").encode(),
    json.dumps(COUPON).replace("training-coupon", "training\\u0000").encode(),
    json.dumps(COUPON).replace("100000.00", "100000").encode(),
    json.dumps(COUPON).replace('"100000.00"', "100000.00").encode(),
    json.dumps(COUPON).replace("100000.00", "-1.00").encode(),
    json.dumps(COUPON).replace("100000.00", "0.00").encode(),
    json.dumps(COUPON).replace("100000.00", "٥.٠٠").encode(),
    json.dumps(COUPON).replace(ALPHA, ALPHA.lower()).encode(),
    json.dumps(COUPON | {"unknown": 1}).encode(),
    json.dumps(COUPON | {"reason": ""}).encode(),
    json.dumps(COUPON | {"reason": None}).encode(),
    json.dumps({"amount": "1.00"}).encode(),
]


async def test_a_body_that_is_not_of_the_documented_form_is_400(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        before = await stored(database)
        for body in HOSTILE_BODIES:
            problem(await service.post("/v1/coupons", body), "malformed", 400)
        nested = json.dumps(PROVIDER).replace('"until"', '"until":"2026-01-01","until"')
        problem(await service.post("/v1/providers", nested.encode()), "malformed", 400)
        twice = b'{"reason":"a","reason":"b"}'
        problem(await service.post("/v1/contracts/A/freeze", twice), "malformed", 400)
        in_url = {"contract": "TC-2025-0001"}
        path = "/v1/contracts/TC-2025-0001/freeze"
        problem(await service.post(path, in_url), "malformed", 400)
        for id_ in ("a%20b", "a%0a", "%00", "x" * 65, "a%3ab", "é"):
            problem(await service.post(f"/v1/contracts/{id_}/freeze"), "malformed", 400)
        assert await stored(database) == before


async def test_more_than_8_mib_is_413(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        problem(await service.post("/v1/usage", b"x" * MAX_BATCH_BYTES, None), "bad_envelope", 400)
        problem(await service.post("/v1/usage", b"x" * (MAX_BATCH_BYTES + 1)), "too_large", 413)
        problem(await service.post("/v1/coupons", b" " * (256 * 1024 + 1)), "too_large", 413)
        voids = [void(f"v{n}") for n in range(MAX_BATCH_ITEMS + 1)]
        problem(await service.usage(voids=voids), "too_large", 413)
        assert (await service.usage(voids=voids[1:])).status == 200


async def test_a_body_without_a_length_has_the_same_limits(database, tmp_path):
    async def pieces(size: int):
        for _ in range(size // 65_536 + 1):
            yield b" " * 65_536

    async with serving(database, tmp_path) as service:
        for path, size in (("/v1/usage", MAX_BATCH_BYTES), ("/v1/coupons", 256 * 1024)):
            async with service.http.post(
                service.url + path, data=pieces(size), headers={"Idempotency-Key": "k"}
            ) as response:
                answer = Answer(response.status, response.headers, await response.read())
            problem(answer, "too_large", 413)


async def test_a_compressed_body_is_415(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        for path, data in (("/v1/usage", service.envelope([RECORD])), ("/v1/coupons", b"{}")):
            for encoding in ("gzip", "deflate", "br", "zstd", "compress", "x, gzip"):
                for body in (gzip.compress(data), data):
                    answer = await service.post(path, body, Content_Encoding=encoding)
                    problem(answer, "unsupported_encoding", 415)
        answer = await service.post("/v1/usage", b"{}", Content_Encoding="identity")
        problem(answer, "bad_envelope", 400)


async def test_only_documented_codes_answer_hostile_commands(database, tmp_path):
    chance = random.Random(2)
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        codes = set()
        for _ in range(700):
            path, body = chance.choice(COMMANDS)
            if chance.random() < 0.3 and path.count("/") > 2:
                path = path.replace(path.split("/")[3], chance.choice(["%00", "x", "%ff", "..%2f"]))
            answer = await service.post(path, damaged(body, chance))
            if answer.status in (200, 201):
                assert "entry" in answer.json
                continue
            assert answer.status != 500, (path, body, answer.body)
            assert answer.code in CODES
            problem(answer, answer.code)
            codes.add(answer.code)
        assert {"malformed", "exists_differently", "not_frozen"} <= codes
        assert (await service.get("/readyz")).status == 200
    await check_sums(database)


async def test_only_documented_codes_answer_hostile_batches(database, tmp_path):
    chance = random.Random(3)
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        outcomes = set()
        for seq in range(1, 500):
            payload = {
                "log": ORIGIN,
                "provider": "pcl",
                "stream": "main",
                "seq": seq,
                "voids": [void(f"r{seq - 1}"), void("nothing")],
                "records": [RECORD | {"id": f"r{seq}"}, RECORD | {"id": f"s{seq}"}],
            }
            envelope = dsse.seal(
                dsse.BATCH_TYPE, damaged(payload, chance), "pcl-1", signer("pcl-1")
            )
            if chance.random() < 0.3:
                envelope = damaged(json.loads(envelope), chance)
            answer = await service.post("/v1/usage", envelope, None)
            if answer.status == 200:
                results = answer.json["voids"] + answer.json["results"]
                outcomes |= {result.get("code", result["status"]) for result in results}
                continue
            assert answer.status != 500, answer.body
            problem(answer, answer.code)
            outcomes.add(answer.code)
        assert {"bad_envelope", "bad_batch", "accepted", "unknown_record"} <= outcomes
    await check_sums(database)


HOSTILE_VALUES = [
    *(None, True, "", " ", "\x00", "\x85", "x" * 600, "é" * 40, "'; DROP TABLE x; --", "..", "/"),
    *(0, -1, 1.5, 2**31, 2**53, 2**63, 2**64, 10**400, [], {}, [[]], {"": ""}, ["x"] * 70),
    *("0.00", "-1.00", "1e3", "10000000000000.00", "99999999999999.99", "1999-02-29", "0000-01-01"),
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2025-03-01T09:00:00+08:00"),
]


def damaged(value: Any, chance: random.Random) -> bytes:
    """Write JSON with one or two places made hostile, and sometimes its bytes too."""
    value = copy.deepcopy(value)
    for _ in range(chance.randrange(3)):
        owner = value
        while True:
            places = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
            if not places:
                break
            place = chance.choice(places)
            if isinstance(owner[place], (dict, list)) and owner[place] and chance.random() < 0.7:
                owner = owner[place]
                continue
            if chance.random() < 0.2:
                del owner[place]
            else:
                owner[place] = chance.choice(HOSTILE_VALUES)
            break
    data = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode()
    for _ in range(chance.choice([0, 0, 0, 1, 3])):
        where = chance.randrange(len(data) + 1)
        junk = chance.choice([b"", b"\xff", b'"', b"\\ud800", b",", b"}", b"1" * 5000, b"\\"])
        data = data[:where] + junk + data[where + chance.randrange(3) :]
    return data


# A fault of ours


async def test_an_exception_of_ours_is_a_problem_without_a_traceback(
    database, tmp_path, monkeypatch
):
    def fail(*_: Any) -> None:
        raise KeyError("secret of the machine room")

    async with serving(database, tmp_path) as service:
        monkeypatch.setattr("meter.api.post_usage.verified", fail)
        answer = await service.post("/v1/usage", b"{}", None)
        problem(answer, "internal", 500)
        assert b"secret" not in answer.body
