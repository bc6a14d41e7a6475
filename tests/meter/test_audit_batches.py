"""Batches, records and voids that are left out, changed or told twice, and the audit finds it."""

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.canon import decode, encode
from meter.rules.decide import Decided
from meter.wire import dsse
from tests.auditing import changed, found, only, policy, reordered, usage, without, world
from tests.books import DAY, DEVICE, signer, uscc_of, void
from tests.writer import Writer, bent, with_receipt


def test_usage_without_its_batch_entry_is_found():
    writer = world()
    writer.tell = only("batch", lambda _: None)
    with found(writer, "unexpected_entry", "usage"):
        writer.post([usage("r1")])


def test_a_record_dropped_from_its_batch_is_found_where_the_next_one_stands():
    writer = world()
    writer.tell = only("usage", lambda usage: None if usage.id == "r1" else usage)
    with found(writer, "not_as_decided", "id is 'r2', not 'r1'", after=1):
        writer.post([usage("r1"), usage("r2")])


def test_a_record_dropped_from_the_end_of_the_ledger_is_found():
    writer = world()
    writer.tell = only("usage", lambda usage: None if usage.id == "r2" else usage)
    with found(writer, "batch_incomplete", "1 entries"):
        writer.post([usage("r1"), usage("r2")])


def test_a_record_wrongly_refused_is_found():
    writer = world()
    with (
        found(writer, "wrong_receipt", "'rejected'"),
        bent(writer.state.contracts["A"], freezes=[1]),
    ):
        (result,) = writer.post([usage("r1")])
        assert result.code == "contract_frozen"


def test_a_record_wrongly_called_a_duplicate_is_found():
    writer = world()
    writer.post([usage("r1")])
    held = writer.state.records["pcl", "r1"]
    writer.state.records["pcl", "r2"] = held
    with found(writer, "wrong_receipt", "'duplicate'"):
        (result,) = writer.post([usage("r2")])
        assert result.status == "duplicate"


def test_a_record_that_the_receipt_rejects_and_the_ledger_charges_is_found():
    writer = world()
    refused = {"id": "r1", "status": "rejected", "code": "contract_frozen", "detail": "so it was"}
    writer.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt.update(results=[refused])
    )
    with found(writer, "wrong_receipt", "the receipt says"):
        writer.post([usage("r1")])


def frozen(writer: Writer) -> Any:
    writer.contract("Z")
    writer.freeze("Z")
    return bent(writer.state.contracts["Z"], freezes=[])


def with_another_provider(writer: Writer) -> Any:
    writer.provider("sz", uscc=uscc_of(7))
    writer.contract("Z", provider="sz")
    contract = writer.state.contracts["Z"]
    return bent(contract, registered=replace(contract.registered, provider="pcl"))


def too_late(writer: Writer) -> Any:
    writer.activate(policy(version="strict", lateness=1))
    writer.contract("Z")
    contract = writer.state.contracts["Z"]
    return bent(contract, policy=replace(contract.policy, lateness_seconds=30 * DAY))


def without_a_price(writer: Writer) -> Any:
    writer.contract("Z", prices={"other": "1.00"})
    contract = writer.state.contracts["Z"]
    return bent(contract, steps=[dataclasses.replace(contract.steps[0], prices={DEVICE: 45_000})])


@pytest.mark.parametrize("lie", [frozen, with_another_provider, too_late, without_a_price])
def test_a_record_wrongly_accepted_is_found(lie):
    writer = world()
    with lie(writer), found(writer, "wrong_receipt", "'accepted'"):
        (result,) = writer.post([usage("r1", "Z")])
        assert result.status == "accepted"


def test_a_key_used_after_its_revocation_is_found():
    writer = world()
    writer.revoke()
    with (
        bent(writer.state.keys["pcl-1"], revoked=None),
        found(writer, "not_allowed", "key_revoked"),
    ):
        writer.post([usage("r1")])


def test_a_key_that_no_entry_registered_is_found():
    writer = world()
    writer.tell = only("key", lambda _: None)
    writer.key("hidden")
    with found(writer, "bad_signature", "hidden"):
        writer.post([usage("r1")], keyid="hidden")


def test_a_batch_that_its_key_did_not_sign_is_found():
    writer = world()
    payload = writer.payload([usage("r1")])
    with found(writer, "bad_signature", "pcl-1"):
        writer.send(dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("forger")))


def test_a_batch_for_another_log_is_found():
    writer = world()
    other = replace(writer.state.genesis, origin="kashi.test/other")
    with bent(writer.state, genesis=other), found(writer, "not_allowed", "wrong_log"):
        writer.post([usage("r1")], log="kashi.test/other")


def test_a_batch_for_another_ledger_of_the_name_is_found():
    writer = world()
    other = "0" * 64
    with bent(writer.state, genesis_hash=other), found(writer, "not_allowed", "wrong_genesis"):
        writer.post([usage("r1")], genesis=other)


