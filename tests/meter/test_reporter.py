"""The reporter: each record reaches the ledger once, through refusals, outages and crashes."""

import contextlib
import itertools
import json
import time
from pathlib import Path

import pytest
from msgspec import UNSET

from meter import client
from meter.agent import push, spool
from meter.agent.push import Report, Reporter
from meter.client import BadReceipt, ClientError, Refused, Stream, Unreachable
from meter.values.strict import decode
from meter.wire import dsse
from meter.wire.batch import MAX_BATCH_BYTES, Batch, Void
from tests.books import signer
from tests.proxies import NO_PAUSE, Proxy, envelope, opened, usage, with_another_amount
from tests.services import HOUR, ORIGIN, contract_body, key_body


def a_stream(**changes) -> Stream:
    fields = {"log": ORIGIN, "genesis": None, "provider": "pcl", "name": "main"}
    fields |= {"keyid": "pcl-1", "key": signer("pcl-1")}
    return Stream(**(fields | changes))


def reporter(
    proxy: Proxy, receipt_key: str, folder: Path, retry_seconds: int = 60, **changes
) -> Reporter:
    pauses = NO_PAUSE | {"retry_seconds": retry_seconds}
    return Reporter(proxy.url, a_stream(**changes), receipt_key, folder / "outbox", **pauses)


def fields(name: str, **changes) -> dict:
    plain = {"contract": "A", "device": "ascend-910b", "milli_devices": 64_000}
    return {"id": name, **plain, "start": HOUR[0], "end": HOUR[1], **changes}


def ids(folder: Path) -> set[str]:
    return {path.name for path in (folder / "outbox").iterdir()} - {"lock"}


async def usage_ids(proxy: Proxy) -> list[str]:
    return [each.id for each in await proxy.service.entries() if each.kind == "usage"]


async def seqs(proxy: Proxy) -> list[int]:
    return [each.seq for each in await proxy.service.entries() if each.kind == "batch"]


async def test_usage_is_reported_under_consecutive_numbers_and_all_of_it_is_kept(
    database, tmp_path
):
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            first = await one.report([usage("a"), fields("b")])
            second = await one.report([], [Void("a", "节点故障"), {"id": "b", "reason": "too"}])
            assert await one.report() == Report()
        assert [each.receipt.seq for each in first.receipts + second.receipts] == [1, 2]
        assert [each.granted for each in second.receipts[0].receipt.voids] == ["-144.00"] * 2
        assert (await proxy.service.balance())["granted"] == "0.00"
        kinds = ("batch.json", "receipt.json", "receipt.json.sig")
        assert ids(tmp_path) == {f"{seq}.{kind}" for seq in (1, 2) for kind in kinds}
        kept = (tmp_path / "outbox/1.receipt.json").read_bytes()
        assert kept == first.receipts[0].body


