"""Rotation of the service's keys: the signer at each number, and the range of each key.

First come ledgers of a writer (`tests/writer.py`), honest and not; then a real service that rotates
its keys while it runs.
"""

import asyncio
import base64
import json
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import note
from ledger.errors import CannotCheck, OtherKey, Violation
from ledger.tlog import Tree, leaf_hash
from meter import client
from meter.auditor.replay import Audit
from meter.auditor.verdict import verify_source
from meter.cli.main import main
from meter.client import BadReceipt
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.host.keys import Keys, new_log_key, new_receipt_key
from meter.rules.commands import AddLogKey, AddReceiptKey
from meter.rules.decide_command import decide_command
from meter.rules.kinds.kind import Existing, Stamp
from meter.rules.state import State, signing
from meter.service import admin, running, setup
from meter.values.problems import Problem
from meter.wire import dsse
from tests.books import DEVICE, log_signer, properties, public_text, record, signer
from tests.proving import opened
from tests.services import (
    HOUR,
    ORIGIN,
    Service,
    ask,
    check_sums,
    key_body,
    moved,
    projections,
    receipt_key,
    serving,
)
from tests.writer import Writer

OLD, NEW, THIRD = (log_signer(name).verifier.format() for name in ("log", "log-2", "log-3"))


def use(writer: Writer, id_: str) -> None:
    writer.post([record(id_, "A", *HOUR, 1_000)])


def keyids(writer: Writer) -> list[str]:
    """Return the ids of the keys that signed the last receipt."""
    return [keyid for keyid, _ in dsse.parse_signature_header(writer.signatures[-1])]


def exported(writer: Writer, vkey: str, checkpoint: str | None = None) -> list[str]:
    """Verify an export with a trusted key; returns the codes of its faults."""
    with tempfile.TemporaryDirectory() as folder:
        writer.export(Path(folder))
        if checkpoint is not None:
            (Path(folder) / "checkpoint").write_text(checkpoint)
        return codes(Path(folder), vkey)


def codes(folder: Path, vkey: str) -> list[str]:
    try:
        verdict = verify_source(str(folder), vkey, [], None, lambda *_: None)
    except CannotCheck as error:
        return [error.code]
    return [problem.code for problem in verdict.findings]


def signed_by(writer: Writer, *names: str) -> str:
    text = note.Checkpoint(ORIGIN_OF_BOOKS, writer.log.size, writer.log.root()).format()
    return note.sign(text, *map(log_signer, names)).decode()


ORIGIN_OF_BOOKS = log_signer("log").name


# Receipts


def test_both_keys_sign_receipts_in_the_overlap_and_one_before_and_after():
    writer, seen = opened(), []
    for change in (None, writer.add_receipt_key, writer.retire_receipt_key):
        if change is not None:
            change()
        use(writer, f"r{len(seen)}")
        seen.append(keyids(writer))
    assert seen == [["receipt-1"], ["receipt-1", "receipt-2"], ["receipt-2"]]
    assert exported(writer, OLD) == []


def test_receipts_of_all_times_are_held_against_the_keys_of_their_numbers():
    writer = opened()
    use(writer, "r1")
    writer.add_receipt_key()
    use(writer, "r2")
    writer.retire_receipt_key()
    use(writer, "r3")
    audit, tree = audited(writer)
    for receipt, signature in zip(writer.receipts, writer.signatures, strict=True):
        audit.check_receipt(receipt, signature, tree)
    for receipt in writer.receipts:
        held = [each for each in writer.signatures if stands(audit, receipt, each, tree)]
        assert len(held) == 1
    again = dsse.ReceiptSigner("receipt-2", signer("receipt-2")).sign(writer.receipts[0])
    assert not stands(audit, writer.receipts[0], again, tree)


def audited(writer: Writer) -> tuple[Audit, Tree]:
    audit, tree = Audit(), Tree()
    for number, leaf in enumerate(writer.leaves):
        audit.entry(number, leaf, json.loads(leaf), writer.files.get(number, []), tree)
        tree.append(leaf_hash(leaf))
    audit.finish()
    return audit, tree


def stands(audit: Audit, receipt: bytes, signature: str, tree: Tree) -> bool:
    try:
        audit.check_receipt(receipt, signature, tree)
    except Violation as violation:
        if violation.code != "receipt_not_signed":
            raise
        return False
    return True