def test_a_batch_under_the_key_of_another_provider_is_found():
    writer = world()
    writer.provider("sz", uscc=uscc_of(7))
    key = writer.state.keys["pcl-1"]
    of_other = replace(key.registered, provider="sz")
    with bent(key, registered=of_other), found(writer, "not_allowed", "provider_mismatch"):
        writer.post(provider="sz")


def test_a_batch_taken_twice_is_found():
    writer = world()
    writer.post([usage("r1")])
    (envelope, *_) = writer.files[len(writer.leaves) - 2]
    writer.state.batches.clear()
    with found(writer, "batch_twice"):
        writer.send(envelope)


def test_another_batch_under_a_number_that_is_filled_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.state.batches.clear()
    with found(writer, "not_allowed", "seq_conflict"):
        writer.post([usage("r2")], seq=1)


def test_a_record_charged_twice_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.state.records.clear()
    with found(writer, "wrong_receipt", "'accepted'"):
        writer.post([usage("r1")])


def with_a_void_forgotten() -> Writer:
    writer = world()
    writer.post([usage("r1"), usage("r2")])
    writer.void("r1")
    writer.state.records["pcl", "r1"].voided = None
    return writer


def test_a_second_void_of_a_record_by_its_provider_is_found():
    writer = with_a_void_forgotten()
    with found(writer, "wrong_receipt", "already_voided"):
        writer.post(voids=[void("r1")])


def test_a_second_void_of_a_record_by_the_authority_is_found():
    writer = with_a_void_forgotten()
    with found(writer, "not_allowed", "already_voided"):
        writer.void("r1")


def test_a_void_of_a_record_that_is_not_there_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = changed("void", id="r2")
    with found(writer, "not_allowed", "unknown_record"):
        writer.void("r1")


def test_a_void_that_names_the_entry_of_another_record_is_found():
    writer = world()
    writer.post([usage("r1"), usage("r2")])
    writer.tell = only("void", lambda void: replace(void, record=void.record + 1))
    with found(writer, "not_as_decided", "record"):
        writer.void("r1")


def test_a_void_that_nobody_asked_for_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = only("void", lambda void: without(decode(encode(void)), {"request"}))
    with found(writer, "unexpected_entry", "void"):
        writer.void("r1")


@pytest.mark.parametrize("kind", ["void", "batch", "usage"])
@pytest.mark.parametrize("salt", [None, "", "00" * 15, "AB" * 16, "zz" * 16])
def test_an_entry_without_a_salt_is_found(kind, salt):
    writer = world()
    if kind == "void":
        writer.post([usage("r1")])
    writer.tell = only(kind, lambda entry: with_salt(decode(encode(entry)), salt))
    with found(writer, "bad_fields", "salt", after=1 if kind == "usage" else 0):
        writer.void("r1") if kind == "void" else writer.post([usage("r1")])


def with_salt(fields: dict[str, Any], salt: str | None) -> dict[str, Any]:
    return without(fields, {"salt"}) if salt is None else fields | {"salt": salt}


@pytest.mark.parametrize("kind", ["usage", "void"])
def test_a_salt_that_does_not_follow_from_the_batchs_is_found(kind):
    writer = world()
    writer.post([usage("r1")])
    writer.tell = changed(kind, salt="ab" * 16)
    with found(writer, "not_as_decided", "salt is", after=1):
        writer.post(*{"usage": [[usage("r2")]], "void": [[], [void("r1")]]}[kind])


def test_a_void_by_the_authority_that_claims_a_batch_is_found():
    writer = world()
    writer.post([usage("r1")])
    writer.tell = changed("void", batch=len(writer.leaves) - 2)
    with found(writer, "unexpected_entry", "void"):
        writer.void("r1")


def test_entries_of_a_batch_in_another_order_are_found():
    writer = world()
    writer.tell_batch = reordered(0, 2, 1)
    with found(writer, "not_as_decided", "id is 'r2', not 'r1'", after=1):
        writer.post([usage("r1"), usage("r2")])


def test_an_entry_after_the_end_of_a_batch_is_found():
    writer = world()
    writer.post([usage("r1")])
    with found(writer, "unexpected_entry", "usage"):
        writer.write(replace(writer.entries[-1], id="r2", postings=[]))


def test_a_command_within_a_batch_is_found():
    writer = world()
    command = replace(writer.entries[-1], request="another")
    writer.tell_batch = lambda decided: Decided(
        decided.place,
        [decided.entries[0], command, *decided.entries[1:]],
        decided.receipt,
        decided.results,
    )
    with found(writer, "not_as_decided", "kind is 'issue', not 'usage'", after=1):
        writer.post([usage("r1")])
