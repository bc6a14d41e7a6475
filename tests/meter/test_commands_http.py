"""The authority's commands over HTTP: what they answer, what they refuse, and names."""

import asyncio

from tests.books import ALPHA, BETA, policy_text, public_text, signer, uscc_of
from tests.http_commands import (
    COMMANDS,
    CONTRACT,
    COUPON,
    ENTERPRISE,
    KEY,
    PROVIDER,
    RECORD,
    VOID,
    carry_out,
    problem,
    up_to_coupon,
)
from tests.services import check_sums, serving, stored

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