def signed_with(*keyids: str):
    """Sign a receipt with these keys in place of the right ones."""
    keys = {"receipt-1": "receipts"}

    def tell(files: list[bytes]) -> list[bytes]:
        signers = [dsse.ReceiptSigner(each, signer(keys.get(each, each))) for each in keyids]
        return [*files[:2], dsse.sign_receipt(files[1], signers).encode()]

    return tell


@pytest.mark.parametrize(
    "keyids",
    [
        *(("receipt-1",), ("receipt-2",), ("receipt-2", "receipt-1"), ()),
        ("receipt-1", "receipt-2", "receipt-2"),
        ("receipt-1", "receipt-3"),
    ],
)
def test_other_signatures_than_both_in_the_overlap_are_found(keyids):
    writer = opened()
    writer.add_receipt_key()
    writer.tell_files = signed_with(*keyids)
    use(writer, "r1")
    assert exported(writer, OLD) == ["bad_receipt_signature"]


@pytest.mark.parametrize("keyids", [("receipt-1",), ("receipt-1", "receipt-2")])
def test_a_receipt_that_a_retired_key_signed_is_found(keyids):
    writer = opened()
    writer.add_receipt_key()
    writer.retire_receipt_key()
    writer.tell_files = signed_with(*keyids)
    use(writer, "r1")
    assert exported(writer, OLD) == ["bad_receipt_signature"]


# Checkpoints


def test_whoever_trusts_one_key_of_a_log_can_verify_it_at_any_time():
    writer = opened()
    assert [exported(writer, vkey) for vkey in (OLD, NEW)] == [[], ["other_key"]]
    writer.add_log_key()
    assert [exported(writer, vkey) for vkey in (OLD, NEW)] == [[], []]
    writer.retire_log_key()
    assert [exported(writer, vkey) for vkey in (OLD, NEW)] == [[], []]
    writer.add_log_key("log-3")
    writer.retire_log_key("log-2")
    use(writer, "r1")
    assert [exported(writer, vkey) for vkey in (OLD, NEW, THIRD)] == [[], [], []]
    stranger = log_signer("stranger").verifier.format()
    assert exported(writer, stranger) == ["other_key"]


def test_a_checkpoint_of_before_a_change_of_keys_is_told_as_such_and_accuses_nobody(tmp_path):
    writer = opened()
    writer.export(tmp_path)
    with pytest.raises(OtherKey, match=r"not [^ ]+, which none of its entries names") as error:
        verify_source(str(tmp_path), NEW, [], None, lambda *_: None)
    old = note.Verifier.parse(OLD).label
    assert error.value.detail.startswith(f"{old} signed the checkpoint, a key of this log's")
    assert error.value.detail.endswith("the checkpoint is of before the change")
    # Also where the change is there already, beyond the checkpoint.
    before = (tmp_path / "checkpoint").read_bytes()
    writer.add_log_key()
    writer.retire_log_key()
    shutil.copytree(writer.export(tmp_path / "later"), tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "later")
    assert codes(tmp_path, NEW) == []
    (tmp_path / "checkpoint").write_bytes(before)
    assert codes(tmp_path, NEW) == ["other_key"]
    assert codes(tmp_path, OLD) == []


def test_a_rotation_can_be_taken_back():
    writer = opened()
    writer.add_log_key()
    writer.retire_log_key("log-2")
    assert (
        note.split_note(writer.checkpoint().encode())[1][0].key_id
        == log_signer("log").verifier.key_id
    )
    assert [exported(writer, vkey) for vkey in (OLD, NEW)] == [[], []]


@pytest.mark.parametrize("names", [("log",), ("log-2",), ("log-2", "log-3")])
def test_a_checkpoint_that_a_key_of_the_overlap_did_not_sign_is_found(names):
    writer = opened()
    writer.add_log_key()
    checkpoint = signed_by(writer, *names)
    for vkey in (OLD, NEW):
        assert exported(writer, vkey, checkpoint) == ["wrong_log_key"]


def test_a_retired_key_alone_signs_nothing():
    writer = opened()
    writer.add_log_key()
    writer.retire_log_key()
    assert exported(writer, OLD, signed_by(writer, "log")) == ["wrong_log_key"]
    assert exported(writer, NEW, signed_by(writer, "log")) == ["wrong_log_key"]
    # More lines do no harm: strangers may sign too, for example witnesses.
    assert exported(writer, OLD, signed_by(writer, "log", "log-2")) == []


