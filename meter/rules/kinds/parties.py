"""The parties: providers with their enlistments and keys, and enterprises."""

import base64
from collections.abc import Iterable

from msgspec import UNSET

from meter.rules.commands import (
    EnlistProvider,
    RegisterEnterprise,
    RegisterKey,
    RegisterProvider,
    RevokeKey,
)
from meter.rules.entries import (
    Enlistment,
    EnterpriseRegistered,
    KeyRegistered,
    KeyRevoked,
    ProviderEnlisted,
    ProviderRegistered,
)
from meter.rules.kinds.kind import (
    NOTHING_MORE,
    Existing,
    Holder,
    Judged,
    Kind,
    Stamp,
    active_policy,
    applied_programmes,
    check_names,
    check_not_in_future,
    check_period,
    check_spelling,
    is_served,
    note_spelling,
)
from meter.rules.kinds.service_keys import check_unused, origin_of
from meter.rules.state import EnlistedBatch, Enterprise, Key, Provider, State
from meter.values.problems import Problem
from meter.values.units import parse_date
from meter.wire import possession
from meter.wire.dsse import parse_public_key

# A provider


def _provider_holder(state: State, command: RegisterProvider) -> Holder | None:
    known = state.providers.get(command.id)
    return None if known is None else (known.entry, known.registered)


def _judge_provider(state: State, command: RegisterProvider, _stamp: Stamp) -> Judged:
    check_spelling(state, "provider", command.id)
    _check_offer(state, command)
    served = _served(state, command)
    if served is not None:
        raise Problem("role_conflict", f"{command.uscc} has applied under {served}")
    if command.uscc in state.provider_usccs:
        raise Problem("role_conflict", f"{command.uscc} is {state.provider_usccs[command.uscc]}")
    return NOTHING_MORE


def _check_offer(state: State, command: RegisterProvider) -> None:
    """Raise `Problem` unless the provider has devices, or serves programmes of purchases."""
    devices, enlisted, serves = command.devices, command.enlisted, command.serves
    if serves is UNSET:
        if devices is UNSET or enlisted is UNSET:
            detail = "it has devices and their enlistment, or serves programmes of purchases"
            raise Problem("malformed", detail, field="devices")
        check_period(enlisted.starts, enlisted.ends)
        check_names("devices", devices, devices)
        return
    if devices is not UNSET or enlisted is not UNSET:
        raise Problem("malformed", "who serves purchases has no devices", field="devices")
    if len(set(serves)) != len(serves):
        raise Problem("malformed", "a programme stands there twice", field="serves")
    for programme in serves:
        meter = active_policy(state, programme).meter
        if meter != "purchase":
            raise Problem("wrong_meter", f"{programme} funds by {meter}", field="serves")


def _served(state: State, command: RegisterProvider) -> str | None:
    """Return a programme under which a firm has applied, and that it would serve."""
    codes = state.firm_of(command.uscc)
    applied = {name for code in codes for name in applied_programmes(state, code)}
    served = (name for name in applied if is_served(command, state.active[name]))
    return min(served, default=None)


def _apply_provider(state: State, number: int, entry: ProviderRegistered) -> None:
    state.providers[entry.id] = Provider(number, entry)
    note_spelling(state, "provider", entry.id)
    if entry.devices is not UNSET and entry.enlisted is not UNSET:
        _enlist(state, entry.id, number, entry.devices, entry.enlisted)
    state.provider_usccs[entry.uscc] = entry.id


def _provider_subjects(_state: State, entry: ProviderRegistered) -> Iterable[str]:
    return (f"provider:{entry.id}",)


# An enlistment


def _judge_enlistment(state: State, command: EnlistProvider, _stamp: Stamp) -> Judged:
    provider = _known_provider(state, command.provider)
    if provider.registered.serves is not UNSET:
        raise Problem("wrong_meter", f"{command.provider} serves purchases, and has no devices")
    check_period(command.enlisted.starts, command.enlisted.ends)
    known = provider.enlistments.get(command.enlisted.batch)
    start, end = parse_date(command.enlisted.starts), parse_date(command.enlisted.ends)
    if known is None:
        check_spelling(state, f"enlistment of {command.provider}", command.enlisted.batch)
        check_names("devices", command.devices, [*command.devices, *provider.device_kinds()])
        return NOTHING_MORE
    if (known.devices, known.start) != (command.devices, start):
        raise Problem("exists_differently", f"entry {known.entry} holds this batch")
    return Existing(known.entry) if known.end == end else NOTHING_MORE


def _apply_enlistment(state: State, number: int, entry: ProviderEnlisted) -> None:
    _enlist(state, entry.provider, number, entry.devices, entry.enlisted)
    for contract in state.contracts.values():
        if contract.registered.provider == entry.provider:
            contract.meters.clear()


def _enlist(
    state: State, provider: str, number: int, devices: dict[str, int], enlisted: Enlistment
) -> None:
    start, end = parse_date(enlisted.starts), parse_date(enlisted.ends)
    note_spelling(state, f"enlistment of {provider}", enlisted.batch)
    state.providers[provider].enlist(enlisted.batch, EnlistedBatch(number, devices, start, end))


