"""Decide a command of the authority: check it against the state, give the one entry it makes.

`decide_command` reads the state and changes nothing; `evolve` applies the entry. The rules here:
who may be registered beside whom, the limits of issue and withdrawal, what a freeze, a revocation
or a void is allowed to touch. A refusal is a `Problem`; the same thing registered twice is
`Existing`, not an error.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from ledger.errors import BadKey
from ledger.note import Verifier
from meter.rules import entries
from meter.rules.commands import (
    ENTRY_OF,
    ActivatePolicy,
    AddLogKey,
    AddReceiptKey,
    Command,
    EnlistProvider,
    FreezeContract,
    IssueCoupon,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterProvider,
    ReleaseRecord,
    RetireLogKey,
    RetireReceiptKey,
    RevokeKey,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
    command_of,
    fields_of,
    same,
)
from meter.rules.effects import (
    coupon_grants,
    grant_postings,
    release_effect,
    void_effect,
    void_fields,
)
from meter.rules.entries import Entry, Posting
from meter.rules.measure import meter_of, released_eligible, withheld_by_year
from meter.rules.state import Contract, Pool, Record, ServiceKey, State
from meter.values.policy import MAX_YEARS, Policy, RatioClass
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS, add_months, format_money, parse_date, year_of

# A posting takes at most some 200 bytes and a void can move money in each contract and year of the
# enterprise; all must fit into an entry of 65,535 bytes.
MAX_CONTRACTS_PER_PROGRAMME: Final = 256 // MAX_YEARS


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an authority's entry says of its making: microseconds, token id, key, random hex.

    `checkpoint` is that of the entries before, where a log key signs for the last time.
    """

    at: int
    by: str
    request: str
    salt: str
    checkpoint: str = ""


@dataclass(frozen=True, slots=True)
class Existing:
    """The command asks for what is there already, since the entry of this number."""

    entry: int


# An entry's derived fields and its postings.
_Judged = tuple[dict[str, Any], list[Posting]] | Existing


def decide_command(state: State, command: Command, stamp: Stamp) -> Entry | Existing:
    """Check a command and give its entry. Raises `Problem`."""
    existing = _existing(state, command)
    if existing is not None:
        return _same_or_refuse(existing, command)
    judged = _judged(state, command, stamp)
    if isinstance(judged, Existing):
        return judged
    extra, postings = judged
    return ENTRY_OF[type(command)](
        **fields_of(command),
        **extra,
        postings=postings,
        at=stamp.at,
        by=stamp.by,
        request=stamp.request,
        salt=stamp.salt,
    )


def answer_of(state: State, number: int, entry: Entry) -> dict[str, Any]:
    """Shape the answer to a command whose entry was just applied: its number and what follows."""
    answer: dict[str, Any] = {"entry": number}
    match entry:
        case entries.ContractRegistered():
            answer |= {"policy": entry.policy, "class": entry.ratio_class}
        case entries.CouponIssued() | entries.CouponWithdrawn():
            issued = state.coupons[entry.enterprise, entry.programme, entry.year]
            answer |= {"issued": format_money(issued)}
        case entries.RecordReleased():
            entitled = sum(fen for _, fen in entry.entitled)
            answer |= {"entitled": format_money(entitled)}
        case entries.RecordVoided():
            entitled = sum(fen for _, fen in entry.entitled)
            answer |= {"cost": format_money(entry.cost), "entitled": format_money(entitled)}
    return answer


def _existing(state: State, command: Command) -> tuple[int, Entry] | None:
    """Find the entry that already holds the id which the command wants to register."""
    holder: Any = None
    match command:
        case ActivatePolicy():
            return state.policy_entries.get((command.programme, command.version))
        case RegisterProvider():
            holder = state.providers.get(command.id)
        case RegisterKey():
            holder = state.keys.get(command.keyid)
        case RegisterEnterprise():
            holder = state.enterprises.get(command.uscc)
        case RegisterContract():
            holder = state.contracts.get(command.id)
    return None if holder is None else (holder.entry, holder.registered)


def _judged(state: State, command: Command, stamp: Stamp) -> _Judged:
    match command:
        case RevokeKey():
            return _revocation(state, command, stamp.at)
        case RetireLogKey():
            return _log_key_retirement(state, command, stamp.checkpoint)
        case _:
            return _RULES[type(command)](state, command)