def test_a_key_that_was_not_named_yet_signs_nothing():
    writer = opened()
    early = signed_by(writer, "log-2")
    assert exported(writer, OLD, early) == ["other_key"]
    assert exported(writer, NEW, early) == ["wrong_log_key"]


def test_nobody_takes_a_log_over_by_naming_a_key_of_his_own():
    """The trusted key is public: anyone can write a ledger whose entry 0 names it."""
    thief = opened()
    thief.add_log_key()
    assert exported(thief, OLD, signed_by(thief, "log-2")) == ["wrong_log_key"]
    thief.checkpoint = lambda: signed_by(thief, "log-2")
    thief.retire_log_key()
    assert exported(thief, OLD, signed_by(thief, "log-2")) == ["wrong_checkpoint"]


def test_the_last_checkpoint_of_a_retired_key_is_that_of_all_entries_before():
    def early(writer: Writer) -> str:
        earlier = note.Checkpoint(ORIGIN_OF_BOOKS, writer.log.size - 1, bytes(32))
        return note.sign(earlier.format(), log_signer("log"), log_signer("log-2")).decode()

    lies = {
        "another size and root": early,
        "only the old key": lambda writer: signed_by(writer, "log"),
        "the other order": lambda writer: signed_by(writer, "log-2", "log"),
        "a stranger too": lambda writer: signed_by(writer, "log", "log-2", "log-3"),
        "nothing": lambda _: "",
        "no note": lambda _: "x\n",
    }
    for lie, tell in lies.items():
        writer = opened()
        writer.add_log_key()
        told = tell(writer)
        writer.checkpoint = lambda told=told: told
        writer.retire_log_key()
        del writer.checkpoint
        assert exported(writer, NEW) == ["wrong_checkpoint"], lie


# Commands of the authority


def refusal(call, *arguments, **changes) -> Problem:
    with pytest.raises(Problem) as found:
        call(*arguments, **changes)
    return found.value


def test_two_keys_at_a_time_and_never_none():
    writer = opened()
    assert refusal(writer.retire_receipt_key).code == "last_key"
    assert refusal(writer.retire_log_key).code == "last_key"
    writer.add_receipt_key()
    writer.add_log_key()
    assert refusal(writer.add_receipt_key, "receipt-3").code == "overlap_open"
    assert refusal(writer.add_log_key, "log-3").code == "overlap_open"
    first = writer.retire_receipt_key()
    writer.retire_log_key()
    assert refusal(writer.retire_receipt_key).facts == {"entry": first}
    assert refusal(writer.retire_log_key).code == "already_retired"
    assert refusal(writer.retire_receipt_key, "receipt-2").code == "last_key"
    assert refusal(writer.retire_receipt_key, "receipt-9").code == "not_found"
    assert refusal(writer.retire_log_key, "log-3").code == "not_found"


def test_a_key_is_named_once_and_for_one_use():
    writer = opened()
    writer.key("pcl-2")
    for name in ("pcl-2", "receipts"):
        public = public_text(signer(name))
        problem = refusal(writer.add_receipt_key, "receipt-2", public_key=public)
        assert problem.code == "exists_differently"
        raw = signer(name).public_key().public_bytes_raw()
        vkey = note.Verifier(ORIGIN_OF_BOOKS, raw).format()
        assert refusal(writer.ask, AddLogKey, vkey=vkey).code == "exists_differently"
    assert refusal(writer.add_receipt_key, "receipt-1").code == "exists_differently"
    for public in (public_text(signer("receipts")), log_public("log")):
        assert refusal(writer.key, "pcl-3", public_key=public).code == "exists_differently"
    number = writer.add_receipt_key()
    assert writer.add_receipt_key() == number
    assert writer.add_log_key() == writer.add_log_key()
    for alike in ("Receipt-1", "Receipt-2"):
        assert refusal(writer.add_receipt_key, alike).code == "looks_alike"


def log_public(name: str) -> str:
    return base64.b64encode(log_signer(name).verifier.public_key).decode()


@pytest.mark.parametrize(
    "vkey", ["x", OLD[:-1], OLD.replace("A", "B", 1), OLD + " ", "PRIVATE+KEY+" + OLD]
)
def test_a_text_that_is_no_vkey_is_refused(vkey):
    assert refusal(opened().ask, AddLogKey, vkey=vkey).code == "malformed"


