"""Disputes of records: a part of `auditor.sums`.

sum_dispute  a dispute is of a record that counts, once, and before thirty days have passed since
             the closing of the month that booked it, which its firm has not confirmed; nothing
             is approved for a contract and year of a record whose dispute is open; a month is
             confirmed once it is closed, in that time, and without such a dispute
"""

from datetime import date, timedelta
from typing import Any, Final

from ledger.errors import Violation
from meter.auditor.sum_firms import Firms
from meter.auditor.sum_meters import Contract
from meter.auditor.sum_months import Months
from meter.auditor.sum_records import Records

_ANSWER_MICROSECONDS: Final = timedelta(days=30) // timedelta(microseconds=1)


class Disputes:
    """The disputes of one ledger, over what other sums know. Methods raise `Violation`."""

    def __init__(
        self, records: Records, contracts: dict[str, Contract], months: Months, firms: Firms
    ) -> None:
        self._records = records
        self._contracts = contracts
        self._months = months
        self._firms = firms
        self._made: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, str], dict[str, Any]] = {}
        self._confirmed: set[tuple[str, str]] = set()  # month, USCC

    def dispute(self, number: int, fields: dict[str, Any]) -> None:
        """Take a dispute."""
        name = fields["provider"], fields["id"]
        found = self._records.about(*name)
        if found is None or name in self._made:
            raise Violation("sum_dispute", "no such record counts, or it was disputed", number)
        record, contract, days = found
        month = self._months.month_of(record)
        stated = [fields[each] for each in ("record", "contract", "month")]
        years = sorted({date.fromordinal(day).year for day in days}) or fields["years"]
        if [record, contract, month, years] != [*stated, fields["years"]]:
            raise Violation("sum_dispute", "record, contract, month or years are others", number)
        self._check_time(number, fields)
        owner = self._contracts[fields["contract"]].fields["enterprise"]
        if any((month, code) in self._confirmed for code in self._firms.members(owner)):
            raise Violation("sum_dispute", f"{month} is confirmed", number)
        self._made.add(name)
        self._open[name] = fields | {"number": number}

    def dismissal(self, number: int, fields: dict[str, Any]) -> None:
        """Take the end of a dispute."""
        held = self._open.pop((fields["provider"], fields["id"]), {})
        if (held.get("number"), held.get("contract")) != (fields["dispute"], fields["contract"]):
            raise Violation("sum_dispute", "no such dispute is open", number)

    def void(self, provider: str, name: str) -> None:
        """End the dispute of a record that no longer counts."""
        self._open.pop((provider, name), None)

    def approval(self, number: int, item: str, year: int) -> None:
        """Check that no record of an item and year is disputed."""
        for fields in self._open.values():
            if fields["contract"] == item and year in fields["years"]:
                raise Violation("sum_dispute", f"{fields['id']} of {item} is disputed", number)

    def confirmation(self, number: int, fields: dict[str, Any]) -> None:
        """Take what a firm agrees with."""
        month, firm = fields["month"], fields["enterprise"]
        name = month, firm
        if month not in self._months.closed or name in self._confirmed:
            raise Violation("sum_dispute", f"{month} is not closed, or is confirmed", number)
        self._check_time(number, fields)
        for each in self._open.values():
            owner = self._contracts[each["contract"]].fields["enterprise"]
            if each["month"] == month and self._firms.last(owner) == firm:
                raise Violation("sum_dispute", f"{each['id']} is disputed", number)
        self._confirmed.add(name)

    def _check_time(self, number: int, fields: dict[str, Any]) -> None:
        closed = self._months.closed.get(fields["month"])
        if closed is not None and fields["at"] >= closed + _ANSWER_MICROSECONDS:
            raise Violation("sum_dispute", f"too late for {fields['month']}", number)
