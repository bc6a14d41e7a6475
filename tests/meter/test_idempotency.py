"""A command that is sent again with its `Idempotency-Key` is carried out once."""

import asyncio
import json

import pytest

from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.rules.commands import IssueCoupon
from meter.service.admin import add_token
from meter.values.problems import Problem
from meter.values.strict import decode
from tests.books import BETA
from tests.http_commands import (
    COMMANDS,
    COUPON,
    ENTERPRISE,
    MOVING_MONEY,
    POLICY,
    RECORD,
    carry_out,
    problem,
    up_to_coupon,
)
from tests.services import check_sums, serving, stored


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
