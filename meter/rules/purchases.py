"""Purchases: what an enterprise bought counts on the day of its delivery, or by days of service.

A purchase is usage without devices. Its numerator is fen × `DENOMINATOR`, so each numerator of a
day has the price 1, nothing is withheld, and all else is as it is for usage: segments by day,
reasons, entitlement, rule R, voids, amendments.

Example: 365.00 for a service of 365 days counts 1.00 on each of them, 10.00 of it on ten.
"""

from itertools import pairwise

from msgspec import UNSET

from meter.rules.effects import UsageEffect, accepted_effect
from meter.rules.entries import NO_DEVICE, PurchaseAccepted
from meter.rules.measure import Measured, meter_of
from meter.rules.rating import DENOMINATOR
from meter.rules.state import Contract, State
from meter.values.units import DAY_SECONDS, MICROSECONDS, day_of, parse_date
from meter.wire.batch import MAX_AHEAD_SECONDS, MAX_SERVICE_SECONDS, Purchase
from meter.wire.receipt import RecordCode


def counts_by_days(contract: Contract, purchase: Purchase | PurchaseAccepted) -> bool:
    """Return whether a purchase counts by days of service: where it has some, and by policy."""
    return purchase.service is not None and contract.policy.prorate == "days"


def measured_purchase(purchase: Purchase | PurchaseAccepted, *, by_days: bool) -> Measured:
    """Return a purchase as usage by Shanghai day, in numerators; all of it fits.

    By days of service, up to a day it counts floor(numerator · days before / days).
    """
    numerator, service = purchase.amount * DENOMINATOR, purchase.service
    days = [(day_of(parse_date(purchase.delivered_on)), numerator)]
    if by_days and service is not None:
        first, last = day_of(service[0]), day_of(service[1])
        borders = (numerator * n // (last - first) for n in range(last - first + 1))
        days = [
            (day, after - before) for day, (before, after) in enumerate(pairwise(borders), first)
        ]
    return Measured([(day, part, part, 0) for day, part in days], days, [])


def purchase_effect(
    state: State, contract: Contract, purchase: Purchase | PurchaseAccepted, *, by_days: bool
) -> tuple[Measured, UsageEffect]:
    """Return a purchase as usage, and the effect of accepting it."""
    measured = measured_purchase(purchase, by_days=by_days)
    meter = meter_of(state, contract, NO_DEVICE)
    return measured, accepted_effect(state, contract, meter, measured)


def refuse_purchase(  # noqa: PLR0911 - one rule after the other, in the order of the wire
    contract: Contract | None, purchase: Purchase, provider: str, now: int
) -> tuple[RecordCode, str] | None:
    """Return code and detail of the first rule that a purchase breaks at `now` (microseconds).

    It is as old as the end of the day of its delivery.
    """
    if contract is None or contract.registered.provider != provider:
        return "unknown_contract", f"{provider} has no contract {purchase.contract}"
    name, delivered = contract.registered.id, parse_date(purchase.delivered_on)
    if contract.policy.meter != "purchase":
        return "wrong_meter", f"{name} takes records of usage, not purchases"
    if purchase.amount == 0:
        return "bad_amount", "the amount is zero"
    wrong = _refuse_service(purchase)
    if wrong is not None:
        return wrong
    if delivered * MICROSECONDS > now + MAX_AHEAD_SECONDS * MICROSECONDS:
        return "in_future", "delivered_on lies ahead of this ledger's clock"
    if contract.is_too_late(delivered, delivered + DAY_SECONDS, now):
        return "too_late", f"more than {contract.policy.lateness_seconds} s after its delivery"
    if contract.frozen:
        return "contract_frozen", f"{name} takes no new records"
    if contract.terms.in_yuan and contract.used:
        return "second_purchase", f"{name} has one, and its programme rounds each by itself"
    return None


def _refuse_service(purchase: Purchase) -> tuple[RecordCode, str] | None:
    """Return why the dates of a service cannot be meant.

    It begins near its delivery: each of its days is rated anew by every amendment.
    """
    if (purchase.service_from is UNSET) != (purchase.service_until is UNSET):
        return "bad_interval", "service_from and service_until come together"
    if purchase.service is None:
        return None
    starts, ends = purchase.service
    if ends <= starts:
        return "bad_interval", "service_until is not after service_from"
    days = MAX_SERVICE_SECONDS // DAY_SECONDS
    if abs(starts - parse_date(purchase.delivered_on)) > MAX_SERVICE_SECONDS:
        return "bad_interval", f"service_from is more than {days} days from delivered_on"
    if ends - starts > MAX_SERVICE_SECONDS:
        return "too_long", f"a service of more than {days} days"
    return None