# A key


def _key_holder(state: State, command: RegisterKey) -> Holder | None:
    known = state.keys.get(command.keyid)
    return None if known is None else (known.entry, known.registered)


def _judge_key(state: State, command: RegisterKey, _stamp: Stamp) -> Judged:
    _known_provider(state, command.provider)
    check_spelling(state, "key", command.keyid)
    public_key = parse_public_key(command.public_key)
    check_unused(state, public_key)
    possession.check(public_key, command.proof, origin_of(state), command.provider, command.keyid)
    return NOTHING_MORE


def _apply_key(state: State, number: int, entry: KeyRegistered) -> None:
    public_key = base64.b64decode(entry.public_key)
    state.keys[entry.keyid] = Key(number, entry, public_key)
    state.public_keys[public_key] = entry.keyid
    note_spelling(state, "key", entry.keyid)


def _provider_of_entry(_state: State, entry: ProviderEnlisted | KeyRegistered) -> Iterable[str]:
    return (f"provider:{entry.provider}",)


def _judge_revocation(state: State, command: RevokeKey, stamp: Stamp) -> Judged:
    key = state.keys.get(command.keyid)
    if key is None:
        raise Problem("not_found", f"no key {command.keyid}")
    if key.revoked is not None:
        raise Problem("already_revoked", f"by entry {key.revoked}", entry=key.revoked)
    since = command.suspected_since
    if since is not UNSET and since > stamp.at:
        detail = "suspected_since lies in the future"
        raise Problem("bad_dates", detail, field="suspected_since")
    return NOTHING_MORE


def _apply_revocation(state: State, number: int, entry: KeyRevoked) -> None:
    key = state.keys[entry.keyid]
    key.revoked = number
    key.suspected_since = None if entry.suspected_since is UNSET else entry.suspected_since


def _revocation_subjects(state: State, entry: KeyRevoked) -> Iterable[str]:
    return (f"provider:{state.keys[entry.keyid].registered.provider}",)


# An enterprise


def _enterprise_holder(state: State, command: RegisterEnterprise) -> Holder | None:
    known = state.enterprises.get(command.uscc)
    return None if known is None else (known.entry, known.registered)


def _judge_enterprise(_state: State, command: RegisterEnterprise, stamp: Stamp) -> Judged:
    check_not_in_future("founded_on", command.founded_on, stamp)
    return NOTHING_MORE


def _apply_enterprise(state: State, number: int, entry: EnterpriseRegistered) -> None:
    state.enterprises[entry.uscc] = Enterprise(number, entry)


def _enterprise_subjects(_state: State, entry: EnterpriseRegistered) -> Iterable[str]:
    return (f"enterprise:{entry.uscc}",)


def _known_provider(state: State, name: str) -> Provider:
    provider = state.providers.get(name)
    if provider is None:
        raise Problem("unknown_provider", f"no provider {name}")
    return provider


PROVIDER: Kind[ProviderRegistered, RegisterProvider] = Kind(
    entry=ProviderRegistered,
    command=RegisterProvider,
    holder=_provider_holder,
    judge=_judge_provider,
    apply=_apply_provider,
    subjects=_provider_subjects,
    rows="registration",
    codes=(
        *("exists_differently", "looks_alike", "role_conflict", "bad_dates"),
        *("unknown_programme", "wrong_meter"),
    ),
)
ENLISTMENT: Kind[ProviderEnlisted, EnlistProvider] = Kind(
    entry=ProviderEnlisted,
    command=EnlistProvider,
    judge=_judge_enlistment,
    apply=_apply_enlistment,
    subjects=_provider_of_entry,
    rows="registration",
    codes=("unknown_provider", "exists_differently", "looks_alike", "bad_dates", "wrong_meter"),
)
KEY: Kind[KeyRegistered, RegisterKey] = Kind(
    entry=KeyRegistered,
    command=RegisterKey,
    holder=_key_holder,
    judge=_judge_key,
    apply=_apply_key,
    subjects=_provider_of_entry,
    rows="registration",
    codes=("unknown_provider", "weak_key", "exists_differently", "looks_alike", "bad_proof"),
)
REVOCATION: Kind[KeyRevoked, RevokeKey] = Kind(
    entry=KeyRevoked,
    command=RevokeKey,
    judge=_judge_revocation,
    apply=_apply_revocation,
    subjects=_revocation_subjects,
    rows="registration",
    codes=("not_found", "already_revoked", "bad_dates"),
    persons=1,
)
ENTERPRISE: Kind[EnterpriseRegistered, RegisterEnterprise] = Kind(
    entry=EnterpriseRegistered,
    command=RegisterEnterprise,
    holder=_enterprise_holder,
    judge=_judge_enterprise,
    apply=_apply_enterprise,
    subjects=_enterprise_subjects,
    rows="registration",
    codes=("exists_differently", "bad_dates"),
    persons=1,
)
