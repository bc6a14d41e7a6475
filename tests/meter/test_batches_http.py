"""Batches over HTTP: the signed receipt, and what cannot be taken."""

import base64
import json

from ledger.tlog import Frontier, leaf_hash
from meter.wire import dsse
from tests.books import uscc_of
from tests.http_commands import RECORD, problem, up_to_coupon
from tests.services import ORIGIN, key_body, provider_body, receipt_key, serving, stored


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
