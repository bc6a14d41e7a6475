"""Stored receipts and proofs of a running service, and the commands that keep and check them."""

import asyncio
import json

import pytest

from ledger.note import Verifier, claimed_checkpoint
from ledger.proof import Proof
from ledger.proof import check as check_proof
from meter import client
from meter.agent.push import Reporter
from meter.api import post_usage
from meter.auditor import receipts
from meter.client import Refused
from meter.host.data_folder import DATABASE_VARIABLE
from meter.service import admin as services
from meter.wire import stored_receipt
from tests.books import record, signer
from tests.proving import kashi, outcomes, token_of, verdict, vkey_of
from tests.proxies import NO_PAUSE, usage
from tests.services import HOUR, ORIGIN, full_disk, publishing_here, serving, stored


async def test_a_proof_of_every_published_entry_is_for_anyone(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        for seq in range(1, 31):
            await service.usage([record(f"r{seq}:{n}", "A", *HOUR, 10) for n in range(9)], seq=seq)
        size = await service.published()
        assert size > 256
        authority = service.http.headers.pop("Authorization")
        log = Verifier.parse(vkey_of(service))
        entries = await stored(database)
        note = (service.folder.log / "checkpoint").read_bytes()
        for number in (0, 1, 254, 255, 256, 257, size - 1):
            answer = await service.get(f"/v1/entries/{number}/proof")
            assert answer.status == 200, answer.body
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            proof = Proof.parse(answer.body)
            assert (proof.index, proof.checkpoint_note) == (number, note)
            assert check_proof(proof, entries[number], log).checkpoint.size == size
        for path, code in ((f"{size}", "not_found"), ("x", "malformed"), ("-1", "malformed")):
            assert (await service.get(f"/v1/entries/{path}/proof")).code == code
        service.http.headers["Authorization"] = authority
        await service.usage([], seq=99)
        await service.published()
        old, new = proof, Proof.parse((await service.get(f"/v1/entries/{size - 1}/proof")).body)
        assert claimed_checkpoint(new.checkpoint_note).size == size + 1
        assert old.index == new.index == size - 1


async def test_many_who_ask_for_proofs_while_batches_come_all_get_good_ones(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        log = Verifier.parse(vkey_of(service))

        async def post(seq: int) -> tuple[int, bytes]:
            records = [record(f"r{seq}:{n}", "A", *HOUR, 10) for n in range(12)]
            data = service.envelope(records, seq=seq)
            answer = await service.post("/v1/usage?wait=published", data, None)
            number = answer.json["entries"]["first"]
            return number, (await service.get(f"/v1/entries/{number}/proof")).body

        proved = await asyncio.gather(*(post(seq) for seq in range(1, 41)))
        entries = await stored(database)
        assert len({number for number, _ in proved}) == 40
        for number, proof in proved:
            assert check_proof(Proof.parse(proof), entries[number], log).checkpoint.size > number


async def test_who_waits_for_publishing_gets_the_same_answer_when_a_checkpoint_covers_it(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        records = [record(f"r:{n}", "A", *HOUR, 1_000) for n in range(20)]
        data = service.envelope(records)
        waited = await service.post("/v1/usage?wait=published", data, None)
        note = (service.folder.log / "checkpoint").read_bytes()
        place = waited.json["entries"]
        assert claimed_checkpoint(note).size >= place["first"] + place["count"]
        plain = await service.post("/v1/usage", data, None)
        again = await service.post("/v1/usage?wait=published", data, None)
        for answer in (plain, again):
            assert (answer.status, answer.body) == (200, waited.body)
            assert answer.headers["Kashi-Signature"] == waited.headers["Kashi-Signature"]
        size = service.intake.watermark.size
        for query in ("wait=committed", "wait=", "wait", "wait=published&wait=published", "x=1"):
            refused = await service.post(f"/v1/usage?{query}", service.envelope(seq=2), None)
            assert (refused.status, refused.code) == (400, "malformed"), query
        assert service.intake.watermark.size == size
        empty = await service.post("/v1/usage?wait=published", service.envelope(seq=2), None)
        assert empty.json["entries"] == {"first": size, "count": 1}


async def test_while_publishing_is_held_up_a_batch_is_committed_and_its_proof_comes_later(
    database, tmp_path, monkeypatch
):
    publishing_here(monkeypatch)
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.05)
    monkeypatch.setattr(post_usage, "PUBLISHED_SECONDS", 0.3)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        with full_disk(monkeypatch):
            for _ in range(2):
                answer = await service.post("/v1/usage?wait=published", data, None)
                assert (answer.status, answer.code) == (503, "not_published")
                assert answer.headers["Retry-After"] == "1"
            committed = await service.post("/v1/usage", data, None)
            assert committed.json["results"][0]["granted"] == "144.00"
            number = committed.json["entries"]["first"]
            digest = committed.json["batch"]
            for path in (f"/v1/entries/{number}/proof", f"/v1/batches/{digest}/proof"):
                answer = await service.get(path)
                assert (answer.status, answer.code) == (503, "not_published")
            assert (await client.post(service.url, data)).body == committed.body
        monkeypatch.setattr(post_usage, "PUBLISHED_SECONDS", 10.0)
        answer = await service.post("/v1/usage?wait=published", data, None)
        assert (answer.status, answer.body) == (200, committed.body)
        assert (await service.get(f"/v1/entries/{number}/proof")).status == 200
        assert (await service.balance())["granted"] == "144.00"


async def test_who_waits_when_the_service_ends_is_answered_and_the_batch_is_there(
    database, tmp_path, monkeypatch
):
    publishing_here(monkeypatch)
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.05)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        with full_disk(monkeypatch):
            size = service.intake.watermark.size
            waiting = asyncio.create_task(service.post("/v1/usage?wait=published", data, None))
            await service.intake.watermark.beyond(size)
            await service.stop()
            answer = await waiting
            assert (answer.status, answer.code) == (503, "not_published")
    async with serving(database, tmp_path) as service:
        answer = await service.post("/v1/usage?wait=published", data, None)
        assert answer.status == 200
        assert answer.json["results"][0]["status"] == "accepted"
        assert (await service.balance())["granted"] == "144.00"


async def test_a_stored_receipt_is_for_its_provider_and_names_nobody_else(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        answer = await service.post(
            "/v1/usage?wait=published", service.envelope([record("r", "A", *HOUR, 64_000)]), None
        )
        path = f"/v1/batches/{answer.json['batch']}/proof"
        own, other, firm = [
            {"Authorization": f"Bearer {await token_of(service, role, subject)}"}
            for role, subject in (
                *(("provider", "pcl"), ("provider", "ncl")),
                ("enterprise", "91440300708461136T"),
            )
        ]
        given = await service.get(path, **own)
        file = stored_receipt.parse(given.body)
        assert file.receipt.encode() == answer.body
        kinds = [json.loads(each.entry)["kind"] for each in file.proof.entries]
        assert kinds == ["batch", "genesis", "key"]
        assert (await service.get(path, **other)).code == "not_found"
        assert (await service.get(path, **firm)).code == "forbidden"
        assert (await service.get(path.replace("/proof", "0/proof"), **own)).code == "not_found"
        again = await service.get(path, If_None_Match=given.headers["ETag"], **own)
        assert again.status == 304


async def test_the_command_keeps_proves_and_verifies_a_receipt(database, tmp_path):
    file, envelope = tmp_path / "1.kept.json", tmp_path / "envelope.json"
    async with serving(database, tmp_path) as service:
        await service.open_books()
        envelope.write_bytes(service.envelope([record("r", "A", *HOUR, 64_000)]))
        key = ("--vkey", service.folder.log_vkey)
        posted = await kashi("provider", "post", "--keep", file, service.url, envelope)
        assert posted.exit_code == 0, posted.output
        bare = await kashi("receipt", "verify", file, *key)
        assert bare.exit_code == 2
        assert "NOT PROVED" in bare.stdout
        assert "unchecked  checkpoint: the file holds no proof" in bare.stdout
        bearer = ("--token", await token_of(service, "provider", "pcl"))
        await service.published()
        proved = await kashi("receipt", "prove", service.url, file, *bearer)
        assert proved.exit_code == 0, proved.output
        again = await kashi("provider", "post", "--keep", file, *bearer, service.url, envelope)
        assert again.exit_code == 0, again.output
        envelope.write_bytes(service.envelope(seq=2))
        taken = await kashi("provider", "post", "--keep", file, service.url, envelope)
        assert taken.exit_code == 1
        assert "holds another receipt" in taken.stderr
        vkey = vkey_of(service)
    good = await kashi("receipt", "verify", file, "--vkey", vkey)
    assert good.exit_code == 0, good.output
    assert good.stdout.splitlines()[-1].startswith("good: the log holds this batch")
    assert len([line for line in good.stdout.splitlines() if line.startswith("good ")]) == 9
    told = json.loads((await kashi("receipt", "verify", file, "--vkey", vkey, "--json")).stdout)
    assert told["verdict"] == "good"
    assert {each["outcome"] for each in told["checks"]} == {"good"}
    file.write_text(file.read_text().replace("144.00", "244.00"))
    bad = await kashi("receipt", "verify", file, "--vkey", vkey, "--json")
    assert bad.exit_code == 1
    told = json.loads(bad.stdout)
    assert told["verdict"] == "violated"
    assert {"name": "batch", "outcome": "bad"}.items() <= told["checks"][5].items()
    for words in (
        *((tmp_path / "nowhere", *key), (envelope, *key), (file,)),
        *((file, *key, "--proof", envelope), (file, *key, "--receipt-key", "!")),
        *((file, *key, "--policy", envelope), (file, "--vkey", "nonsense+")),
    ):
        refused = await kashi("receipt", "verify", *words)
        assert refused.exit_code == 2, words
        assert refused.stderr.startswith("could not check: "), words


async def test_the_ledgers_verification_takes_a_stored_receipt_that_is_newer_than_an_export(
    database, tmp_path, monkeypatch
):
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    file = tmp_path / "kept.json"
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await services.export_to(service.folder, tmp_path / "out")
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        answer = await service.post("/v1/usage", data, None)
        signature = answer.headers["Kashi-Signature"]
        file.write_bytes(stored_receipt.store(data, answer.body, signature).format())
        words = ("--vkey", service.folder.log_vkey, "--receipt", file)
        found = await kashi("verify", tmp_path / "out", *words)
        assert found.exit_code == 2
        assert f"could not check: {file}: newer_receipt: " in found.stdout
        await services.export_to(service.folder, tmp_path / "newer")
        found = await kashi("verify", tmp_path / "newer", *words)
        assert found.exit_code == 0


async def test_a_reporter_keeps_proofs_beside_its_receipts(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        stream = client.Stream(ORIGIN, None, "pcl", "main", "pcl-1", signer("pcl-1"))
        key = (await service.get("/v1/receipt-key")).json["public_key"]
        outbox = tmp_path / "outbox"
        async with Reporter(service.url, stream, key, outbox, **NO_PAUSE) as reporter:
            await reporter.report([usage("r1")])
            with pytest.raises(Refused, match="unauthorized"):
                await reporter.prove()
        bearer = await token_of(service, "provider", "pcl")
        async with Reporter(service.url, stream, key, outbox, token=bearer) as reporter:
            await reporter.report([usage("r2")])
            assert await reporter.prove() == 2
            assert await reporter.prove() == 0
        log = Verifier.parse(vkey_of(service))
        for seq in (1, 2):
            file = receipts.read(outbox / f"{seq}.proved.json")
            assert outcomes(verdict(file, log)) == {}
            assert file.receipt.encode() == (outbox / f"{seq}.receipt.json").read_bytes()
