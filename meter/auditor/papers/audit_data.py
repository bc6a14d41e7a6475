"""Audit data after ISO 21378:2019: a journal, its balances, and whom and what they name.

    GL_Details                   both sides of each movement of money; a debit is positive
    GL_Accounts_Period_Balance   what each account held before, within and after each month
    BAS_Accounting_Period        the months, by Shanghai dates
    BAS_Chart_Of_Accounts        every account of the journal and its balances
    BAS_Customer, BAS_Supplier   enterprises and providers by their newest names
    BAS_User                     who acted, by ids alone

The standard's text is not public. Tables are those of its table of contents. Fields are those that
the AICPA's Audit Data API (GitHub, AICPA-ADS/AuditData-API, schemas of 2020 and 2021) says to be in
ISO 21378 too, with the sign of amounts as it tells; `OWN` are not, and have names of their own.
Files are CSV as `csv_file.py` writes it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ledger.progress import Progress
from meter.auditor.papers.accounts import nature_of
from meter.auditor.papers.csv_file import CsvWriter
from meter.auditor.papers.log import KeptEntry, VerifiedLog
from meter.auditor.papers.period import Period, date_of, first_of_next_month
from meter.auditor.papers.tables import PARTIES, Form, Row, Table, act_of, family_row, table
from meter.rules.entries import AnyEntry, Posting, RecordVoided
from meter.rules.people import People
from meter.values.units import format_moment

_CURRENCY: Final = "CNY"  # ISO 4217
_HHMMSS: Final = slice(11, 19)  # of an instant
_YEAR: Final[tuple[str, Form, str]] = ("Fiscal_Year", "integer", "calendar year of Shanghai")
_PERIOD: Final[tuple[str, Form, str]] = ("Accounting_Period", "text", "month YYYY-MM")
_ACCOUNT: Final[tuple[str, Form, str]] = ("GL_Account_Number", "text", "name of the account")
_IN: Final[tuple[str, Form, str]] = ("Functional_Currency_Code", "text", "CNY")

DETAILS: Final = table(
    "GL_Details",
    "both sides of each movement of money",
    ("Journal_ID", "integer", "number of the entry, from 0"),
    ("Journal_ID_Line_Number", "integer", "from 1; a posting has two lines, its debit first"),
    _YEAR,
    _PERIOD,
    ("Effective_Date", "date", "Shanghai date of the entry"),
    ("JE_Type_Code", "text", "kind of the entry"),
    ("JE_Header_Description", "text", "the reason that was given"),
    _ACCOUNT,
    ("Functional_Amount", "money", "yuan; a debit is positive, a credit negative"),
    _IN,
    ("Reversal_Indicator", "integer", "1 where the entry voids a record"),
    ("Reversal_Journal_ID", "integer", "entry of the record that it voids"),
    ("Created_User_ID", "text", "who proposed it, else who asked for it"),
    ("Created_Date", "date", "Shanghai date on which the ledger took it"),
    ("Created_Time", "text", "and the time of that day"),
    ("Approved_Person_ID", "text", "who confirmed what another proposed"),
)
BALANCES: Final = table(
    "GL_Accounts_Period_Balance",
    "accounts that hold something or moved, month by month",
    _YEAR,
    _PERIOD,
    _ACCOUNT,
    ("Beginning_Functional_Amount", "money", "what it held before the month"),
    ("Debit_Functional_Amount", "money", "what came to it"),
    ("Credit_Functional_Amount", "money", "what went from it"),
    ("Ending_Functional_Amount", "money", "what it held after the month"),
    _IN,
)
MONTHS: Final = table(
    "BAS_Accounting_Period",
    "the months of the journal, without a gap",
    _YEAR,
    _PERIOD,
    ("Period_Start_Date", "date", "first day"),
    ("Period_End_Date", "date", "first day after it"),
)
CHART: Final = table(
    "BAS_Chart_Of_Accounts",
    "every account that a row names",
    _ACCOUNT,
    ("Account_Type", "text", "Assets, Liabilities, Equity or Expenses"),
)
CUSTOMERS: Final = table(
    "BAS_Customer",
    "enterprises",
    ("Customer_ID", "text", "USCC"),
    ("Customer_Name", "text", "its newest name"),
)
SUPPLIERS: Final = table(
    "BAS_Supplier",
    "providers",
    ("Supplier_ID", "text", "id of the provider"),
    ("Supplier_Name", "text", "its newest name"),
)
USERS: Final = table(
    "BAS_User",
    "who created or approved a line",
    ("User_ID", "text", "a person of the authority, or a provider's key"),
)
AUDIT_TABLES: Final = (DETAILS, BALANCES, MONTHS, CHART, CUSTOMERS, SUPPLIERS, USERS)
OWN: Final = frozenset(
    {"Debit_Functional_Amount", "Credit_Functional_Amount", "Period_Start_Date", "Period_End_Date"}
    | {"Account_Type", "User_ID", "Customer_ID", "Customer_Name", "Supplier_ID", "Supplier_Name"}
)
_PARTIES: Final = {"enterprise": CUSTOMERS, "provider": SUPPLIERS}


def write_audit_data(log: VerifiedLog, period: Period, folder: Path, progress: Progress) -> None:
    """Write the tables of a period into a folder, a CSV for each."""
    writer = CsvWriter(folder, AUDIT_TABLES)
    journal = _Journal(writer.row, log.state.people, period)
    for kept in log.entries():
        at = kept.entry.at
        if period.is_after(at):
            journal.turn_to(str(period.ends))
            break
        journal.take_name(kept.entry)
        if period.is_before(at):
            journal.hold(kept.entry.postings)
        else:
            journal.enter(kept)
        progress(kept.number + 1, log.size)
    else:
        journal.end_month()
    journal.write_names()
    writer.close()


class _Journal:
    """The rows, written as the months go by."""

    def __init__(self, write: Callable[[Table, Row], None], people: People, period: Period) -> None:
        self._write = write
        self._people = people
        self._month = period.starts or ""  # first day of the month that is open
        self._has_begun = False
        self._held: dict[str, int] = defaultdict(int)  # before that month
        self._debit: dict[str, int] = defaultdict(int)
        self._credit: dict[str, int] = defaultdict(int)
        self._accounts: set[str] = set()
        self._users: set[str] = set()
        self._names: dict[tuple[str, str], str] = {}

    def take_name(self, entry: AnyEntry) -> None:
        """Take the newest name of a party."""
        match family_row(entry):
            case (family, (str(role), str(party), str(name))) if family is PARTIES:
                self._names[role, party] = name

    def hold(self, postings: Iterable[Posting]) -> None:
        """Take what was moved before the period."""
        for source, target, fen in postings:
            self._held[source] -= fen
            self._held[target] += fen

    def enter(self, kept: KeptEntry) -> None:
        """Write the lines of an entry of the period."""
        self.turn_to(f"{date_of(kept.entry.at)[:7]}-01")
        head, tail = self._around(kept.entry)
        for place, (source, target, fen) in enumerate(kept.entry.postings):
            self._debit[target] += fen
            self._credit[source] += fen
            for line, account, amount in ((1, target, fen), (2, source, -fen)):
                own = account, amount, _CURRENCY
                self._write(DETAILS, (kept.number, 2 * place + line, *head, *own, *tail))

    def turn_to(self, month: str) -> None:
        """Close all months before the one that begins on this day."""
        self._month = self._month or month
        self._has_begun = True
        while self._month < month:
            self._close_month()
            self._month = first_of_next_month(self._month)

    def end_month(self) -> None:
        """Close the month of the last entry, if the period has one."""
        if self._has_begun:
            self.turn_to(first_of_next_month(self._month))

    def write_names(self) -> None:
        """Write whom and what the rows name."""
        for account in sorted(self._accounts):
            self._write(CHART, (account, nature_of(account)))
        for (role, party), name in sorted(self._names.items()):
            self._write(_PARTIES[role], (party, name))
        for user in sorted(self._users):
            self._write(USERS, (user,))

    def _close_month(self) -> None:
        shown = int(self._month[:4]), self._month[:7]
        self._write(MONTHS, (*shown, self._month, first_of_next_month(self._month)))
        for account in sorted(self._held.keys() | self._debit.keys() | self._credit.keys()):
            before, debit, credit = (
                each.get(account, 0) for each in (self._held, self._debit, self._credit)
            )
            after = before + debit - credit
            if before or debit or credit:
                self._accounts.add(account)
                self._write(BALANCES, (*shown, account, before, debit, credit, after, _CURRENCY))
            self._held[account] = after
        self._debit.clear()
        self._credit.clear()

    def _around(self, entry: AnyEntry) -> tuple[Row, Row]:
        """Return what a line has before and after its account and amount."""
        person, proposal, reason = act_of(entry)
        creator, approver = person or entry.by, None
        if proposal is not None:
            creator, approver = self._people.proposals[proposal].made.person, person
        if entry.postings:
            self._users.update({creator, approver or creator})
        reversal = (1, entry.record) if isinstance(entry, RecordVoided) else (None, None)
        date, time = date_of(entry.at), format_moment(entry.at)[_HHMMSS]
        head = int(date[:4]), date[:7], date, entry.kind, reason
        return head, (*reversal, creator, date, time, approver)
