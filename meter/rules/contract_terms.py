"""The terms of a contract: they follow from its registration, amendments, funds, and policies.

    registration, corrections      the original terms, from the contract's first day on
    supplements                    prices and rented devices from a day on; amount and end as newest
    other funds                    the newest sums lower what the contract can be entitled to
    policies                       the versions whose rules hold, and so the segments of its usage

Everything here is a pure function of those, in the order of entries, so the terms never depend on
when they were asked for. `rules/effects.py` computes what a change of terms does to money.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from meter.rules.entries import NO_DEVICE, ContractAmended, ContractRegistered, PriceFor
from meter.rules.rating import (
    DENOMINATOR,
    MONTH_PARTS,
    SCALES,
    Terms,
    overlap,
    support_limit,
    years_of,
)
from meter.values.policy import Policy
from meter.values.strict import Per
from meter.values.units import day_of, days_of_month, parse_date

T = TypeVar("T")

FIRST_DAY: Final = -1_000_000  # before every day that can be written
# Of what replaces an original term, the fields that have the same name in the registration.
CORRECTED: Final = (
    *("amount", "signed_on", "starts", "ends", "use", "related_party", "enterprise"),
    "contract_no",
)


@final
@dataclass
class Step:
    """Prices and rented devices from a Shanghai day on, until the next step."""

    first_day: int
    prices: dict[str, int | PriceFor]
    max_devices: dict[str, int]

    def price_on(self, device: str, day: int) -> int:
        """Return the numerator of a thousandth of a device in a second of a Shanghai day.

        What is bought is in numerators already.
        """
        if device == NO_DEVICE:
            return 1
        price = self.prices[device]
        if isinstance(price, int):
            return price
        if price.per == "day":
            return price.amount
        return price.amount * (MONTH_PARTS // days_of_month(day))


@final
@dataclass
class Version:
    """A policy, and the time in which its rules hold for a contract."""

    policy: Policy
    start: int
    end: int


@final
@dataclass
class Segment:
    """A time in which usage counts by one ratio: within one year and one policy.

    `eligible` is the numerator `X` of its usage.
    """

    year: int
    policy: str
    ratio_bp: int
    start: int
    end: int
    eligible: int = 0


@final
@dataclass
class ContractTerms:
    """What holds for a contract.

    `agreed` are the newest terms in the form of a registration, with the prices and devices of the
    last step. `policy` is that of its signing, `versions` those whose rules hold, in the order of
    their time. `segments` are the times in which its usage is eligible, in order: none where use or
    parties are not.
    """

    agreed: ContractRegistered
    steps: list[Step]
    policy: Policy
    terms: Terms
    versions: list[Version]
    segments: list[Segment]


def terms_of(
    registered: ContractRegistered,
    amendments: Sequence[ContractAmended],
    policies: Mapping[str, Policy],
    *,
    other_funds: int,
) -> ContractTerms:
    """Return the terms of a contract; `policies` are its programme's, by version, as activated.

    `other_funds` are the fen of other public money for it.
    """
    original = original_terms(registered, amendments)
    steps = list(_steps(original, amendments))
    agreed = replace(
        _newest(original, amendments),
        prices=steps[-1].prices,
        max_devices=steps[-1].max_devices,
    )
    policy = policies[agreed.policy]
    versions = versions_of(policy, policies)
    return ContractTerms(
        agreed=agreed,
        steps=steps,
        policy=policy,
        terms=limits_of(agreed, policy, other_funds),
        versions=versions,
        segments=list(_segments(agreed, policy, versions)),
    )


def versions_of(own: Policy, policies: Mapping[str, Policy]) -> list[Version]:
    """Return the versions whose rules hold for contracts of a policy, in the order of their time.

    A later one that takes running contracts holds from its own day on.
    """
    versions = [Version(own, own.valid_from, own.valid_until)]
    for name in list(policies)[list(policies).index(own.version) + 1 :]:
        taken, policy = policies[name].takes_from, policies[name]
        if taken is not None:
            before = (Version(v.policy, v.start, min(v.end, taken)) for v in versions)
            begin = max(taken, policy.valid_from)
            versions = [
                *(version for version in before if version.start < version.end),
                Version(policy, begin, policy.valid_until),
            ]
    return versions


def eligible_usage(segments: Iterable[Segment]) -> list[tuple[int, int, int]]:
    """Return year, basis points and numerator of the segments that have usage."""
    return [(each.year, each.ratio_bp, each.eligible) for each in segments if each.eligible]


def class_in(policy: Policy, own: Policy, class_name: str) -> str:
    """Return the class of another version that is derived as a contract's class is."""
    when = own.classes[class_name].when
    found = None if when is None else policy.derived_class(when)
    return class_name if found is None else found


