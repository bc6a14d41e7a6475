"""The ledger's beginning and the service's keys: genesis, log keys, receipt keys."""

import base64
from collections.abc import Mapping
from hashlib import sha256

from ledger.canon import encode
from ledger.errors import BadKey, WeakKey
from ledger.note import Verifier
from meter.rules.commands import AddLogKey, AddReceiptKey, Command, RetireLogKey, RetireReceiptKey
from meter.rules.entries import (
    Genesis,
    LogKeyAdded,
    LogKeyRetired,
    ReceiptKeyAdded,
    ReceiptKeyRetired,
)
from meter.rules.kinds import people
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Existing,
    Judged,
    Kind,
    Stamp,
    check_spelling,
    note_spelling,
)
from meter.rules.state import ServiceKey, State
from meter.values.problems import Problem
from meter.wire.dsse import parse_public_key


def check_first_keys(entry: Genesis) -> None:
    """Raise `Problem` for keys of a genesis that no later entry could name."""
    _parse_log_key(entry.log_key, entry.origin)
    parse_public_key(entry.receipt_key.public_key)


def _apply_genesis(state: State, number: int, entry: Genesis) -> None:
    state.genesis = entry
    state.genesis_hash = sha256(encode(entry)).hexdigest()
    key = entry.receipt_key
    state.log_keys[entry.log_key] = ServiceKey(number, entry.log_key)
    state.receipt_keys[key.keyid] = ServiceKey(number, key.public_key)
    note_spelling(state, "receipt key", key.keyid)
    people.note_first(state, number, entry)


def _judge_log_key(state: State, command: AddLogKey, _stamp: Stamp) -> Judged:
    known = state.log_keys.get(command.vkey)
    if known is not None:
        return Existing(known.entry)
    check_unused(state, _parse_log_key(command.vkey, origin_of(state)).public_key)
    _check_no_overlap(state.log_keys)
    return NOTHING_MORE


def _apply_log_key(state: State, number: int, entry: LogKeyAdded) -> None:
    state.log_keys[entry.vkey] = ServiceKey(number, entry.vkey)


def _judge_log_key_retirement(state: State, command: RetireLogKey, stamp: Stamp) -> Judged:
    _check_retirement(state.log_keys, command.vkey)
    return {"checkpoint": stamp.checkpoint}, []


def _apply_log_key_retirement(state: State, number: int, entry: LogKeyRetired) -> None:
    state.log_keys[entry.vkey].retired = number


def _judge_receipt_key(state: State, command: AddReceiptKey, _stamp: Stamp) -> Judged:
    known = state.receipt_keys.get(command.keyid)
    if known is not None:
        if known.public_key != command.public_key:
            raise Problem("exists_differently", f"entry {known.entry} holds this id")
        return Existing(known.entry)
    check_spelling(state, "receipt key", command.keyid)
    check_unused(state, parse_public_key(command.public_key))
    _check_no_overlap(state.receipt_keys)
    return NOTHING_MORE


def _apply_receipt_key(state: State, number: int, entry: ReceiptKeyAdded) -> None:
    state.receipt_keys[entry.keyid] = ServiceKey(number, entry.public_key)
    note_spelling(state, "receipt key", entry.keyid)


def _judge_receipt_key_retirement(state: State, command: RetireReceiptKey, _stamp: Stamp) -> Judged:
    _check_retirement(state.receipt_keys, command.keyid)
    return NOTHING_MORE


def _apply_receipt_key_retirement(state: State, number: int, entry: ReceiptKeyRetired) -> None:
    state.receipt_keys[entry.keyid].retired = number


def origin_of(state: State) -> str:
    """Return the ledger's name."""
    assert state.genesis is not None, "entry 0 comes first"
    return state.genesis.origin


def check_unused(state: State, raw: bytes) -> None:
    """Raise `Problem` for a public key that the ledger knows: each has one holder and one use."""
    if raw in state.public_keys:
        raise Problem("exists_differently", f"key {state.public_keys[raw]} has this public key")
    text, vkey = base64.b64encode(raw).decode(), Verifier(origin_of(state), raw).format()
    if vkey in state.log_keys or any(key.public_key == text for key in state.receipt_keys.values()):
        raise Problem("exists_differently", "a key of the service has this public key")


def _parse_log_key(vkey: str, origin: str) -> Verifier:
    """Return a key of the log of this origin. Raises `Problem` `malformed` or `weak_key`."""
    try:
        verifier = Verifier.parse(vkey)
    except WeakKey as error:
        raise Problem("weak_key", f"vkey: {error.detail}") from None
    except BadKey as error:
        raise Problem("malformed", f"vkey: {error.detail}") from None
    if verifier.name != origin:
        raise Problem("malformed", f"vkey: its name is not {origin}")
    return verifier


def _check_no_overlap(keys: Mapping[str, ServiceKey]) -> None:
    """Raise `Problem` where two keys sign: a third would add a signature to every receipt."""
    if len(_unretired(keys)) > 1:
        raise Problem("overlap_open", f"retire {_unretired(keys)[0]} first")


def _check_retirement(keys: Mapping[str, ServiceKey], name: str) -> None:
    key = keys.get(name)
    if key is None:
        raise Problem("not_found", f"no key {name}")
    if key.retired is not None:
        raise Problem("already_retired", f"by entry {key.retired}", entry=key.retired)
    if _unretired(keys) == [name]:
        raise Problem("last_key", f"add another key before you retire {name}")


def _unretired(keys: Mapping[str, ServiceKey]) -> list[str]:
    return [name for name, key in keys.items() if key.retired is None]


GENESIS: Kind[Genesis, Command] = Kind(entry=Genesis, apply=_apply_genesis, rows="registration")
LOG_KEY: Kind[LogKeyAdded, AddLogKey] = Kind(
    entry=LogKeyAdded,
    command=AddLogKey,
    judge=_judge_log_key,
    apply=_apply_log_key,
    rows="registration",
    codes=("weak_key", "exists_differently", "overlap_open", "key_not_here"),
)
LOG_KEY_RETIREMENT: Kind[LogKeyRetired, RetireLogKey] = Kind(
    entry=LogKeyRetired,
    command=RetireLogKey,
    judge=_judge_log_key_retirement,
    apply=_apply_log_key_retirement,
    rows="registration",
    codes=("not_found", "already_retired", "last_key", "key_not_here"),
)
RECEIPT_KEY: Kind[ReceiptKeyAdded, AddReceiptKey] = Kind(
    entry=ReceiptKeyAdded,
    command=AddReceiptKey,
    judge=_judge_receipt_key,
    apply=_apply_receipt_key,
    rows="registration",
    codes=("weak_key", "exists_differently", "looks_alike", "overlap_open", "key_not_here"),
)
RECEIPT_KEY_RETIREMENT: Kind[ReceiptKeyRetired, RetireReceiptKey] = Kind(
    entry=ReceiptKeyRetired,
    command=RetireReceiptKey,
    judge=_judge_receipt_key_retirement,
    apply=_apply_receipt_key_retirement,
    rows="registration",
    codes=("not_found", "already_retired", "last_key"),
)
