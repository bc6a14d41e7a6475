"""The service over HTTP: every route in its documented form, on a real database."""

import asyncio
import base64
import copy
import gzip
import json
import random
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ledger import canon
from ledger.note import Verifier, open_checkpoint
from ledger.tlog import Frontier, leaf_hash
from meter.api import get, post
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.rules.commands import IssueCoupon
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.service.admin import add_token
from meter.values.problems import CODES, Problem
from meter.values.strict import decode
from meter.values.units import format_money, parse_instant
from meter.wire import dsse
from meter.wire.batch import MAX_BATCH_BYTES, MAX_BATCH_ITEMS
from tests.books import (
    ALPHA,
    BETA,
    PROGRAMME,
    PROVIDER_USCC,
    coupon_of,
    lifted,
    policy_text,
    public_text,
    record,
    signer,
    slices,
    uscc_of,
    void,
)
from tests.services import (
    HOUR,
    ORIGIN,
    Answer,
    Service,
    check_sums,
    contract_body,
    coupon_body,
    enterprise_body,
    key_body,
    provider_body,
    receipt_key,
    serving,
    stored,
    stored_entries,
)

POLICY = {"programme": PROGRAMME, "version": "2024-12"}
ENTERPRISE = {
    "uscc": ALPHA,
    "name": "深圳某某科技有限公司",
    "kind": "enterprise",
    "founded_on": "2019-04-01",
}
PROVIDER = {
    "id": "pcl",
    "uscc": PROVIDER_USCC,
    "name": "鹏城实验室",
    "devices": {"ascend-910b": 4096},
    "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
}
KEY = key_body("pcl-1")
CONTRACT = {
    "id": "TC-2025-0001",
    "contract_no": "深算租〔2025〕001号",
    "programme": PROGRAMME,
    "enterprise": ALPHA,
    "provider": "pcl",
    "amount": "1000000.00",
    "signed_on": "2025-01-15",
    "from": "2025-02-01",
    "until": "2026-02-01",
    "use": "training",
    "prices": {"ascend-910b": "4.50"},
    "max_devices": {"ascend-910b": 512},
    "related_party": False,
}
COUPON = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2025, "amount": "100000.00"}
BUDGET = {"programme": PROGRAMME, "year": 2025, "amount": "1000000.00", "document": "12号"}
FUNDS = {"reference": "7号", "level": "district", "amount": "1.00", "document": "通知"}
VOID = {"provider": "pcl", "id": "slurm:4211:0", "reason": "found by the auditors"}
RECORD = {
    "id": "slurm:4211:0",
    "contract": "TC-2025-0001",
    "device": "ascend-910b",
    "milli_devices": 64000,
    "start": "2025-03-01T08:00:00+08:00",
    "end": "2025-03-01T09:00:00+08:00",
    "run": "slurm:4211",
    "state": "RUNNING",
    "final": False,
}
LATE_WINDOW = {
    "from": "2025-01-01",
    "until": "2025-01-08",
    "open_until": "2026-01-01",
    "reason": "a long outage",
}
CORRECTION = {
    "mode": "correction",
    "amount": "1000000.00",
    "document": "合同扫描件",
    "reason": "a digit was wrong",
}
BALANCE = f"/v1/enterprises/{ALPHA}/balance?programme={PROGRAMME}&year=2025"

# In an order in which each can succeed.
COMMANDS = [
    ("/v1/policies", POLICY),
    ("/v1/providers", PROVIDER),
    ("/v1/providers/pcl/keys", KEY),
    ("/v1/enterprises", ENTERPRISE),
    ("/v1/contracts", CONTRACT),
    ("/v1/coupons", COUPON),
    ("/v1/coupons/withdraw", COUPON | {"amount": "1.00"}),
    ("/v1/contracts/TC-2025-0001/amend", CORRECTION),
    ("/v1/contracts/TC-2025-0001/late-window", LATE_WINDOW),
    ("/v1/contracts/TC-2025-0001/freeze", {}),
    ("/v1/contracts/TC-2025-0001/unfreeze", {}),
    ("/v1/records/void", VOID),
    ("/v1/keys/pcl-1/revoke", {}),
    ("/v1/budgets", BUDGET),
    ("/v1/projects", {"id": "P", "title": "适配", "audited_investment": "6.00"}),
    ("/v1/projects/P/audit", {"amount": "5.00", "document": "审计报告"}),
    ("/v1/projects/P/funds", FUNDS),
    ("/v1/contracts/TC-2025-0001/funds", FUNDS),
]
MOVING_MONEY = [
    *("/v1/coupons", "/v1/coupons/withdraw", "/v1/records/void", "/v1/budgets"),
    "/v1/contracts/TC-2025-0001/amend",
]
QUESTIONS = [BALANCE, "/v1/contracts/TC-2025-0001", "/v1/entries", "/v1/entries/0"]