async def test_the_genesis_is_sent_when_it_is_known(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        known = proxy.service.intake.state.genesis_hash
        for number, genesis in enumerate((None, known)):
            folder = tmp_path / str(number)
            async with reporter(proxy, key, folder, genesis=genesis, name=f"s{number}") as one:
                await one.report([usage(f"r{number}")])
            payload = (folder / "outbox/1.batch.json").read_bytes()
            assert decode(payload, Batch).genesis == (UNSET if genesis is None else known)
        with pytest.raises(Refused, match="wrong_genesis"):
            async with reporter(proxy, key, tmp_path, genesis="0" * 64) as one:
                await one.report([usage("c")])


async def test_a_long_list_is_cut_into_batches_that_the_service_takes(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(push, "MAX_BATCH_ITEMS", 3)
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            await one.report([usage(f"r{n}", milli_devices=1) for n in range(10)])
            voids = [Void(f"r{n}", "all but one") for n in range(9)]
            report = await one.report([usage("new", milli_devices=2)], voids)
        assert sum(len(each.receipt.voids) for each in report.receipts) == 9
        assert await usage_ids(proxy) == [*(f"r{n}" for n in range(10)), "new"]
        numbers = await seqs(proxy)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == 8


async def test_a_long_list_is_cut_by_its_bytes_too(database, tmp_path, monkeypatch):
    monkeypatch.setattr(push, "MAX_PAYLOAD_BYTES", 2_500)
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            await one.report([usage(f"r{n}", milli_devices=1) for n in range(20)])
        assert await usage_ids(proxy) == [f"r{n}" for n in range(20)]
        assert all(len(dsse.parse(body, dsse.BATCH_TYPE).payload) < 2_500 for body in proxy.seen)
        assert len(proxy.seen) == 2


def test_no_payload_within_the_limit_makes_an_envelope_beyond_the_services():
    payload = b'{"log":"x","provider":"p","stream":"s","seq":1,"records":[]}'
    payload += b" " * (push.MAX_PAYLOAD_BYTES - len(payload))
    sealed = dsse.seal(dsse.BATCH_TYPE, payload, "k" * 64, signer("pcl-1"))
    assert MAX_BATCH_BYTES - 1_024 < len(sealed) <= MAX_BATCH_BYTES


@pytest.mark.parametrize("largest", [1, 2, 3])
async def test_a_batch_that_is_too_large_for_somebody_on_the_way_is_halved(
    database, tmp_path, largest
):
    async with opened(database, tmp_path) as (proxy, key):
        proxy.largest = largest
        async with reporter(proxy, key, tmp_path) as one:
            report = await one.report([usage(f"r{n}", milli_devices=1) for n in range(7)])
        assert report.not_taken == []
        assert await usage_ids(proxy) == [f"r{n}" for n in range(7)]
        assert sorted(await seqs(proxy)) == list(range(1, len(report.receipts) + 1))


async def test_a_record_that_is_too_large_alone_is_set_aside_and_stops_no_other(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        proxy.too_large = b'"id":"r3"'
        async with reporter(proxy, key, tmp_path) as one:
            report = await one.report([usage(f"r{n}", milli_devices=1) for n in range(5)])
            (alone,) = report.not_taken
            assert (alone.item["id"], alone.code) == ("r3", "http_413")
            assert (await one.report([usage("later")])).not_taken == []
        assert sorted(await usage_ids(proxy)) == ["later", "r0", "r1", "r2", "r4"]
        numbers = await seqs(proxy)  # an empty batch stands where the record would have
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_what_has_not_the_form_of_a_record_is_set_aside_before_it_is_sent(database, tmp_path):
    bad = [
        fields("a b"),
        fields("x", more=1),
        fields("x", milli_devices=1.5),
        fields("x", start="yesterday"),
        fields("\ud800"),
        fields("x", run=float("nan")),
        fields("x", run=object()),
        {"id": "x"},
        usage("x", start="soon"),
        None,
    ]
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            report = await one.report([bad[0], usage("good"), *bad[1:]], [Void("good", "")])
        assert [each.code for each in report.not_taken] == ["malformed"] * 11
        assert await usage_ids(proxy) == ["good"]
        assert len((tmp_path / "outbox/refused.jsonl").read_text().splitlines()) == 11


async def test_what_the_receipt_rejects_is_reported_with_its_code(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            await one.report([usage("a")])
            voids = [Void("nobody", "why not")]
            again = [usage("a"), usage("a", contract="B"), usage("b", contract="B"), usage("c")]
            report = await one.report(again, voids)
        assert [(each.item["id"], each.code) for each in report.waiting] == [
            ("b", "unknown_contract")
        ]
        codes = ["unknown_record", "conflict"]
        assert [each.code for each in report.not_taken] == codes
        lines = (tmp_path / "outbox/refused.jsonl").read_text().splitlines()
        assert [json.loads(line)["code"] for line in lines] == codes
        assert json.loads(lines[1])["item"] == fields("a", contract="B")
        assert await usage_ids(proxy) == ["a", "c"]


async def let_it_end(proxy: Proxy) -> None:
    proxy.service.clock.set("2025-03-01T12:01:30+08:00")


async def unfreeze(proxy: Proxy) -> None:
    await proxy.service.ask("/v1/contracts/A/unfreeze")


async def register(proxy: Proxy) -> None:
    await proxy.service.ask("/v1/contracts", **contract_body("B"))


@pytest.mark.parametrize(
    ("code", "changes", "mend"),
    [
        ("in_future", {"end": "2025-03-01T12:06:30+08:00"}, let_it_end),
        ("unknown_contract", {"contract": "B"}, register),
        ("contract_frozen", {}, unfreeze),
    ],
)
async def test_a_refusal_that_passes_with_time_is_tried_again_until_it_has_passed(
    database, tmp_path, code, changes, mend
):
    async with opened(database, tmp_path) as (proxy, key):
        if code == "contract_frozen":
            await proxy.service.ask("/v1/contracts/A/freeze")
        async with reporter(proxy, key, tmp_path, retry_seconds=0) as one:
            for tries in (1, 2):
                report = await one.report([fields("a", **changes)] if tries == 1 else [])
                assert report.not_taken == []
                (waiting,) = report.waiting
                assert (waiting.item["id"], waiting.code, waiting.tries) == ("a", code, tries)
        await mend(proxy)
        async with reporter(proxy, key, tmp_path, retry_seconds=0) as one:
            assert (await one.report()).waiting == []
            assert (await one.report()).receipts == []
        assert await usage_ids(proxy) == ["a"]
        assert "refused.jsonl" not in ids(tmp_path)


async def test_a_record_that_waits_is_sent_again_later_and_later_and_not_before(database, tmp_path):
    waiting_file = tmp_path / "outbox/waiting.jsonl"

    def pause() -> int:
        """Let the time pass until the record is due; return how long it would have been."""
        line = json.loads(waiting_file.read_text())
        seconds = round(line["due"] - time.time())
        waiting_file.write_text(json.dumps(line | {"due": int(time.time())}) + "\n")
        return seconds

    pauses = []
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path, retry_seconds=1_000) as one:
            await one.report([fields("a", contract="B")])
        for _ in range(3):
            sent = len(proxy.seen)
            async with reporter(proxy, key, tmp_path, retry_seconds=1_000) as one:
                (waiting,) = (await one.report()).waiting
                assert len(proxy.seen) == sent
            pauses.append(pause())
            async with reporter(proxy, key, tmp_path, retry_seconds=1_000) as one:
                await one.report()
                assert len(proxy.seen) == sent + 1
    assert waiting.tries == 3
    assert pauses == [pytest.approx(seconds, abs=100) for seconds in (1_000, 2_000, 3_600)]


async def test_a_record_that_waits_too_long_is_refused_for_good(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path, retry_seconds=0) as one:
            assert (await one.report([fields("a", contract="B")])).not_taken == []
            await register(proxy)
            proxy.service.clock.set("2025-06-01T00:00:00+08:00")
            report = await one.report()
        assert ([each.code for each in report.not_taken], report.waiting) == (["too_late"], [])


async def test_a_void_or_another_record_of_its_id_ends_the_waiting_of_a_record(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path, retry_seconds=0) as one:
            await one.report([fields("a", contract="B"), fields("b", contract="B")])
            report = await one.report([fields("b")], [Void("a", "not charged")])
            assert [(each.item["id"], each.code) for each in report.not_taken] == [
                ("a", "unknown_record")
            ]
            assert report.waiting == []
            await register(proxy)
            await one.report()
        assert [
            (each.id, each.contract)
            for each in await proxy.service.entries()
            if each.kind == "usage"
        ] == [("b", "A")]


async def test_a_record_that_waits_is_in_one_batch_however_long_an_outage_lasts(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path, retry_seconds=0) as one:
            await one.report([fields("a", contract="B")])
            proxy.faults += ["status 500"] * 3
            for _ in range(3):
                with pytest.raises(Refused):
                    await one.report()
            await one.report()
        assert await seqs(proxy) == [1, 2]


async def test_a_clock_that_is_off_is_told_with_every_report(database, tmp_path, caplog):
    async with opened(database, tmp_path) as (proxy, key):
        clock = proxy.service.clock
        async with reporter(proxy, key, tmp_path) as one:
            for seconds, side in ((-100, "ahead of"), (0, ""), (100, "behind")):
                caplog.clear()
                clock.now = (int(time.time()) + seconds) * 1_000_000
                await one.report([fields(f"r{seconds}")])
                if side:
                    assert one.clock_ahead_seconds == pytest.approx(-seconds, abs=40)
                    assert side in caplog.text
                else:
                    assert caplog.text == ""


async def test_every_response_tells_the_ledgers_time(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, _):
        service = proxy.service
        for path in ("/healthz", "/v1/pools", "/v1/nowhere", "/v1/contracts/A"):
            answer = await service.get(path)
            assert answer.headers["Kashi-Time"] == str(service.clock.now), path
        sent = await service.usage([])
        assert sent.headers["Kashi-Time"] == str(service.clock.now)


async def test_what_a_batch_refused_whole_holds_is_found_and_the_rest_goes_on(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        proxy.unwanted = b'"id":"r2"'  # as if the service's rules were newer than ours
        async with reporter(proxy, key, tmp_path) as one:
            report = await one.report([usage(f"r{n}", milli_devices=1) for n in range(6)])
        assert [(each.item["id"], each.code) for each in report.not_taken] == [("r2", "bad_batch")]
        assert sorted(await usage_ids(proxy)) == ["r0", "r1", "r3", "r4", "r5"]


@pytest.mark.parametrize("faults", [["lost-before"] * 2, ["lost-after"] * 2])
async def test_after_an_outage_the_next_process_goes_on_with_the_same_payload(
    database, tmp_path, faults
):
    async with opened(database, tmp_path, *faults) as (proxy, key):
        with pytest.raises(Unreachable):
            async with Reporter(
                proxy.url, a_stream(), key, tmp_path / "outbox", attempts=2, **NO_PAUSE
            ) as one:
                await one.report([usage("a")])
        async with reporter(proxy, key, tmp_path) as one:
            report = await one.report([usage("a"), usage("b")])  # in doubt, all of it again
        assert [each.receipt.seq for each in report.receipts] == [1, 2]
        assert report.not_taken == []
        assert await usage_ids(proxy) == ["a", "b"]
        assert len(set(proxy.seen)) == 2


async def test_a_fault_at_one_batch_does_not_hold_up_the_others(database, tmp_path):
    async with opened(database, tmp_path, "status 500") as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            one._outbox.put(1, one._payload(1, push._Part([], [fields("a")])))
            one._stream.last_seq = 1
            with pytest.raises(Refused, match="http_500"):
                await one.report([usage("b")])
            assert await usage_ids(proxy) == ["b"]
            assert [each.receipt.seq for each in (await one.report()).receipts] == [1]
        assert await usage_ids(proxy) == ["b", "a"]


def in_batches(one, *parts) -> None:
    """Put batches into the outbox, the first of them as number 1."""
    for seq, (voids, records) in enumerate(parts, 1):
        one._outbox.put(seq, one._payload(seq, push._Part(voids, records)))
    one._stream.last_seq = len(parts)


TAKEN_BACK = {"id": "a", "reason": "it ran for less"}


async def test_a_void_waits_for_the_batch_that_brings_its_record(database, tmp_path):
    async with opened(database, tmp_path, "status 500") as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            in_batches(one, ([], [fields("a")]), ([TAKEN_BACK], [fields("a.1")]))
            with pytest.raises(Refused, match="http_500"):
                await one.report()
            assert await usage_ids(proxy) == []
            assert (await one.report()).not_taken == []
        assert await usage_ids(proxy) == ["a", "a.1"]
        assert [each.id for each in await proxy.service.entries() if each.kind == "void"] == ["a"]


async def test_a_void_comes_after_its_record_whatever_their_numbers_are(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            in_batches(one, ([TAKEN_BACK], [fields("a.1")]), ([], [fields("a")]))
            assert (await one.report()).not_taken == []
        assert await usage_ids(proxy) == ["a", "a.1"]
        assert [each.id for each in await proxy.service.entries() if each.kind == "void"] == ["a"]


async def test_under_a_new_key_the_batches_of_the_revoked_one_go_on(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        await proxy.service.ask("/v1/keys/pcl-1/revoke")
        async with reporter(proxy, key, tmp_path) as one:
            with pytest.raises(Refused, match="key_revoked"):
                await one.report([usage("a")])
        await proxy.service.ask("/v1/providers/pcl/keys", **key_body("pcl-2"))
        async with reporter(proxy, key, tmp_path, keyid="pcl-2", key=signer("pcl-2")) as one:
            assert len((await one.report()).receipts) == 1
        assert await usage_ids(proxy) == ["a"]


async def test_a_number_that_is_taken_is_left_to_who_took_it(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        for seq in (1, 2):
            await client.post(proxy.url, envelope(seq), key)
        async with reporter(proxy, key, tmp_path) as one:
            report = await one.report([usage("a")])
        assert [each.receipt.seq for each in report.receipts] == [3]
        assert await usage_ids(proxy) == ["r1", "r2", "a"]


async def test_who_lost_count_of_a_stream_is_told(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, key):
        for seq in range(1, 6):
            await client.post(proxy.url, envelope(seq), key)
        async with reporter(proxy, key, tmp_path) as one:
            with pytest.raises(Refused, match="seq_conflict"):
                await one.report([usage("a")])
        async with reporter(proxy, key, tmp_path, last_seq=5) as one:
            assert [each.receipt.seq for each in (await one.report()).receipts] == [6]


async def test_a_receipt_without_a_result_for_each_record_is_none(database, tmp_path):
    async with opened(database, tmp_path) as (proxy, _):

        def shortened(body: bytes, _: dict[str, str]) -> bytes:
            return json.dumps(json.loads(body) | {"results": []}).encode()

        proxy.bend = shortened
        with pytest.raises(BadReceipt, match="one result for each"):
            await client.post(proxy.url, envelope())


async def test_a_receipt_that_is_not_signed_settles_nothing(database, tmp_path):
    async with (
        opened(database, tmp_path) as (proxy, key),
        reporter(proxy, key, tmp_path) as one,
    ):
        proxy.bend = with_another_amount
        with pytest.raises(BadReceipt):
            await one.report([usage("a")])
        assert ids(tmp_path) == {"1.batch.json"}
        proxy.bend = lambda body, _: body
        assert len((await one.report()).receipts) == 1


async def test_a_folder_is_of_one_process_and_one_stream(database, tmp_path):
    async with opened(database, tmp_path, "status 400") as (proxy, key):
        async with reporter(proxy, key, tmp_path) as one:
            with pytest.raises(Refused):
                await one.report([usage("a")])
            with pytest.raises(ClientError, match="in_use"):
                async with reporter(proxy, key, tmp_path):
                    pass
        with pytest.raises(ClientError, match="other_stream"):
            async with reporter(proxy, key, tmp_path, name="other"):
                pass
        with pytest.raises(ValueError, match="stream"):
            async with reporter(proxy, key, tmp_path / "new", name="a:b"):
                pass


class CrashError(Exception):
    """A crash of the process at this point."""


@pytest.mark.parametrize("written", [False, True])
async def test_a_crash_at_any_write_of_the_folder_loses_and_doubles_nothing(
    database, tmp_path, monkeypatch, written
):
    write, left = spool.write_file, 0

    def dying(file: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left or written:
            write(file, data)
        if not left:
            raise CrashError

    async with opened(database, tmp_path) as (proxy, key):
        proxy.largest = 2
        for crash in itertools.count(1):
            folder, name = tmp_path / str(crash), f"s{crash}"
            records = [usage(f"{name}:{n}", milli_devices=1) for n in range(5)]
            with monkeypatch.context() as patch, contextlib.suppress(CrashError):
                left = crash
                patch.setattr(spool, "write_file", dying)
                async with reporter(proxy, key, folder, name=name) as one:
                    await one.report(records)
            async with reporter(proxy, key, folder, name=name) as one:
                assert (await one.report(records)).not_taken == []
            if left > 0:
                break
        entries = await proxy.service.entries()
    found = [each.id for each in entries if each.kind == "usage"]
    assert len(found) == len(set(found)) == 5 * crash
    assert crash > 10
    for number in range(1, crash + 1):
        stream = [e.seq for e in entries if e.kind == "batch" and e.stream == f"s{number}"]
        assert sorted(stream) == list(range(1, len(stream) + 1))
