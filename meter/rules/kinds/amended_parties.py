"""Amendments of enterprises and providers: a new name, or a mistake of the registration.

What is amended holds for later contracts, awards and amendments; what was derived before stays.
"""

from collections.abc import Iterable

from msgspec import UNSET
from msgspec.structs import replace

from meter.rules.commands import AmendEnterprise, AmendProvider
from meter.rules.entries import EnterpriseAmended, ProviderAmended
from meter.rules.kinds.kind import NOTHING_MORE, Judged, Kind, Stamp, check_not_in_future
from meter.rules.state import State
from meter.values.problems import Problem


def _judge_enterprise(state: State, command: AmendEnterprise, stamp: Stamp) -> Judged:
    if command.uscc not in state.enterprises:
        raise Problem("unknown_enterprise", f"no enterprise {command.uscc}")
    if all(each is UNSET for each in (command.name, command.applicant, command.founded_on)):
        raise Problem("malformed", "it changes nothing")
    if command.founded_on is not UNSET:
        check_not_in_future("founded_on", command.founded_on, stamp)
    return NOTHING_MORE


def _apply_enterprise(state: State, number: int, entry: EnterpriseAmended) -> None:
    enterprise = state.enterprises[entry.uscc]
    named = {name: getattr(entry, name) for name in ("name", "applicant", "founded_on")}
    changes = {name: value for name, value in named.items() if value is not UNSET}
    enterprise.amended.append((number, replace(enterprise.facts, **changes)))


def _enterprise_subjects(_state: State, entry: EnterpriseAmended) -> Iterable[str]:
    return (f"enterprise:{entry.uscc}",)


def _judge_provider(state: State, command: AmendProvider, _stamp: Stamp) -> Judged:
    if command.provider not in state.providers:
        raise Problem("unknown_provider", f"no provider {command.provider}")
    return NOTHING_MORE


def _apply_provider(state: State, number: int, entry: ProviderAmended) -> None:
    provider = state.providers[entry.provider]
    provider.amended.append((number, replace(provider.registered, name=entry.name)))


def _provider_subjects(_state: State, entry: ProviderAmended) -> Iterable[str]:
    return (f"provider:{entry.provider}",)


ENTERPRISE_AMENDMENT: Kind[EnterpriseAmended, AmendEnterprise] = Kind(
    entry=EnterpriseAmended,
    command=AmendEnterprise,
    judge=_judge_enterprise,
    apply=_apply_enterprise,
    subjects=_enterprise_subjects,
    rows="registration",
    codes=("unknown_enterprise", "bad_dates"),
)
PROVIDER_AMENDMENT: Kind[ProviderAmended, AmendProvider] = Kind(
    entry=ProviderAmended,
    command=AmendProvider,
    judge=_judge_provider,
    apply=_apply_provider,
    subjects=_provider_subjects,
    rows="registration",
    codes=("unknown_provider",),
)