def problem(answer: Answer, code: str, status: int | None = None) -> dict[str, Any]:
    """Check a problem document against RFC 9457 and the table of codes."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.body
    document = answer.json
    assert document["code"] == code, document
    assert document["status"] == answer.status == CODES[code][0]
    assert document["type"] == f"urn:kashi:problem:{code}"
    assert document["title"] == CODES[code][1]
    assert isinstance(document["detail"], str)
    assert document["detail"]
    assert status in (None, answer.status)
    return document


async def carry_out(service: Service, *paths: str) -> None:
    """Carry out the documented commands, up to and with the last name."""
    for path, body in COMMANDS:
        answer = await service.post(path, body)
        assert answer.status == 201, answer.body
        if path in paths:
            return


async def up_to_coupon(service: Service) -> None:
    await carry_out(service, "/v1/coupons")


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
        *("/v1/awards", "/v1/awards/{award}/change"),  # test_awards
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


# The authority's commands


async def test_each_command_in_its_documented_form_makes_one_entry(database, tmp_path):
    async with serving(database, tmp_path) as service:
        number = 1
        for path, body in COMMANDS:
            if path == "/v1/records/void":
                answer = await service.usage([RECORD])
                assert answer.json["results"][0]["status"] == "accepted"
                number += 2
            answer = await service.post(path, body, key=f"k{number}")
            assert answer.status == 201, answer.body
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.json["entry"] == number
            entry = (await service.get(f"/v1/entries/{number}")).json["entry"]
            assert entry["by"] == "authority-1"
            assert entry["request"] == f"k{number}"
            assert len(entry["salt"]) == 32
            assert 0 <= entry["at"] - service.clock.now < 100  # each group is a microsecond later
            number += 1
        assert [entry.kind for entry in await service.entries()] == [
            *("genesis", "policy", "provider", "key", "enterprise", "contract", "issue"),
            *(
                "withdrawal",
                "amendment",
                "late_window",
                "freeze",
                "unfreeze",
                "batch",
                "usage",
                "void",
            ),
            *("revocation", "budget", "project", "project_audit", "project_funds"),
            "contract_funds",
        ]
    await check_sums(database)


async def test_answers_say_what_follows_from_the_command(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/enterprises")
        answer = await service.post("/v1/contracts", CONTRACT)
        assert answer.json == {"entry": 5, "policy": "2024-12", "class": "standard"}
        answer = await service.post("/v1/coupons", COUPON)
        assert answer.json == {"entry": 6, "issued": "100000.00"}
        answer = await service.post("/v1/coupons/withdraw", COUPON | {"amount": "1.00"})
        assert answer.json == {"entry": 7, "issued": "99999.00"}
        await service.usage([RECORD])
        answer = await service.post("/v1/records/void", VOID)
        assert answer.json == {"entry": 10, "cost": "-288.00", "entitled": "-144.00"}


async def test_optional_fields_may_be_left_out_and_a_reason_may_be_given(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/enterprises")
        body = {name: value for name, value in CONTRACT.items() if name != "max_devices"}
        answer = await service.post("/v1/contracts", body | {"reason": "batch 3"})
        assert answer.status == 201
        entry = (await service.get("/v1/entries/5")).json["entry"]
        assert entry["reason"] == "batch 3"
        assert entry["max_devices"] == {}
        assert not {"project", "follows"} & entry.keys()


async def test_what_exists_with_equal_content_is_200_and_with_other_content_409(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        before = await stored(database)
        others = {
            "/v1/policies": {"content": policy_text(version="2024-12", cap="1.00")},
            "/v1/providers": {"name": "other"},
            "/v1/providers/pcl/keys": {"public_key": public_text(signer("other"))},
            "/v1/enterprises": {"founded_on": "2019-04-02"},
            "/v1/contracts": {"amount": "1000000.01"},
        }
        for number, (path, body) in enumerate(COMMANDS[:5], 1):
            for key in ("", None):
                answer = await service.post(path, body, key=key)
                assert (answer.status, answer.json) == (200, {"entry": number})
            other = await service.post(path, body | others[path])
            assert problem(other, "exists_differently", 409)["entry"] == number
        assert await stored(database) == before


REFUSED = [
    ("/v1/policies", {"programme": "training-coupon", "version": "1999"}, "unknown_policy"),
    ("/v1/policies", {"programme": "../x", "version": "1"}, "unknown_policy"),
    ("/v1/policies", {"programme": "x", "version": "1", "content": "x = "}, "bad_policy"),
    ("/v1/providers", PROVIDER | {"id": "x", "uscc": ALPHA}, "role_conflict"),
    (
        "/v1/providers",
        PROVIDER
        | {
            "id": "x",
            "uscc": uscc_of(4),
            "enlisted": {"batch": "1", "from": "2025-01-01", "until": "2025-01-01"},
        },
        "bad_dates",
    ),
    ("/v1/providers/nobody/keys", KEY | {"keyid": "n"}, "unknown_provider"),
    ("/v1/keys/nobody/revoke", {}, "not_found"),
    ("/v1/contracts", CONTRACT | {"id": "x", "provider": "nobody"}, "unknown_provider"),
    ("/v1/contracts", CONTRACT | {"id": "x", "enterprise": BETA}, "unknown_enterprise"),
    ("/v1/contracts", CONTRACT | {"id": "x", "programme": "x"}, "unknown_programme"),
    ("/v1/contracts/nothing/freeze", {}, "unknown_contract"),
    ("/v1/contracts/TC-2025-0001/unfreeze", {}, "not_frozen"),
    ("/v1/coupons", COUPON | {"year": 2027}, "unknown_year"),
    ("/v1/coupons", COUPON | {"year": 2024}, "below_threshold"),
    ("/v1/coupons", COUPON | {"amount": "10000000.00"}, "cap_exceeded"),
    ("/v1/coupons/withdraw", COUPON | {"amount": "100000.01"}, "below_granted"),
    ("/v1/records/void", VOID, "unknown_record"),
    ("/v1/policies", {"programme": "x", "version": "1"}, "unknown_policy"),
]


async def test_a_refused_command_says_why_and_changes_nothing(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        before = await stored(database)
        for path, body, code in REFUSED:
            problem(await service.post(path, body), code)
        assert await stored(database) == before


async def test_a_frozen_contract_a_revoked_key_and_a_voided_record_stay_so(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        for path, code in (
            ("/v1/contracts/TC-2025-0001/freeze", "already_frozen"),
            ("/v1/records/void", "already_voided"),
            ("/v1/keys/pcl-1/revoke", "already_revoked"),
        ):
            body = dict(COMMANDS)[path]
            assert (await service.post(path, body)).status == 201
            problem(await service.post(path, body), code, 409)
        assert (await service.contract("TC-2025-0001"))["frozen"] is True
        problem(await service.usage([RECORD], seq=2), "key_revoked", 403)


# Idempotency-Key


async def test_where_money_moves_an_idempotency_key_is_required(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        before = await stored(database)
        for path in MOVING_MONEY:
            answer = await service.post(path, dict(COMMANDS)[path], key=None)
            problem(answer, "idempotency_key_needed", 400)
        assert await stored(database) == before
        for path in MOVING_MONEY:
            assert (await service.post(path, dict(COMMANDS)[path], key=path)).status == 201


async def test_the_same_key_and_body_get_the_stored_answer_also_after_a_restart(database, tmp_path):
    first = {}
    async with serving(database, tmp_path) as service:
        for path, body in COMMANDS:
            if path == "/v1/records/void":
                await service.usage([RECORD])
            first[path] = await service.post(path, body, key=f"key of {path}".replace(" ", "-"))
            assert first[path].status == 201
            assert "Idempotent-Replayed" not in first[path].headers
        size = len(await stored(database))
    for _ in range(2):
        async with serving(database, tmp_path) as service:
            for path, body in COMMANDS:
                again = await service.post(path, body, key=f"key of {path}".replace(" ", "-"))
                assert (again.status, again.body) == (201, first[path].body)
                assert again.headers["Idempotent-Replayed"] == "true"
    assert len(await stored(database)) == size


async def test_two_persons_may_use_the_same_key_and_neither_gets_the_others_answer(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(DATABASE_VARIABLE, database)
            await service.ask("/v1/persons", id="li")
            await service.ask("/v1/tokens", id="li-1", holder="li")
            token = await add_token(service.folder, Identity("li-1", "authority"))
        headers = {"Authorization": f"Bearer {token}"}
        other = COUPON | {"reason": "the second clerk's"}
        first = await service.post("/v1/coupons", COUPON, key="k")
        second = await service.post("/v1/coupons", other, key="k", **headers)
        assert [first.json, second.json] == [
            {"entry": 8, "issued": "100000.00"},
            {"entry": 9, "issued": "200000.00"},
        ]
        assert "Idempotent-Replayed" not in second.headers
        entries = await service.entries()
        assert [(entry.by, entry.request) for entry in entries[8:]] == [
            ("authority-1", "k"),
            ("li-1", "k"),
        ]
        assert (await service.post("/v1/coupons", COUPON, key="k")).body == first.body
        again = await service.post("/v1/coupons", other, key="k", **headers)
        assert (again.body, again.headers["Idempotent-Replayed"]) == (second.body, "true")
        mixed = await service.post("/v1/coupons", COUPON, key="k", **headers)
        problem(mixed, "idempotency_conflict", 409)
    await check_sums(database)


async def test_two_persons_may_use_the_same_key_in_one_group(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        await service.ask("/v1/persons", id="li")
        await service.ask("/v1/tokens", id="li-1", holder="li")
        command = decode(json.dumps(COUPON).encode(), IssueCoupon)
        names = ["authority-1", "li-1"] * 4
        answers = await asyncio.gather(
            *(service.intake.command(command, name, "k") for name in names)
        )
        assert [answer.replayed for answer in answers] == [False, False, *[True] * 6]
        assert len({answer.body for answer in answers[::2]}) == 1
        assert len({answer.body for answer in answers[1::2]}) == 1
        assert (await service.balance())["issued"] == "200000.00"
    await check_sums(database)


async def test_a_key_that_is_used_twice_in_one_group_is_carried_out_once(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        size, epoch = len(await stored(database)), service.intake.writer.epoch
        command, other = (
            decode(json.dumps(COUPON | {"amount": amount}).encode(), IssueCoupon)
            for amount in ("100000.00", "0.01")
        )
        sent = [
            service.intake.command(each, "authority-1", "k") for each in (command, command, other)
        ]
        first, again, conflict = await asyncio.gather(*sent, return_exceptions=True)
        assert (first.body, first.replayed) == (again.body, False)
        assert (first.status, again.status, again.replayed) == (201, 201, True)
        assert (type(conflict), conflict.code) == (Problem, "idempotency_conflict")
        assert len(await stored(database)) == size + 1
        # Else the group has failed, and each was taken by itself.
        assert service.intake.writer.epoch == epoch
    await check_sums(database)


async def test_the_order_and_spacing_of_the_fields_do_not_make_another_body(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        first = await service.post("/v1/coupons", COUPON, key="k")
        turned = dict(reversed(COUPON.items()))
        again = await service.post("/v1/coupons", json.dumps(turned, indent=3).encode(), key="k")
        assert (again.status, again.body) == (201, first.body)


async def test_the_same_key_with_another_body_or_command_is_409(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        assert (await service.post("/v1/coupons", COUPON, key="k")).status == 201
        size = len(await stored(database))
        for path, body in (
            ("/v1/coupons", COUPON | {"amount": "100000.01"}),
            ("/v1/coupons", COUPON | {"reason": "again"}),
            ("/v1/coupons/withdraw", COUPON),
            ("/v1/enterprises", ENTERPRISE | {"uscc": BETA}),
        ):
            problem(await service.post(path, body, key="k"), "idempotency_conflict", 409)
        assert len(await stored(database)) == size


async def test_a_refused_command_leaves_its_key_free(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        too_much = COUPON | {"amount": "10000000.01"}
        problem(await service.post("/v1/coupons", too_much, key="k"), "cap_exceeded", 422)
        problem(await service.post("/v1/coupons", b"{", key="k"), "malformed", 400)
        assert (await service.post("/v1/coupons", COUPON, key="k")).status == 201


async def test_a_command_sent_many_times_at_once_is_carried_out_once(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await carry_out(service, "/v1/contracts")
        answers = await asyncio.gather(
            *(service.post("/v1/coupons", COUPON, key="k") for _ in range(32))
        )
        assert {(answer.status, answer.body) for answer in answers} == {
            (201, b'{"entry":6,"issued":"100000.00"}')
        }
        assert (await service.balance())["issued"] == "100000.00"
        # The same body under many keys is many commands.
        await asyncio.gather(*(service.post("/v1/coupons", COUPON) for _ in range(4)))
        assert (await service.balance())["issued"] == "500000.00"


async def test_an_idempotency_key_is_visible_ascii(database, tmp_path):
    async with serving(database, tmp_path) as service:
        for key in ("a b", "x" * 129, "é", "auto-1"):
            problem(await service.post("/v1/policies", POLICY, key=key), "malformed", 400)
        assert (await service.post("/v1/policies", POLICY, key="x" * 128)).status == 201


# Names


async def test_a_name_is_kept_in_form_c_and_one_that_hides_is_refused(database, tmp_path):
    async with serving(database, tmp_path) as service:
        apart = ENTERPRISE | {"name": "Universite\u0301"}
        answer = await service.post("/v1/enterprises", apart, key="k")
        assert answer.status == 201
        assert (await service.entries())[1].name == "Universit\u00e9"
        composed = ENTERPRISE | {"name": "Universit\u00e9"}
        for body in (apart, composed):
            assert (await service.post("/v1/enterprises", body, key="k")).body == answer.body
        for name in ("paid\u202edeiraw", "a\u200bb", " \u3000", "\ue000"):
            body = ENTERPRISE | {"uscc": BETA, "name": name}
            problem(await service.post("/v1/enterprises", body), "malformed", 400)
            answer = await service.usage([], [{"id": "r", "reason": name}])
            assert answer.code == "bad_signature"  # looked at first
        assert len(await stored(database)) == 2


async def test_a_stream_that_looks_like_another_is_refused_also_after_a_restart(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        assert (await service.usage(stream="main")).status == 200
        problem(await service.usage(stream="Main"), "looks_alike", 409)
        assert (await service.usage(stream="side.")).status == 200
    async with serving(database, tmp_path) as service:
        for name in ("MAIN", "main.", "side", "SIDE.."):
            problem(await service.usage(stream=name), "looks_alike", 409)
        together = (service.usage(stream=name) for name in ("other", "Other", "other.", "OTHER"))
        answers = await asyncio.gather(*together)
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
        assert (await service.usage(stream="main", seq=2)).status == 200
    await check_sums(database)


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


# Batches


async def test_the_documented_batch_gets_a_signed_receipt_with_every_figure(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        root = base64.b64encode(
            Frontier.over(b"".join(map(leaf_hash, await stored(database)))).root()
        )
        envelope = service.envelope([RECORD, RECORD | {"id": "x", "contract": "none"}], seq=17)
        answer = await service.post("/v1/usage", envelope, None)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        receipt = answer.json
        (result, refused) = receipt["results"]
        assert list(receipt) == [
            *("batch", "log", "provider", "stream", "seq", "before", "entries", "voids", "results")
        ]
        assert receipt["before"] == {"size": 7, "root": root.decode()}
        assert receipt["entries"] == {"first": 7, "count": 2}
        assert (receipt["log"], receipt["provider"], receipt["seq"]) == (ORIGIN, "pcl", 17)
        assert result == {
            "id": "slurm:4211:0",
            "status": "accepted",
            "entry": 8,
            "cost": "288.00",
            "entitled": "144.00",
            "granted": "144.00",
            "uncovered": "0.00",
            "withheld": "0.00",
            "ineligible": "0.00",
            "reasons": {},
            "by_year": {"2025": "144.00"},
            "bound": [],
        }
        assert list(refused) == ["id", "status", "code", "detail"]
        assert refused["code"] == "unknown_contract"
        ((keyid, signature),) = dsse.parse_signature_header(answer.headers["Kashi-Signature"])
        assert keyid == "receipt-1"
        assert dsse.is_signed_by(receipt_key(service), dsse.RECEIPT_TYPE, answer.body, signature)
        batch = (await service.get("/v1/entries/7")).json["entry"]
        assert batch["payload"] == receipt["batch"]


async def test_a_batch_that_cannot_be_taken_says_why_and_leaves_its_number_free(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.ask("/v1/providers", **provider_body("other", uscc=uscc_of(5)))
        await service.ask("/v1/providers/other/keys", **key_body("other-1", "other"))
        before = await stored(database)
        document = json.loads(service.envelope([RECORD]))
        forged = document | {"payload": json.loads(service.envelope([]))["payload"]}
        typed = document | {"payloadType": dsse.RECEIPT_TYPE}
        doubled = document | {"signatures": document["signatures"] * 2}
        for body, code in (
            (forged, "bad_signature"),
            (typed, "bad_envelope"),
            (doubled, "bad_envelope"),
            (document | {"signatures": []}, "bad_envelope"),
            (document | {"x": 1}, "bad_envelope"),
            (document | {"payload": document["payload"] + "="}, "bad_envelope"),
        ):
            problem(await service.post("/v1/usage", body, None), code)
        for changes, code in (
            ({"keyid": "nobody"}, "bad_signature"),
            ({"keyid": "other-1"}, "provider_mismatch"),
            ({"log": "kashi.test/other"}, "wrong_log"),
            ({"genesis": "0" * 64}, "wrong_genesis"),
            ({"seq": 0}, "bad_batch"),
            ({"seq": 2**53}, "bad_batch"),
            ({"stream": "a b"}, "bad_batch"),
            ({"unknown": 1}, "bad_batch"),
        ):
            problem(await service.usage([RECORD], **changes), code)
        assert await stored(database) == before
        genesis = service.intake.state.genesis_hash
        assert (await service.usage([RECORD], genesis=genesis)).status == 200


async def test_a_stored_batch_is_answered_also_after_its_key_was_revoked(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        first = await service.usage([RECORD])
        assert (await service.post("/v1/keys/pcl-1/revoke")).status == 201
        again = await service.usage([RECORD])
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["Kashi-Signature"] == first.headers["Kashi-Signature"]
        problem(await service.usage([], seq=2), "key_revoked", 403)


# Questions


async def test_the_balance_says_all_of_a_coupon_and_of_each_contracts_share(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(cap="1000.00"), issued="150.00")
        await service.ask("/v1/contracts", **contract_body("B"))
        service.clock.advance(60)
        await service.usage([record("a", "A", *HOUR, 64_000), record("b", "B", *HOUR, 10_000)])
        assert await service.balance() == {
            "enterprise": ALPHA,
            "programme": PROGRAMME,
            "year": 2025,
            "issued": "150.00",
            "granted": "150.00",
            "remaining": "0.00",
            "entitled": "166.50",
            "uncovered": "16.50",
            "withheld": "0.00",
            "cap": "1000.00",
            "contracts": [
                {
                    "contract": "A",
                    "entitled": "144.00",
                    "granted": "144.00",
                    "uncovered": "0.00",
                    "withheld": "0.00",
                },
                {
                    "contract": "B",
                    "entitled": "22.50",
                    "granted": "6.00",
                    "uncovered": "16.50",
                    "withheld": "0.00",
                },
            ],
            "awards": [],
            "as_of": {"entries": 11, "time": "2025-03-01T12:01:00+08:00"},
        }


async def test_a_balance_without_usage_or_coupon_is_zero_and_nonsense_is_refused(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        zero = await service.balance(2024)
        assert (zero["issued"], zero["remaining"], zero["contracts"]) == ("0.00", "0.00", [])
        base = f"/v1/enterprises/{ALPHA}/balance"
        for query, code in (
            ("", "malformed"),
            (f"?programme={PROGRAMME}", "malformed"),
            (f"?programme={PROGRAMME}&year=", "malformed"),
            (f"?programme={PROGRAMME}&year=x", "malformed"),
            (f"?programme={PROGRAMME}&year=-1", "malformed"),
            (f"?programme={PROGRAMME}&year=٢٠٢٥", "malformed"),
            (f"?programme={PROGRAMME}&year=" + "9" * 17, "malformed"),
            (f"?programme={PROGRAMME}&year=9999", "malformed"),
            (f"?programme={PROGRAMME}&year=9998", "unknown_programme"),
            (f"?programme={PROGRAMME}&year=2027", "unknown_programme"),
            ("?programme=%00&year=2025", "malformed"),
            ("?programme=%ff&year=2025", "unknown_programme"),
            ("?programme=&year=2025", "unknown_programme"),
            ("?year=2025", "malformed"),
        ):
            problem(await service.get(base + query), code)
        for uscc, code in (
            *((each, "unknown_enterprise") for each in (BETA, "x", "%ff")),
            *((each, "malformed") for each in ("%00", "%0a", "%7f", "%c2%85")),
        ):
            path = f"/v1/enterprises/{uscc}/balance?programme={PROGRAMME}&year=2025"
            problem(await service.get(path), code)


async def test_a_contract_shows_its_terms_and_what_was_metered(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        share = {
            "entitled": "144.00",
            "granted": "144.00",
            "uncovered": "0.00",
            "withheld": "0.00",
        }
        assert await service.contract("TC-2025-0001") == CONTRACT | {
            "entry": 5,
            "policy": "2024-12",
            "class": "standard",
            "funds": [],
            "amendments": [],
            "frozen": False,
            "cost": "288.00",
            "eligible": "288.00",
            "withheld": "0.00",
            "ineligible": "0.00",
            "reasons": {},
            "years": [{"year": 2025} | share],
            "rounding": "0.00",
            "as_of": {"entries": 9, "time": "2025-03-01T12:00:00.000007+08:00"},
        }
        for id_ in ("nothing", "%ff", "x" * 500):
            problem(await service.get(f"/v1/contracts/{id_}"), "unknown_contract", 404)
        problem(await service.get("/v1/contracts/%00"), "malformed", 400)


async def test_what_counts_for_nothing_is_told_with_its_reason(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        number = "TC-2025-0002"
        await service.ask(
            "/v1/contracts",
            **contract_body(
                number,
                starts="2025-03-01",
                prices={"ascend-910b": {"amount": "3100.00", "per": "month"}, "h100": PER_MONTH},
                max_devices={"ascend-910b": 1},
            ),
        )
        one, two = (f"2025-02-28T2{hour}:00:00+08:00" for hour in (2, 3))
        last = "2025-03-01T01:00:00+08:00"
        body = record("a", number, two, last, 2_000)  # an hour before the term, and one in it
        await service.usage([body, record("b", number, one, two, 1_000, device="h100")])
        await service.usage([record("c", number, two, last, 1_000, device="h100")], seq=2)
        # 3100.00 / 672 and / 744 are 4.6130… and 4.1666…; 672.00 / 672 and / 744 are 1 and 0.9032…
        shown = await service.contract(number)
        parts = {name: shown[name] for name in ("cost", "eligible", "withheld", "ineligible")}
        assert parts == {
            "cost": "20.46",
            "eligible": "4.16",
            "withheld": "8.78",
            "ineligible": "7.52",
        }
        assert shown["reasons"] == {"outside_term": "6.61", "not_enlisted": "0.91"}
        assert shown["prices"]["h100"] == PER_MONTH
        path = f"/v1/enterprises/{ALPHA}/records?contract={number}"
        page = (await service.get(path)).json
        for line in page["records"]:
            reasons = sum(fen(text) for text in line["reasons"].values())
            assert reasons == fen(line["ineligible"])
        assert [line["withheld"] for line in page["records"]] == ["8.78", "0.00", "0.00"]
        names = ("cost", "withheld", "ineligible")
        for name in names:
            listed = sum(fen(line[name]) for line in page["records"])
            assert listed + fen(page["rounding"][name]) == fen(shown[name])
        assert page["total"] == {name: shown[name] for name in names} | {"entitled": "2.08"}
        (summary,) = [
            each
            for each in (await service.get(f"/v1/enterprises/{ALPHA}/contracts")).json["contracts"]
            if each["id"] == number
        ]
        assert {name: summary[name] for name in (*names, "reasons")} == {
            name: shown[name] for name in (*names, "reasons")
        }


PER_MONTH = {"amount": "672.00", "per": "month"}


def fen(text: str) -> int:
    return round(float(text) * 100)


async def test_entries_are_the_ledgers_own_bytes(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        for number, data in enumerate(await stored(database)):
            answer = await service.get(f"/v1/entries/{number}")
            leaf = leaf_hash(data).hex().encode()
            assert answer.body == (
                b'{"number":%d,"leaf_hash":"%s","entry":%s}' % (number, leaf, data)
            )
        problem(await service.get("/v1/entries/9"), "not_found", 404)
        problem(await service.get("/v1/entries/" + "9" * 15), "not_found", 404)
        for nonsense in ("-1", "1.0", "x", "9" * 16, "%00", "01٢"):
            problem(await service.get(f"/v1/entries/{nonsense}"), "malformed", 400)


async def test_paging_through_the_entries_gives_each_once_in_order(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        for seq in range(1, 6):
            await service.usage(
                [record(f"r{seq}.{n}", "none", *HOUR, 1) for n in range(3)], seq=seq
            )
        expected = await stored(database)
        assert len(expected) == 12
        for limit in (1, 2, 7, 12, 100):
            found = [each async for each in pages(service, limit)]
            assert [each["number"] for each in found] == list(range(12))
            assert [canon.encode(each["entry"]) for each in found] == expected


async def pages(service: Service, limit: int):
    query = f"limit={limit}"
    while True:
        page = (await service.get(f"/v1/entries?{query}")).json
        assert page["as_of"] == {"entries": 12, "time": "2025-03-01T12:00:00.000011+08:00"}
        assert len(page["entries"]) <= limit
        if not page["entries"]:
            return
        for each in page["entries"]:
            yield each
        query = f"limit={limit}&after={page['next']}"


async def test_pages_beyond_the_end_are_empty_and_wrong_limits_refused(database, tmp_path):
    async with serving(database, tmp_path) as service:
        page = (await service.get("/v1/entries?after=5")).json
        assert (page["entries"], page["next"]) == ([], 5)
        page = (await service.get(f"/v1/entries?after={2**53 - 1}")).json
        assert (page["entries"], page["next"]) == ([], 2**53 - 1)
        beyond = f"after={2**53}"
        for query in ("limit=0", "limit=1001", "limit=x", "after=-2", "after=x", "limit=", beyond):
            problem(await service.get(f"/v1/entries?{query}"), "malformed", 400)
        assert (await service.get("/v1/entries?limit=1000")).status == 200


async def test_the_checkpoint_verifies_and_is_the_same_for_the_same_size(database, tmp_path):
    async with serving(database, tmp_path) as service:
        verifier = Verifier.parse(service.folder.log_vkey.read_text().strip())
        await up_to_coupon(service)
        await service.published()
        first = await service.get("/log/checkpoint")
        checkpoint = open_checkpoint(first.body, verifier)
        data = await stored(database)
        assert (checkpoint.origin, checkpoint.size) == (ORIGIN, len(data))
        assert checkpoint.root == Frontier.over(b"".join(map(leaf_hash, data))).root()
        assert (await service.get("/log/checkpoint")).body == first.body
    async with serving(database, tmp_path) as service:
        assert (await service.get("/log/checkpoint")).body == first.body
        await service.usage([RECORD])
        await service.published()
        second = await service.get("/log/checkpoint")
        assert open_checkpoint(second.body, verifier).size == checkpoint.size + 2


async def test_health_readiness_and_metrics_tell_the_state_of_the_service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD, RECORD | {"id": "x", "contract": "none"}])
        await service.usage([], seq=1)
        problem(await service.post("/v1/coupons", COUPON | {"year": 2027}), "unknown_year")
        assert (await service.get("/healthz")).json == {"status": "ok"}
        assert (await service.get("/readyz")).json == {"status": "ready"}
        answer = await service.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
        assert values["kashi_ledger_entries",] == 9
        assert values["kashi_batches_total", "ok"] == 1
        assert values["kashi_batches_total", "seq_conflict"] == 1
        assert values["kashi_records_total", "accepted"] == 1
        assert values["kashi_records_total", "rejected"] == 1
        assert values["kashi_commands_total", "ok"] == 6
        assert values["kashi_commands_total", "unknown_year"] == 1
        assert values["kashi_queue_bytes",] == 0
        assert values["kashi_commit_seconds_count",] == 7
        assert values["kashi_group_submissions_count",] == 9


async def test_a_balance_includes_every_batch_that_was_answered_before_the_question(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="300.00")
        seen = []

        async def client(stream: str) -> None:
            for seq in range(1, 6):
                usage = record(f"{stream}-{seq}", "A", *HOUR, 2_345)
                voids = [void(f"{stream}-{seq - 1}")] if seq % 3 == 0 else []
                answer = await service.usage([usage], voids, stream=stream, seq=seq)
                last = answer.json["entries"]["first"] + answer.json["entries"]["count"]
                balance = await service.balance()
                assert balance["as_of"]["entries"] >= last
                seen.append(balance)

        async def authority() -> None:
            for _ in range(6):
                await service.issue(2025, "10.00")
                seen.append(await service.balance())

        await asyncio.gather(*(client(f"s{n}") for n in range(24)), authority())
        at_size = figures_by_size(await stored_entries(database))
        for balance in seen:
            shown = [balance[name] for name in ("issued", "entitled", "granted", "uncovered")]
            assert shown == at_size[balance["as_of"]["entries"]]
        assert len({balance["as_of"]["entries"] for balance in seen}) > 5
    await check_sums(database)


def figures_by_size(entries: list) -> list[list[str]]:
    """Return issued, entitled, granted, uncovered of ALPHA's coupon 2025 after so many entries."""
    state, figures = State(), [[]]
    for entry in entries:
        evolve(state, entry)
        if ALPHA in state.enterprises:
            coupon = coupon_of(state, (ALPHA, PROGRAMME, 2025))
            fen = (coupon.issued, coupon.entitled, coupon.granted, coupon.uncovered)
            figures.append([format_money(each) for each in fen])
        else:
            figures.append([])
    return figures


