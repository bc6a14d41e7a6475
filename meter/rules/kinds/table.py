"""The table of all kinds of entries; every list of kinds derives from `KINDS`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, to_builtins

from meter.rules.commands import Command
from meter.rules.entries import AnyEntry, Entry
from meter.rules.kinds import (
    access_digests,
    allocations,
    amended_parties,
    amendments,
    awards,
    budgets,
    claims,
    contracts,
    coupons,
    disputes,
    funds,
    late_windows,
    months,
    parties,
    payments,
    people,
    periods,
    policies,
    projects,
    proposals,
    purchases,
    recoveries,
    reviews,
    service_keys,
    state_digests,
    successions,
    summaries,
    usage,
)
from meter.rules.kinds.kind import Kind
from meter.rules.state import RecordId
from meter.values.strict import convert_plain

KINDS: Final[tuple[Kind[Any, Any], ...]] = (
    service_keys.GENESIS,
    people.PERSON,
    people.PERSON_END,
    people.PERSON_RECOVERY,
    people.TOKEN,
    people.TOKEN_END,
    proposals.PROPOSAL,
    proposals.PROPOSAL_END,
    policies.POLICY,
    budgets.BUDGET,
    parties.PROVIDER,
    parties.ENLISTMENT,
    parties.KEY,
    parties.REVOCATION,
    service_keys.LOG_KEY,
    service_keys.LOG_KEY_RETIREMENT,
    service_keys.RECEIPT_KEY,
    service_keys.RECEIPT_KEY_RETIREMENT,
    parties.ENTERPRISE,
    successions.SUCCESSION,
    contracts.CONTRACT,
    amended_parties.ENTERPRISE_AMENDMENT,
    amended_parties.PROVIDER_AMENDMENT,
    amendments.AMENDMENT,
    contracts.FREEZE,
    contracts.UNFREEZE,
    late_windows.LATE_WINDOW,
    funds.FUNDS,
    projects.PROJECT,
    projects.AUDIT,
    projects.FUNDS,
    awards.AWARD,
    awards.CHANGE,
    coupons.ISSUE,
    allocations.ALLOCATION,
    coupons.ALLOTMENT,
    coupons.WITHDRAWAL,
    periods.EXPIRY,
    periods.CLOSING,
    months.CLOSING,
    months.LIST,
    months.CONFIRMATION,
    disputes.DISPUTE,
    disputes.DISMISSAL,
    access_digests.DIGEST,
    state_digests.DIGEST,
    claims.CLAIM,
    claims.CHECK,
    claims.END,
    reviews.APPROVAL,
    reviews.NOTICE,
    reviews.OBJECTION,
    reviews.RESOLUTION,
    reviews.REVOCATION,
    payments.ORDER,
    payments.PAYMENT,
    payments.RETURN,
    recoveries.RECOVERY,
    recoveries.RED_INVOICE,
    recoveries.FORFEIT,
    usage.BATCH,
    usage.USAGE,
    purchases.PURCHASE,
    usage.RELEASE,
    usage.VOID,
    summaries.SUMMARY,
)
BY_NAME: Final[Mapping[str, Kind[Any, Any]]] = {kind.name: kind for kind in KINDS}
BY_ENTRY: Final[Mapping[type[Entry], Kind[Any, Any]]] = {kind.entry: kind for kind in KINDS}
BY_COMMAND: Final[Mapping[type[Command], Kind[Any, Any]]] = {
    kind.command: kind for kind in KINDS if kind.command is not None
}

if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[tuple(BY_NAME)]

# The type checker checks each closed match over entries against `AnyEntry`.
_in_union: Final = set(get_args(AnyEntry))
if _in_union != set(BY_ENTRY) or len(BY_NAME) != len(KINDS):
    raise TypeError(f"AnyEntry and KINDS differ: {_in_union ^ set(BY_ENTRY)}")


def record_of_command(entry: Entry) -> RecordId | None:
    """Return the record that the command behind an entry names, if it names one."""
    if not BY_ENTRY[type(entry)].names_record:
        return None
    return entry.provider, entry.id  # type: ignore[attr-defined]


def read_entry(fields: dict[str, Any]) -> AnyEntry:
    """Return an entry from its decoded canonical JSON. Raises `ValueError`."""
    name = fields.get("kind")
    if not isinstance(name, str) or name not in BY_NAME:
        raise ValueError(f"unknown kind of entry: {name!r}")
    entry: AnyEntry = msgspec.convert(fields, BY_NAME[name].entry)
    return entry


def command_of(entry: Entry) -> Command:
    """Return the command that led to an authority's entry: the inverse of `fields_of`.

    Raises `ValueError` where the entry holds values that no command can hold.
    """
    kind: type[Command] | None = BY_ENTRY[type(entry)].command
    assert kind is not None, "an authority's entry has a command"
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    fields = {encoded: getattr(entry, name) for name, encoded in names}
    given = {name: to_builtins(value) for name, value in fields.items() if value is not UNSET}
    return convert_plain(given, kind)