def original_terms(
    registered: ContractRegistered, amendments: Iterable[ContractAmended]
) -> ContractRegistered:
    """Return the terms of the contract's first day, as corrected."""
    for entry in amendments:
        if entry.mode == "correction":
            changes = {
                name: value for name in CORRECTED if (value := getattr(entry, name)) is not UNSET
            }
            registered = replace(
                registered,
                **changes,
                prices=_merged(registered.prices, entry.prices),
                max_devices=_merged(registered.max_devices, entry.max_devices),
                policy=entry.policy,
                ratio_class=entry.ratio_class,
            )
    return registered


def supplements(amendments: Iterable[ContractAmended]) -> list[ContractAmended]:
    """Return the supplements by the day from which they hold, then in the order of entries."""
    found = (each for each in amendments if each.mode == "supplement")
    return sorted(found, key=lambda each: str(each.effective))


def step_of(steps: Sequence[Step], day: int) -> Step:
    """Return the prices and rented devices of a Shanghai day."""
    return next(step for step in reversed(steps) if step.first_day <= day)


def _newest(
    original: ContractRegistered, amendments: Iterable[ContractAmended]
) -> ContractRegistered:
    """Return the terms with the newest amount and end."""
    for each in supplements(amendments):
        original = replace(
            original,
            amount=original.amount if each.amount is UNSET else each.amount,
            ends=original.ends if each.ends is UNSET else each.ends,
        )
    return original


def _steps(original: ContractRegistered, amendments: Iterable[ContractAmended]) -> Iterator[Step]:
    """Yield the steps in the order of their days, the original terms first."""
    step = Step(FIRST_DAY, original.prices, original.max_devices)
    for each in supplements(amendments):
        first_day = day_of(parse_date(str(each.effective)))
        if first_day > step.first_day:
            yield step
        step = Step(
            first_day,
            _merged(step.prices, each.prices),
            _merged(step.max_devices, each.max_devices),
        )
    yield step


def _merged(old: dict[str, T], new: dict[str, T] | UnsetType) -> dict[str, T]:
    return old if new is UNSET else {**old, **new}


def limits_of(agreed: ContractRegistered, policy: Policy, other_funds: int) -> Terms:
    """Return the limits of an entitlement; other funds lower them where the policy counts both."""
    counted = other_funds if policy.combined_bp else 0
    limit = support_limit(agreed.amount, policy.support_bp(agreed.ratio_class), counted)
    denominator = DENOMINATOR * SCALES[per_of(agreed)]
    return Terms(agreed.amount, limit, denominator, policy.rounding == "yuan-per-step")


def per_of(terms: ContractRegistered) -> Per:
    """Return the time for which the prices are: one for all of them, an hour without any."""
    price = next(iter(terms.prices.values()), 0)
    return "hour" if isinstance(price, int) else price.per


def _segments(
    terms: ContractRegistered, own: Policy, versions: Iterable[Version]
) -> Iterator[Segment]:
    """Yield the times in which usage is eligible, by policy and year."""
    if terms.related_party:
        return
    term = parse_date(terms.starts), parse_date(terms.ends)
    for version in versions:
        policy = version.policy
        if terms.use in policy.eligible_uses:
            ratio_bp = policy.ratio_bp[class_in(policy, own, terms.ratio_class)]
            for start, end, year in years_of(overlap([(version.start, version.end)], *term)):
                yield Segment(year, policy.version, ratio_bp, start, end)