# The worked examples of the money rules

WHOLE = None
START = parse_instant("2025-03-01T08:00:00+08:00")
SHIPPED = None


def full_use(contract: str, fen: int, start: str) -> list[dict]:
    """Return records of 8,000 s that use exactly an amount at 4.50: 1 fen is 1 thousandth then."""
    records, ids = [], count()
    begin = parse_instant(start)
    while fen > 0:
        part = min(fen, 10**9)
        records.append(record(f"{contract}-{next(ids)}", contract, begin, begin + 8000, part))
        fen -= part
    return records


def case(
    usage: list[list[dict]],
    cost: dict[str, str],
    coupons: dict[int, tuple[str, str, str, str]],
    **more: Any,
) -> Any:
    """Describe an example: steps of usage, cost by contract; issued, entitled, granted, uncovered
    by year, where the coupon of a year is issued when it is above zero.
    """
    defaults = {
        "now": "2025-03-01T12:00:00+08:00",
        "policy": SHIPPED,
        "contracts": [{"id": "A"}],
        "enterprise": ALPHA,
        "founded_on": "2019-04-01",
        "funds": {},
        "shares": {},
        "bound": [],
    }
    return SimpleNamespace(**(defaults | more), usage=usage, cost=cost, coupons=coupons)


EXAMPLES = {
    "64 cards for an hour": case(
        [[record("r", "A", START, START + 3600, 64_000)]],
        {"A": "288.00"},
        {2025: ("500000.00", "144.00", "144.00", "0.00")},
    ),
    "7 cards for 3601 s of a startup": case(
        [[record("r", "A", START, START + 3601, 7_000)]],
        {"A": "31.50"},
        {2025: ("100.00", "18.90", "18.90", "0.00")},
        contracts=[{"id": "A", "signed_on": "2025-01-15"}],
        founded_on="2024-06-01",
    ),
    "an hour across the year edge": case(
        [[record("r", "A", "2025-12-31T23:30:00+08:00", "2026-01-01T00:30:00+08:00", 1_000)]],
        {"A": "4.50"},
        {2025: ("10.00", "1.12", "1.12", "0.00"), 2026: ("10.00", "1.12", "1.12", "0.00")},
        now="2026-01-01T12:00:00+08:00",
    ),
    "a contract of 19,999,999.99": case(
        [full_use("A", 1_999_999_999, "2025-02-20T08:00:00+08:00")],
        {"A": "19999999.99"},
        {2025: ("9999999.99", "9999999.99", "9999999.99", "0.00")},
        contracts=[{"id": "A", "amount": "19999999.99"}],
    ),
    "a startup contract of 30,000,000.00": case(
        [full_use("A", 3_000_000_001, "2025-02-20T08:00:00+08:00")],
        {"A": "30000000.01"},
        {2025: ("10000000.00", "18000000.00", "10000000.00", "8000000.00")},
        contracts=[{"id": "A", "amount": "30000000.00", "signed_on": "2025-01-15"}],
        founded_on="2024-06-01",
        bound=["contract_amount", "coupon"],
    ),
    "other public funds": case(
        [full_use("A", 100_000_000, "2025-02-20T08:00:00+08:00")],
        {"A": "1000000.00"},
        {2025: ("200000.00", "200000.00", "200000.00", "0.00")},
        funds={"A": "300000.00"},
        bound=["combined_support"],
    ),
    "usage before the measures took effect": case(
        [[record("r", "A", "2024-12-17T23:00:00+08:00", "2024-12-18T01:00:00+08:00", 8_000)]],
        {"A": "72.00"},
        {2024: ("100.00", "18.00", "18.00", "0.00")},
        now="2024-12-18T12:00:00+08:00",
    ),
    "late usage of an earlier year": case(
        [
            full_use("A", 100_000_000, "2026-03-01T08:00:00+08:00"),
            [record("late", "A", START, START + 8000, 10_000_000)],
        ],
        {"A": "1100000.00"},
        {
            2025: ("0.00", "50000.00", "0.00", "50000.00"),
            2026: ("500000.00", "450000.00", "450000.00", "0.00"),
        },
        now="2026-04-01T12:00:00+08:00",
        policy=lifted(),
        bound=["contract_amount", "coupon"],
    ),
    "two contracts of 100.00": case(
        [
            [record("a", "A", "2026-03-01T08:00:00+08:00", "2026-03-01T08:01:20+08:00", 1_000_000)],
            [record("b", "B", "2026-03-01T08:00:00+08:00", "2026-03-01T08:01:20+08:00", 400_000)],
            [record("late", "A", START, START + 80, 400_000)],
        ],
        {"A": "140.00", "B": "40.00"},
        {
            2025: ("20.00", "20.00", "20.00", "0.00"),
            2026: ("50.00", "50.00", "50.00", "0.00"),
        },
        now="2026-04-01T12:00:00+08:00",
        policy=lifted(),
        contracts=[{"id": "A", "amount": "100.00"}, {"id": "B", "amount": "100.00"}],
        shares={
            2025: {"A": "20.00"},
            2026: {"A": "30.00", "B": "20.00"},
        },
        bound=["contract_amount"],
    ),
}