def test_a_log_key_bears_the_ledgers_name():
    vkey = note.Signer.from_seed("kashi.test/other", bytes(32)).verifier.format()
    assert refusal(opened().ask, AddLogKey, vkey=vkey).code == "malformed"


@pytest.mark.parametrize("public_key", ["A" * 44, "A" * 42 + "B=", "!" * 44])
def test_a_text_that_is_no_public_key_is_refused(public_key):
    problem = refusal(opened().add_receipt_key, public_key=public_key)
    assert problem.code == "malformed"


def test_a_suspicion_lies_in_the_past_and_is_kept_to_the_second():
    writer = opened()
    late = "2025-03-01T12:00:01+08:00"
    assert refusal(writer.revoke, suspected_since=late).code == "bad_dates"
    number = writer.revoke(suspected_since="2025-03-01T04:00:00Z")
    assert writer.entries[number].suspected_since == writer.now
    assert writer.state.keys["pcl-1"].suspected_since == writer.now


# Random commands

NAMES = ("log", "log-2", "log-3")
KEYIDS = ("receipt-1", "receipt-2", "receipt-3")
operations = st.one_of(
    st.tuples(st.just("use")),
    st.tuples(st.sampled_from(["add_log_key", "retire_log_key"]), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["add_receipt_key", "retire_receipt_key"]), st.sampled_from(KEYIDS)),
)


@settings(properties, max_examples=40)
@given(st.lists(operations, max_size=16))
def test_any_history_of_rotations_verifies_under_each_key_that_it_names(history):
    writer = opened()
    for count, (name, *arguments) in enumerate(history):
        try:
            if name == "use":
                use(writer, f"r{count}")
            else:
                getattr(writer, name)(*arguments)
        except Problem as problem:
            if problem.code not in CODES_OF_ROTATION:
                raise
    state = writer.state
    for number in range(1, len(writer.leaves) + 1):
        assert 1 <= len(signing(state.log_keys, number)) <= 2
        assert 1 <= len(signing(state.receipt_keys, number)) <= 2
    for vkey in state.log_keys:
        assert exported(writer, vkey) == []


CODES_OF_ROTATION = {
    *("overlap_open", "last_key", "already_retired", "not_found", "exists_differently")
}


def test_a_command_that_was_carried_out_is_known_again():
    writer = opened()
    number = writer.add_log_key()
    stamp = Stamp(writer.now, "op-1", "again", "00")
    assert decide_command(writer.state, AddLogKey(vkey=NEW), stamp) == Existing(number)
    writer.add_receipt_key()
    command = AddReceiptKey(
        keyid="receipt-2", algorithm="ed25519", public_key=public_text(signer("receipt-2"))
    )
    assert isinstance(decide_command(writer.state, command, stamp), Existing)


# A running service


def kashi(*words: object) -> dict:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def new_key(folder: DataFolder, kind: str) -> dict:
    """Make a key with the command; returns the body that adds it."""
    return kashi("key", "new", "--data", folder.path, kind)