def _same_or_refuse(existing: tuple[int, Entry], command: Command) -> Existing:
    number, entry = existing
    if not same(command_of(entry), command):
        raise Problem("exists_differently", f"entry {number} holds this id", entry=number)
    return Existing(number)


def _activation(state: State, command: ActivatePolicy) -> _Judged:
    assert command.content is not UNSET, "the shell fills in the shipped file"
    policy = Policy.parse(command.content)
    if (policy.programme, policy.version) != (command.programme, command.version):
        raise Problem("bad_policy", f"the file is of {policy.programme} {policy.version}")
    postings: list[Posting] = []
    for year in policy.years:
        pool = state.pools.get((policy.programme, year), Pool())
        if policy.pool < pool.issued:
            raise Problem("pool_below_issued", f"{year}: {format_money(pool.issued)} were issued")
        treasury, account = f"treasury:{policy.programme}:{year}", f"pool:{policy.programme}:{year}"
        if policy.pool > pool.amount:
            postings.append((treasury, account, policy.pool - pool.amount))
        elif policy.pool < pool.amount:
            postings.append((account, treasury, pool.amount - policy.pool))
    return {}, postings


def _provider(state: State, command: RegisterProvider) -> _Judged:
    if command.uscc in state.enterprises:
        raise Problem("role_conflict", f"{command.uscc} is an enterprise")
    if command.uscc in state.provider_usccs:
        raise Problem("role_conflict", f"{command.uscc} is {state.provider_usccs[command.uscc]}")
    _check_period(command.enlisted.starts, command.enlisted.ends)
    return {}, []


def _enlistment(state: State, command: EnlistProvider) -> _Judged:
    provider = state.providers.get(command.provider)
    if provider is None:
        raise Problem("unknown_provider", f"no provider {command.provider}")
    _check_period(command.enlisted.starts, command.enlisted.ends)
    known = provider.enlistments.get(command.enlisted.batch)
    start, end = parse_date(command.enlisted.starts), parse_date(command.enlisted.ends)
    if known is None:
        return {}, []
    if (known.devices, known.start) != (command.devices, start):
        raise Problem("exists_differently", f"entry {known.entry} holds this batch")
    return Existing(known.entry) if known.end == end else ({}, [])


def _key(state: State, command: RegisterKey) -> _Judged:
    if command.provider not in state.providers:
        raise Problem("unknown_provider", f"no provider {command.provider}")
    _check_unused(state, _raw_key(command.public_key))
    return {}, []


