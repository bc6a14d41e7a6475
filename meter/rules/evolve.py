"""Apply one entry to the state: the only way from a ledger's entries to what they add up to.

Used when a ledger is loaded, rebuilt or replayed. Effects on money are computed by the rules again
and held against the entry's postings; whether the entry should be there at all, the audit decides.
(`decide` advances the state by the same functions while it judges a batch.)
"""

import base64
from hashlib import sha256

from msgspec import UNSET

from ledger.canon import encode
from meter.rules.effects import (
    Diverged,
    _same,
    accept,
    accepted_effect,
    apply_grants,
    coupon_grants,
    grant_postings,
    let_count,
    release_effect,
    take_back,
    void_effect,
)
from meter.rules.entries import (
    BatchAccepted,
    ContractFrozen,
    ContractRegistered,
    ContractUnfrozen,
    CouponIssued,
    CouponWithdrawn,
    EnterpriseRegistered,
    Entry,
    Genesis,
    KeyRegistered,
    KeyRevoked,
    LogKeyAdded,
    LogKeyRetired,
    PolicyActivated,
    ProviderEnlisted,
    ProviderRegistered,
    ReceiptKeyAdded,
    ReceiptKeyRetired,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.measure import admit, meter_of, released_eligible, withheld_by_year, work_of
from meter.rules.rating import Interval, Terms, support_limit
from meter.rules.state import (
    Contract,
    EnlistedBatch,
    Enterprise,
    Key,
    Pool,
    Provider,
    Record,
    ServiceKey,
    State,
)
from meter.values.policy import Policy
from meter.values.units import parse_date


def evolve(state: State, entry: Entry) -> None:
    """Apply the next entry, whose number is `state.size`. Raises `Diverged`."""
    number = state.size
    match entry:
        case UsageAccepted():
            _usage(state, number, entry)
        case BatchAccepted():
            pass  # its records follow as entries of their own
        case RecordVoided():
            _void(state, number, entry)
        case RecordReleased():
            _release(state, number, entry)
        case CouponIssued():
            _coupon(state, entry, entry.amount)
        case CouponWithdrawn():
            _coupon(state, entry, -entry.amount)
        case _:
            register(state, number, entry)
    state.size = number + 1
    state.last_at = entry.at


def register(state: State, number: int, entry: Entry) -> None:  # noqa: C901, PLR0912 - a case per kind
    """Apply an entry that registers or switches something; neither size nor clock move."""
    match entry:
        case Genesis():
            _genesis(state, number, entry)
        case PolicyActivated():
            _policy(state, number, entry)
        case ProviderRegistered():
            _provider(state, number, entry)
        case ProviderEnlisted():
            _enlist_more(state, number, entry)
        case KeyRegistered():
            public_key = base64.b64decode(entry.public_key)
            state.keys[entry.keyid] = Key(number, entry, public_key)
            state.public_keys[public_key] = entry.keyid
        case KeyRevoked():
            _revocation(state, number, entry)
        case LogKeyAdded():
            state.log_keys[entry.vkey] = ServiceKey(number, entry.vkey)
        case LogKeyRetired():
            state.log_keys[entry.vkey].retired = number
        case ReceiptKeyAdded():
            state.receipt_keys[entry.keyid] = ServiceKey(number, entry.public_key)
        case ReceiptKeyRetired():
            state.receipt_keys[entry.keyid].retired = number
        case EnterpriseRegistered():
            state.enterprises[entry.uscc] = Enterprise(number, entry)
        case ContractRegistered():
            _contract(state, number, entry)
        case ContractFrozen():
            state.contracts[entry.contract].frozen = True
        case ContractUnfrozen():
            state.contracts[entry.contract].frozen = False
        case _:
            raise Diverged(f"an entry of kind {entry.kind} registers nothing")


def _genesis(state: State, number: int, entry: Genesis) -> None:
    state.genesis = entry
    state.genesis_hash = sha256(encode(entry)).hexdigest()
    state.log_keys[entry.log_key] = ServiceKey(number, entry.log_key)
    receipts = entry.receipt_key
    state.receipt_keys[receipts.keyid] = ServiceKey(number, receipts.public_key)


def _revocation(state: State, number: int, entry: KeyRevoked) -> None:
    key = state.keys[entry.keyid]
    key.revoked = number
    key.suspected_since = None if entry.suspected_since is UNSET else entry.suspected_since


def _policy(state: State, number: int, entry: PolicyActivated) -> None:
    policy = Policy.parse(entry.content)
    state.policies.setdefault(policy.programme, {})[policy.version] = policy
    state.policy_entries[policy.programme, policy.version] = number, entry
    state.active[policy.programme] = policy
    for year in policy.years:
        state.pools.setdefault((policy.programme, year), Pool()).amount = policy.pool
        state.touched.pools.add((policy.programme, year))


def _provider(state: State, number: int, entry: ProviderRegistered) -> None:
    provider = state.providers[entry.id] = Provider(number, entry, {})
    _enlist(provider, number, entry)
    state.provider_usccs[entry.uscc] = entry.id


def _enlist(provider: Provider, number: int, entry: ProviderRegistered | ProviderEnlisted) -> None:
    enlisted = entry.enlisted
    provider.enlistments[enlisted.batch] = EnlistedBatch(
        number, entry.devices, parse_date(enlisted.starts), parse_date(enlisted.ends)
    )


def _enlist_more(state: State, number: int, entry: ProviderEnlisted) -> None:
    _enlist(state.providers[entry.provider], number, entry)
    for contract in state.contracts.values():
        if contract.registered.provider == entry.provider:
            contract.meters.clear()


def _contract(state: State, number: int, entry: ContractRegistered) -> None:
    policy = state.policies[entry.programme][entry.policy]
    limit = support_limit(
        entry.amount, policy.combined_bp[entry.ratio_class], entry.other_public_funds
    )
    contract = Contract(
        entry=number,
        registered=entry,
        policy=policy,
        terms=Terms(entry.amount, policy.ratio_bp[entry.ratio_class], limit),
        window=_window(policy, entry),
    )
    state.contracts[entry.id] = contract
    siblings = state.enterprises[entry.enterprise].contracts
    siblings.setdefault(entry.programme, []).append(contract)


def _window(policy: Policy, entry: ContractRegistered) -> Interval:
    """Give the time in which usage can be eligible: policy validity ∩ contract term."""
    if entry.related_party or entry.use not in policy.eligible_uses:
        return 0, 0
    return (
        max(policy.valid_from, parse_date(entry.starts)),
        min(policy.valid_until, parse_date(entry.ends)),
    )


def _usage(state: State, number: int, entry: UsageAccepted) -> None:
    contract, work = state.contracts[entry.contract], work_of(entry)
    measured = admit(meter_of(state, contract, entry.device), work)
    effect = accepted_effect(state, contract, work, measured)
    _same(entry.postings, effect.postings())
    _same(entry.eligible, measured.eligible)
    _same(entry.withheld or [], withheld_by_year(measured.withheld))
    accept(state, Record(number, entry, measured.eligible, measured.withheld), effect)


def _void(state: State, number: int, entry: RecordVoided) -> None:
    record = state.records[entry.provider, entry.id]
    effect = void_effect(state, record)
    _same(entry.postings, effect.postings())
    take_back(state, record, number, effect)


def _release(state: State, number: int, entry: RecordReleased) -> None:
    record = state.records[entry.provider, entry.id]
    meter = meter_of(state, state.contracts[entry.contract], record.usage.device)
    effect = release_effect(state, record, entry.eligible)
    _same(entry.postings, effect.postings())
    _same(entry.eligible, released_eligible(meter, record.withheld))
    let_count(state, record, number, effect, entry.eligible)


def _coupon(state: State, entry: CouponIssued | CouponWithdrawn, fen: int) -> None:
    coupon = (entry.enterprise, entry.programme, entry.year)
    issued = state.coupons.get(coupon, 0) + fen
    grants = coupon_grants(state, coupon, issued)
    _same(entry.postings[1:], grant_postings(grants))
    state.coupons[coupon] = issued
    state.pools[entry.programme, entry.year].issued += fen
    state.touched.coupons.add(coupon)
    state.touched.pools.add((entry.programme, entry.year))
    apply_grants(state, grants)