@pytest.mark.parametrize("cut", [WHOLE, 61])
@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_worked_examples_give_the_same_figures_whole_and_sliced(
    database, tmp_path, name, cut
):
    example = EXAMPLES[name]
    async with serving(database, tmp_path, now=example.now) as service:
        await service.activate(example.policy)
        await service.ask("/v1/providers", **provider_body())
        await service.ask("/v1/providers/pcl/keys", **KEY)
        await service.ask("/v1/enterprises", **enterprise_body(founded_on=example.founded_on))
        for changes in example.contracts:
            await service.ask("/v1/contracts", **contract_body(changes["id"], **changes))
        for contract, amount in example.funds.items():
            await service.fund_contract(contract, amount)
        for year, (issued, *_) in example.coupons.items():
            if issued != "0.00":
                await service.issue(year, issued)
        seq = count(1)
        for step in example.usage:
            receipts = [await service.usage(part, seq=next(seq)) for part in cuts(step, cut)]
        statuses = [each["status"] for answer in receipts for each in answer.json["results"]]
        assert set(statuses) == {"accepted"}
        assert receipts[-1].json["results"][-1]["bound"] == example.bound
        for contract, cost in example.cost.items():
            assert (await service.contract(contract))["cost"] == cost
        for year, expected in example.coupons.items():
            balance = await service.balance(year)
            names = ("issued", "entitled", "granted", "uncovered")
            assert tuple(balance[name] for name in names) == expected
            for contract, granted in example.shares.get(year, {}).items():
                shares = {each["contract"]: each["granted"] for each in balance["contracts"]}
                assert shares[contract] == granted
    await check_sums(database)


def cuts(step: list[dict], seconds: int | None) -> list[list[dict]]:
    """Return the batches of a step: whole records, or shuffled slices in batches of 100."""
    if seconds is WHOLE:
        return [step]
    parts = [part for usage in step for part in slices(usage, seconds)]
    random.Random(seconds).shuffle(parts)
    return [parts[at : at + 100] for at in range(0, len(parts), 100)]


async def test_a_yearly_rental_of_499999_99_is_refused_a_coupon_and_500000_allowed(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued=None)
        await service.ask("/v1/enterprises", **enterprise_body(BETA))
        below = contract_body("B", enterprise=BETA, amount="499999.99")
        await service.ask("/v1/contracts", **below)
        answer = await service.post("/v1/coupons", coupon_body(2025, "1.00", BETA))
        problem(answer, "below_threshold", 422)
        await service.ask("/v1/contracts", **contract_body("C", enterprise=BETA, amount="0.01"))
        answer = await service.post("/v1/coupons", coupon_body(2025, "1.00", BETA))
        assert answer.status == 201


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