def _raw_key(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Problem("malformed", "public_key is not base64") from None
    if len(raw) != 32 or base64.b64encode(raw).decode() != text:
        raise Problem("malformed", "public_key is not canonical base64 of 32 bytes")
    return raw


def _check_unused(state: State, raw: bytes) -> None:
    """Refuse a public key that the ledger knows: each has one holder and one use."""
    if raw in state.public_keys:
        raise Problem("exists_differently", f"key {state.public_keys[raw]} has this public key")
    text, vkey = base64.b64encode(raw).decode(), Verifier(_origin(state), raw).format()
    if vkey in state.log_keys or any(key.public_key == text for key in state.receipt_keys.values()):
        raise Problem("exists_differently", "a key of the service has this public key")


def _origin(state: State) -> str:
    assert state.genesis is not None, "entry 0 comes first"
    return state.genesis.origin


def _revocation(state: State, command: RevokeKey, now: int) -> _Judged:
    key = state.keys.get(command.keyid)
    if key is None:
        raise Problem("not_found", f"no key {command.keyid}")
    if key.revoked is not None:
        raise Problem("already_revoked", f"by entry {key.revoked}", entry=key.revoked)
    since = command.suspected_since
    if since is not UNSET and since * MICROSECONDS > now:
        raise Problem("bad_dates", "suspected_since lies in the future")
    return {}, []


def _log_key(state: State, command: AddLogKey) -> _Judged:
    known = state.log_keys.get(command.vkey)
    if known is not None:
        return Existing(known.entry)
    try:
        verifier = Verifier.parse(command.vkey)
    except BadKey as error:
        raise Problem("malformed", f"vkey: {error.detail}") from None
    if verifier.name != _origin(state):
        raise Problem("malformed", f"vkey: its name is not {_origin(state)}")
    _check_unused(state, verifier.public_key)
    _check_no_overlap(state.log_keys)
    return {}, []


def _log_key_retirement(state: State, command: RetireLogKey, checkpoint: str) -> _Judged:
    _check_retirement(state.log_keys, command.vkey)
    return {"checkpoint": checkpoint}, []


def _receipt_key(state: State, command: AddReceiptKey) -> _Judged:
    known = state.receipt_keys.get(command.keyid)
    if known is not None:
        if known.public_key != command.public_key:
            raise Problem("exists_differently", f"entry {known.entry} holds this id")
        return Existing(known.entry)
    _check_unused(state, _raw_key(command.public_key))
    _check_no_overlap(state.receipt_keys)
    return {}, []


def _receipt_key_retirement(state: State, command: RetireReceiptKey) -> _Judged:
    _check_retirement(state.receipt_keys, command.keyid)
    return {}, []


def _check_no_overlap(keys: Mapping[str, ServiceKey]) -> None:
    """Two keys at a time are enough, and each more costs a signature under every receipt."""
    if len(_unretired(keys)) > 1:
        raise Problem("overlap_open", f"first retire {_unretired(keys)[0]}")


def _check_retirement(keys: Mapping[str, ServiceKey], name: str) -> None:
    key = keys.get(name)
    if key is None:
        raise Problem("not_found", f"no key {name}")
    if key.retired is not None:
        raise Problem("already_retired", f"by entry {key.retired}", entry=key.retired)
    if _unretired(keys) == [name]:
        raise Problem("last_key", f"first add another than {name}")


def _unretired(keys: Mapping[str, ServiceKey]) -> list[str]:
    return [name for name, key in keys.items() if key.retired is None]


def _enterprise(state: State, command: RegisterEnterprise) -> _Judged:
    if command.uscc in state.provider_usccs:
        raise Problem("role_conflict", f"{command.uscc} is {state.provider_usccs[command.uscc]}")
    return {}, []


def _contract(state: State, command: RegisterContract) -> _Judged:
    policy = _active(state, command.programme)
    enterprise = state.enterprises.get(command.enterprise)
    if enterprise is None:
        raise Problem("unknown_enterprise", f"no enterprise {command.enterprise}")
    if command.provider not in state.providers:
        raise Problem("unknown_provider", f"no provider {command.provider}")
    contracts = state.contracts_of(command.enterprise, command.programme)
    if len(contracts) >= MAX_CONTRACTS_PER_PROGRAMME:
        raise Problem("too_many_contracts", f"the limit is {MAX_CONTRACTS_PER_PROGRAMME}")
    _check_period(command.starts, command.ends)
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    if command.signed_on < enterprise.registered.founded_on:
        raise Problem("bad_dates", "signed before the enterprise was founded")
    ratio_class = _ratio_class(policy, enterprise.registered, command.signed_on)
    return {"policy": policy.version, "ratio_class": ratio_class}, []


def _ratio_class(
    policy: Policy, enterprise: entries.EnterpriseRegistered, signed_on: str
) -> RatioClass:
    """Startup: an enterprise founded less than the policy's months before the signing."""
    if enterprise.applicant != "enterprise":
        return "standard"
    # Dates of one form compare as text.
    grown_up = add_months(enterprise.founded_on, policy.startup_months)
    return "startup" if signed_on < grown_up else "standard"


def _freeze(state: State, command: FreezeContract) -> _Judged:
    if _known_contract(state, command.contract).frozen:
        raise Problem("already_frozen", f"contract {command.contract}")
    return {}, []


def _unfreeze(state: State, command: UnfreezeContract) -> _Judged:
    if not _known_contract(state, command.contract).frozen:
        raise Problem("not_frozen", f"contract {command.contract}")
    return {}, []


def _issue(state: State, command: IssueCoupon) -> _Judged:
    policy = _policy_of_year(state, command)
    coupon = (command.enterprise, command.programme, command.year)
    issued = state.coupons.get(coupon, 0) + command.amount
    pool = state.pools[command.programme, command.year]
    unrelated = _unrelated_amount(state, command)
    if unrelated < policy.threshold:
        needed, found = format_money(policy.threshold), format_money(unrelated)
        raise Problem("below_threshold", f"{needed} needed, {found} found")
    if issued > policy.cap:
        raise Problem("cap_exceeded", f"{format_money(issued)} is above {format_money(policy.cap)}")
    if pool.issued + command.amount > pool.amount:
        raise Problem("pool_exceeded", f"{format_money(pool.amount - pool.issued)} are left")
    grants = coupon_grants(state, coupon, issued)
    return {}, [_coupon_posting(command), *grant_postings(grants)]


def _withdrawal(state: State, command: WithdrawCoupon) -> _Judged:
    _policy_of_year(state, command)
    coupon = (command.enterprise, command.programme, command.year)
    granted = state.granted.get(coupon, 0)
    if state.coupons.get(coupon, 0) - command.amount < granted:
        raise Problem("below_granted", f"{format_money(granted)} are granted")
    pool, account, fen = _coupon_posting(command)
    return {}, [(account, pool, fen)]


def _void(state: State, command: VoidRecord) -> _Judged:
    record = _standing_record(state, command)
    effect = void_effect(state, record)
    return void_fields(record, effect), effect.postings()


def _release(state: State, command: ReleaseRecord) -> _Judged:
    record = _standing_record(state, command)
    if not record.withheld:
        raise Problem("nothing_withheld", f"all of record {command.id} counts")
    if record.released is not None:
        raise Problem("already_released", f"by entry {record.released}", entry=record.released)
    meter = meter_of(state, state.contracts[record.usage.contract], record.usage.device)
    eligible = released_eligible(meter, record.withheld)
    effect = release_effect(state, record, eligible)
    fields = {
        "record": record.entry,
        "contract": record.usage.contract,
        "device": record.usage.device,
        "withheld": withheld_by_year(record.withheld),
        "eligible": eligible,
        "entitled": effect.entitled,
    }
    return fields, effect.postings()


def _standing_record(state: State, command: VoidRecord | ReleaseRecord) -> Record:
    record = state.records.get((command.provider, command.id))
    if record is None:
        raise Problem("unknown_record", f"no record {command.id} of {command.provider}")
    if record.voided is not None:
        raise Problem("already_voided", f"by entry {record.voided}", entry=record.voided)
    return record


def _known_contract(state: State, contract_id: str) -> Contract:
    contract = state.contracts.get(contract_id)
    if contract is None:
        raise Problem("unknown_contract", f"no contract {contract_id}")
    return contract


def _active(state: State, programme: str) -> Policy:
    policy = state.active.get(programme)
    if policy is None:
        raise Problem("unknown_programme", f"{programme} has no active policy")
    return policy


def _policy_of_year(state: State, command: IssueCoupon | WithdrawCoupon) -> Policy:
    """Find the newest policy that touches the year."""
    _active(state, command.programme)
    if command.enterprise not in state.enterprises:
        raise Problem("unknown_enterprise", f"no enterprise {command.enterprise}")
    policy = state.policy_of(command.programme, command.year)
    if policy is None:
        raise Problem("unknown_year", f"no policy of {command.programme} touches {command.year}")
    if command.amount == 0:
        raise Problem("malformed", "the amount is zero")
    return policy


def _unrelated_amount(state: State, command: IssueCoupon) -> int:
    """Full amounts of the unrelated contracts whose term touches the year."""
    return sum(
        contract.terms.amount
        for contract in state.contracts_of(command.enterprise, command.programme)
        if not contract.registered.related_party
        and year_of(parse_date(contract.registered.starts)) <= command.year
        and command.year <= year_of(parse_date(contract.registered.ends) - 1)
    )


def _coupon_posting(command: IssueCoupon | WithdrawCoupon) -> Posting:
    pool = f"pool:{command.programme}:{command.year}"
    return (
        pool,
        f"coupon:{command.programme}:{command.year}:{command.enterprise}",
        int(command.amount),
    )


def _check_period(starts: str, ends: str) -> None:
    if ends <= starts:
        raise Problem("bad_dates", f"the period from {starts} until {ends} is empty")


_RULES: Final[dict[type[Command], Callable[[State, Any], _Judged]]] = {
    ActivatePolicy: _activation,
    RegisterProvider: _provider,
    EnlistProvider: _enlistment,
    RegisterKey: _key,
    AddLogKey: _log_key,
    AddReceiptKey: _receipt_key,
    RetireReceiptKey: _receipt_key_retirement,
    RegisterEnterprise: _enterprise,
    RegisterContract: _contract,
    FreezeContract: _freeze,
    UnfreezeContract: _unfreeze,
    IssueCoupon: _issue,
    WithdrawCoupon: _withdrawal,
    ReleaseRecord: _release,
    VoidRecord: _void,
}