async def take(known: Service, seq: int) -> list[str]:
    """Post a batch; returns the ids of the keys that signed its receipt."""
    answer = await known.usage([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
    assert answer.status == 200, answer.body
    header = answer.headers["Kashi-Signature"]
    return [keyid for keyid, _ in dsse.parse_signature_header(header)]


async def checkpoint_keys(known: Service) -> set[bytes]:
    """Return the signers of the checkpoint of all that is committed, once it is published."""
    for _ in range(1_000):
        answer = await known.get("/log/checkpoint")
        assert answer.status == 200
        if note.claimed_checkpoint(answer.body).size >= known.intake.watermark.size:
            return {each.key_id for each in note.split_note(answer.body)[1]}
        await asyncio.sleep(0.01)
    raise AssertionError("it was never published")


async def test_keys_rotate_while_the_service_runs_and_restarts(database, tmp_path, monkeypatch):
    async with serving(database, tmp_path) as known:
        folder = known.folder
        first = note.Signer.parse(folder.log_key.read_text().strip()).verifier
        await known.open_books()
        assert await take(known, 1) == ["receipt-1"]
        receipts, logs = new_key(folder, "receipt"), new_key(folder, "log")
        second = note.Verifier.parse(logs["vkey"])
        assert logs["vkey"] == (folder.path / "log-2.vkey").read_text().strip()
        await known.ask("/v1/receipt-keys", **receipts)
        await known.ask("/v1/log-keys", **logs)
        assert await take(known, 2) == ["receipt-1", "receipt-2"]
        assert await checkpoint_keys(known) == {first.key_id, second.key_id}
    async with serving(database, tmp_path) as known:
        assert await take(known, 3) == ["receipt-1", "receipt-2"]
        assert (await known.get("/v1/receipt-key")).json["keyid"] == "receipt-2"
        retired = await known.post("/v1/receipt-keys/retire", {"keyid": "receipt-1"}, "retire-1")
        assert retired.status == 201
        retired = await known.post("/v1/log-keys/retire", {"vkey": first.format()}, "retire-2")
        assert retired.status == 201
        assert await take(known, 4) == ["receipt-2"]
        assert await take(known, 1) == ["receipt-1"]  # the stored answer
        assert await checkpoint_keys(known) == {second.key_id}
    folder.log_key.unlink()
    folder.receipt_key.unlink()
    async with serving(database, tmp_path) as known:
        assert await take(known, 5) == ["receipt-2"]
        monkeypatch.setenv(DATABASE_VARIABLE, database)
        await admin.export_to(folder, tmp_path / "out")
    for vkey in (first, second):
        assert codes(tmp_path / "out", vkey.format()) == []
    before = await projections(database)
    await admin.rebuild_in(folder)
    assert await projections(database) == before
    await check_sums(database)
    (folder.path / "receipt-2.key").unlink()
    with pytest.raises(setup.SetupError, match="wrong_keys"):
        await running.running(folder, clock=moved(known.clock)).__aenter__()


async def test_a_key_whose_private_half_is_not_here_is_not_taken(database, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        (elsewhere := DataFolder(tmp_path / "elsewhere")).path.mkdir()
        elsewhere.origin.write_text(ORIGIN)
        size = (await known.get("/v1/entries?after=-1")).json["as_of"]["entries"]
        for kind, path in (("receipt", "/v1/receipt-keys"), ("log", "/v1/log-keys")):
            body = new_key(elsewhere, kind)
            assert (await known.post(path, body)).code == "key_not_here"
            for file in elsewhere.path.glob(f"{kind}-2.key"):
                file.rename(known.folder.path / f"{kind}-brought.key")
            assert (await known.post(path, body)).status == 201
        assert (await known.get("/v1/entries?after=-1")).json["as_of"]["entries"] == size + 2
        assert await take(known, 1) == ["receipt-1", "receipt-2"]
    await check_sums(database)


async def test_a_file_that_holds_no_key_is_named_and_never_repeated(database, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        body = new_key(known.folder, "receipt")
        (known.folder.path / "receipt-2.key").write_text("c2VjcmV0")
        answer = await known.post("/v1/receipt-keys", body)
        assert answer.code == "key_not_here"
        assert "receipt-2.key" in answer.json["detail"]
        assert "c2VjcmV0" not in answer.body.decode()
        assert await take(known, 1) == ["receipt-1"]


async def test_a_rotation_that_is_not_committed_changes_no_signature(database, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        body = new_key(known.folder, "receipt")
        table = "ALTER TABLE meter.registration"
        await ask(database, f"{table} ADD CONSTRAINT no CHECK (kind <> 'receipt_key') NOT VALID")
        assert (await known.post("/v1/receipt-keys", body, "again")).status == 503
        assert await take(known, 1) == ["receipt-1"]
        await ask(database, f"{table} DROP CONSTRAINT no")
        assert (await known.post("/v1/receipt-keys", body, "again")).status == 201
        assert await take(known, 2) == ["receipt-1", "receipt-2"]
    await check_sums(database)


async def test_batches_that_come_while_keys_rotate_are_all_signed_as_their_numbers_ask(
    database, tmp_path
):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        body = new_key(known.folder, "receipt")

        async def rotate() -> None:
            await asyncio.sleep(0)
            await known.ask("/v1/receipt-keys", **body)
            await known.ask("/v1/receipt-keys/retire", keyid="receipt-1")

        *signed, _ = await asyncio.gather(*(take(known, seq) for seq in range(1, 60)), rotate())
        assert {"receipt-1"} <= {each for keyids in signed for each in keyids}
        assert await take(known, 99) == ["receipt-2"]
    await check_sums(database)  # which audits every signature


async def test_a_client_that_knows_either_key_takes_receipts_of_the_overlap(database, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        old = base64.b64encode(receipt_key(known)).decode()
        body = new_key(known.folder, "receipt")
        await known.ask("/v1/receipt-keys", **body)
        for seq, trusted in enumerate((old, body["public_key"]), 1):
            envelope = known.envelope([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
            taken = await client.post(known.url, envelope, trusted)
            assert taken.receipt.seq == seq
        await known.ask("/v1/receipt-keys/retire", keyid="receipt-1")
        envelope = known.envelope([record("r3", "A", *HOUR, 1_000)], seq=3)
        with pytest.raises(BadReceipt, match="did not sign"):
            await client.post(known.url, envelope, old)
        assert (await client.post(known.url, envelope, body["public_key"])).receipt.seq == 3


# The folder


def test_a_new_key_gets_the_next_number_and_is_its_owners_alone(tmp_path):
    folder = DataFolder(tmp_path)
    for number in (2, 3):
        file, public = new_receipt_key(folder)
        assert file == tmp_path / f"receipt-{number}.key"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert Keys(folder).receipt_key(public) is not None
        vkey = new_log_key(folder, ORIGIN)
        assert stat.S_IMODE((tmp_path / f"log-{number}.key").stat().st_mode) == 0o600
        assert Keys(folder).log_key(vkey).verifier.format() == vkey
    (tmp_path / "receipt-2.key").unlink()
    assert new_receipt_key(folder)[0] == tmp_path / "receipt-4.key"


def test_a_state_without_its_private_keys_signs_nothing(tmp_path):
    state: State = opened().state
    keys = Keys(DataFolder(tmp_path))
    assert refusal(keys.receipt_signers, state, state.size).code == "key_not_here"
    assert refusal(keys.checkpoint_signers, state, state.size).code == "key_not_here"


# Signatures of a stolen key


async def test_the_suspects_of_a_revoked_key_are_its_batches_since_then(database, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        await known.ask("/v1/providers/pcl/keys", **key_body("pcl-2"))
        for seq, keyid in enumerate(["pcl-1", "pcl-1", "pcl-2", "pcl-1", "pcl-1"], 1):
            records = [record(f"r{seq}.{n}", "A", *HOUR, 1_000) for n in range(seq)]
            refused = [record(f"x{seq}", "nobody", *HOUR, 1_000)]
            voids = [{"id": "r4.0", "reason": "theft"}] if seq == 5 else []
            answer = await known.usage([*records, *refused], voids, keyid=keyid, seq=seq)
            assert answer.status == 200, answer.body
            known.clock.advance(60)
        path = "/v1/keys/pcl-1/suspects"
        assert (await known.get(path)).json["suspects"] == []
        since = "2025-03-01T12:01:00+08:00"
        await known.ask("/v1/keys/pcl-1/revoke", suspected_since=since)
        everything = (await known.get(path)).json
        told = [(each["seq"], each["counting"]) for each in everything["suspects"]]
        assert told == [(2, 2), (4, 3), (5, 5)]
        assert everything["suspects"][0]["time"] == since
        assert everything["more"] is False
        await known.ask("/v1/records/void", provider="pcl", id="r5.3", reason="not ours")
        paged, after = [], ""
        for _ in range(3):
            page = (await known.get(f"{path}?limit=1&after={after}")).json
            paged += [(each["seq"], each["counting"]) for each in page["suspects"]]
            after = page["next"]
        assert paged == [(2, 2), (4, 3), (5, 4)]
        assert (await known.get("/v1/keys/nobody/suspects")).code == "not_found"
        batch = everything["suspects"][1]["batch"]
        entries = (await known.get(f"/v1/entries?batch={batch}")).json["entries"]
        assert [each["entry"]["kind"] for each in entries] == ["batch", *["usage"] * 4]
    await check_sums(database)


async def test_what_a_revoked_key_signed_before_stays(database, tmp_path):
    async with serving(database, tmp_path) as known:
        await known.open_books()
        envelope = known.envelope([record("r1", "A", *HOUR, 64_000)])
        first = await known.post("/v1/usage", envelope, None)
        await known.ask("/v1/keys/pcl-1/revoke", suspected_since="2025-03-01T04:00:00Z")
        again = await known.post("/v1/usage", envelope, None)
        assert (again.status, again.body) == (200, first.body)
        assert (await known.balance())["granted"] == "144.00"
        assert (await known.usage([], seq=2)).code == "key_revoked"
        assert DEVICE in (await known.contract())["prices"]
