"""Independent sums of claims and payments, the slow and obvious way; a part of `auditor.sums`.

Nothing of the core is used here. These must hold; where one does not, its code is that of the
violation:

    sum_claims       a claim is made in time, with what the policy asks for; its steps follow each
                     other; approved and not taken back = −claims = payable + paid; what becomes
                     another enterprise's has no claim that is open, and nothing payable or paid
    sum_papers       approved ≤ min(granted − forfeited, ratio × invoiced, ratio × paid) − approved
                     before
    sum_invoice      a paper counts for one item, and within its amount; it is between the parties;
                     a red invoice takes back no more than counts
    sum_persons      who enters, checks and approves are three; who orders did not approve
    sum_notice       an order follows a notice of enough days, when all objections are resolved
    sum_cash         no cash is ordered while the firm has a debt; no more than a debt is set off or
                     recovered; Σ cash − recovered by bank = Σ paid
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import floor
from typing import Any, Final

from ledger.errors import Violation
from meter.auditor.sum_firms import Firms

Account = tuple[str, int]  # item, year

_SECOND: Final = 1_000_000  # microseconds
_DAY: Final = 86_400
_AHEAD: Final = 8 * 3_600  # seconds: Shanghai's clock shows eight hours more than UTC
_EPOCH: Final = date(1970, 1, 1).toordinal()

# The states in which a step may be taken, and the state after it; None leaves it as it is.
_STEPS: Final[dict[str, tuple[tuple[str, ...], str | None]]] = {
    "claim_check": (("entered",), "checked"),
    "claim_end": (("entered", "checked"), "ended"),
    "approval": (("checked",), "approved"),
    "notice": (("approved",), "noticed"),
    "objection": (("noticed",), None),
    "resolution": (("noticed",), None),
    "claim_revocation": (("approved", "noticed"), "ended"),
    "order": (("noticed",), "ordered"),
    "payment": (("ordered",), "paid"),
    "payment_return": (("paid",), "ordered"),
}
KINDS: Final = frozenset([*_STEPS, "genesis", "claim", "recovery", "red_invoice", "forfeit"])

_OPEN: Final = ("entered", "checked", "approved", "noticed")
_BOUND: Final = ("approved", "noticed", "ordered", "paid")
_COUNTED: Final = ("ordered", "paid")
_TAKEN_BACK: Final = ("amount", "refunded")  # by a red invoice


@dataclass(frozen=True, slots=True)
class Item:
    """What claims need of a contract or award, and of the rules it has (`[claims]`).

    Any other firm may have sold what an award is for.
    """

    enterprise: str
    programme: str
    seller: str | None
    ratio: Callable[[int], Fraction]  # by year
    rules: Mapping[str, Any]  # its figures may be left out

    @property
    def evidence(self) -> Sequence[str]:
        return self.rules.get("evidence", ("invoice", "payment", "delivery"))  # type: ignore[no-any-return]

    @property
    def notice_days(self) -> int:
        return int(self.rules.get("notice_days", 7))

    @property
    def months(self) -> int:
        return int(self.rules.get("months", 6))


@dataclass(slots=True)
class _Claim:
    fields: dict[str, Any]
    persons: list[str]  # who entered, checked and approved it
    state: str = "entered"
    approved: int = 0
    cash: int = 0
    disallowed: dict[str, int] = field(default_factory=dict)
    notice: range = range(0)  # days
    objections: dict[int, bool] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        return self.fields["item"], self.fields["year"]

    def papers(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Yield name, paper, and the fen of it that were allowed."""
        for paper in self.fields["invoices"]:
            name = paper["number"]
            yield name, paper, paper["part"] - self.disallowed.get(name, 0)
        for paper in self.fields["payments"]:
            name = f"{paper['bank']}:{paper['reference']}"
            yield name, paper, paper["part"] - self.disallowed.get(name, 0)


class Claims:
    """The sums of all claims. `balances` are those of the ledger, after each entry's postings."""

    def __init__(self, balances: Mapping[str, int], firms: Firms) -> None:
        self._balances = balances
        self._firms = firms
        self._one_person = False
        self._items: dict[str, Item] = {}
        self._claims: dict[str, _Claim] = {}
        self._of_account: defaultdict[Account, list[_Claim]] = defaultdict(list)
        self._years: defaultdict[str, set[int]] = defaultdict(set)  # by item
        self._of_firm: defaultdict[tuple[str, str], set[Account]] = defaultdict(set)
        self._of_paper: defaultdict[str, list[_Claim]] = defaultdict(list)
        self._forfeited: defaultdict[Account, int] = defaultdict(int)
        self._taken_back: defaultdict[Account, int] = defaultdict(int)
        self._by_bank = 0
        self._red: defaultdict[Account, list[dict[str, Any]]] = defaultdict(list)

    def add_item(self, name: str, item: Item) -> None:
        """Add a contract."""
        self._items[name] = item

    def item_year_of(self, claim: str) -> tuple[str, int]:
        """Return the item of a claim, and its year."""
        return self._claims[claim].account

    def claimed(self, item: str) -> int:
        """Return the fen of an item that are approved: payable, and paid less what came back."""
        years = self._years.get(item, ())
        return -sum(self._balances.get(_name("claims", (item, year)), 0) for year in years)

    def check_unclaimed(self, number: int, item: str) -> None:
        """Check that an item has no claim that is open, and nothing payable or paid."""
        for year in sorted(self._years.get(item, ())):
            if any(claim.state in _OPEN for claim in self._of_account[item, year]):
                detail = f"{item} becomes another's, and a claim of {year} is open"
                raise Violation("sum_claims", detail, number)
            if fen := -self._balances.get(_name("claims", (item, year)), 0):
                detail = f"{item} becomes another's, and {fen} fen of {year} are payable or paid"
                raise Violation("sum_claims", detail, number)

    def open_items(self, year: int) -> Iterator[str]:
        """Yield the items that an open claim for a year is for."""
        for claim in self._claims.values():
            if claim.state in _OPEN and claim.account[1] == year:
                yield claim.account[0]

    def entry(self, number: int, fields: dict[str, Any]) -> None:
        """Add an entry of one of `KINDS`. Raises `Violation`."""
        kind = fields["kind"]
        if kind in _STEPS:
            self._step(number, kind, fields)
            return
        match kind:
            case "genesis":
                self._one_person = fields["one_person"]  # a trial: one person takes all steps
            case "claim":
                self._enter(number, fields)
            case "recovery":
                self._recover(number, fields)
            case "red_invoice":
                self._enter_red(number, fields)
            case "forfeit":
                account = fields["item"], fields["year"]
                if fields["amount"] > self._granted(account):
                    detail = f"more is forfeited of {account} than is granted"
                    raise Violation("sum_papers", detail, number)
                self._forfeited[account] = fields["amount"]

    def finish(self, accounts: dict[str, int]) -> None:
        """Compare the totals with the balances, and take these out of `accounts`."""
        known: defaultdict[Account, int] = defaultdict(int)
        payable: defaultdict[Account, int] = defaultdict(int)
        for claim in self._claims.values():
            if claim.state in _BOUND:
                known[claim.account] += claim.approved
            if claim.state in ("approved", "noticed"):
                payable[claim.account] += claim.approved
        total = 0
        for account in sorted(known.keys() | self._taken_back.keys()):
            name = f"{account[0]}:{account[1]}"
            held = {
                kind: accounts.pop(f"{kind}:{name}", 0) for kind in ("claims", "payable", "paid")
            }
            open_ = known[account] - self._taken_back[account]
            ours = {
                "claims": -open_,
                "payable": payable[account],
                "paid": open_ - payable[account],
            }
            if held != ours:
                detail = f"{name}: the ledger says {held}, the sums give {ours}"
                raise Violation("sum_claims", detail)
            total += held["paid"]
        cash = sum(claim.cash for claim in self._claims.values()) - self._by_bank
        if cash != total:
            raise Violation("sum_cash", f"{cash} fen of cash, {total} fen are paid")

    # Entries

    def _enter(self, number: int, fields: dict[str, Any]) -> None:
        claim = _Claim(fields, [_actor(fields)])
        for other in self._of_account[claim.account]:
            if other.state in _OPEN:
                detail = f"claim {other.fields['id']} is open for the same item and year"
                raise Violation("sum_claims", detail, number)
        item = self._items.get(fields["item"])
        if item is None:
            raise Violation("sum_claims", f"nothing is claimed for {fields['item']}", number)
        self._check_window(number, item, fields)
        for invoice in fields["invoices"]:
            buyers, seller = set(self._firms.members(item.enterprise)), invoice["seller"]
            is_sold = seller not in buyers if item.seller is None else seller == item.seller
            if not is_sold or invoice["buyer"] not in buyers:
                detail = f"invoice {invoice['number']} is not between the parties"
                raise Violation("sum_invoice", detail, number)
        self._claims[fields["id"]] = claim
        self._of_account[claim.account].append(claim)
        self._years[claim.account[0]].add(claim.account[1])
        self._of_firm[item.enterprise, item.programme].add(claim.account)
        for name, _, _ in claim.papers():
            self._of_paper[name].append(claim)

    def _check_window(self, number: int, item: Item, fields: dict[str, Any]) -> None:
        years, month = divmod(item.months, 12)
        closed = date(fields["year"] + 1 + years, month + 1, 1)
        today = date.fromordinal(day_of(fields["at"]))
        if not date(fields["year"], 1, 1) <= today < closed:
            raise Violation("sum_claims", f"a claim for {fields['year']} on {today}", number)
        given = {
            "invoice": fields["invoices"],
            "payment": fields["payments"],
            "delivery": fields.get("delivery"),
        }
        for asked in item.evidence:
            if not given[asked]:
                raise Violation("sum_claims", f"the claim has no {asked}", number)

    def _step(self, number: int, kind: str, fields: dict[str, Any]) -> None:
        claim = self._claims.get(fields["claim"])
        allowed, after = _STEPS[kind]
        if claim is None or claim.state not in allowed:
            raise Violation("sum_claims", f"{kind} of claim {fields['claim']} as it is", number)
        match kind:
            case "claim_check":
                self._act(number, claim, fields)
            case "approval":
                self._act(number, claim, fields)
                self._approve(number, claim, fields)
            case "notice":
                claim.notice = days_of(fields)
                if claim.notice.start < day_of(fields["at"]):
                    raise Violation("sum_notice", "the notice begins before its entry", number)
            case "objection":
                claim.objections[number] = False
            case "resolution":
                claim.objections[fields["objection"]] = True
            case "order":
                self._order(number, claim, fields)
                return
            case "payment_return":
                self._cash(number, claim, fields, claim.cash)
                return
        claim.state = after or claim.state

    def _act(self, number: int, claim: _Claim, fields: dict[str, Any]) -> None:
        """Add who checked or approved; each is another person."""
        person = _actor(fields)
        if person in claim.persons and not self._one_person:
            raise Violation("sum_persons", f"{person} acts twice on {fields['claim']}", number)
        claim.persons.append(person)

    def _approve(self, number: int, claim: _Claim, fields: dict[str, Any]) -> None:
        claim.disallowed, claim.approved = dict(fields["disallowed"]), fields["amount"]
        self._check_papers(number, claim)
        # The posting of this entry is in the balance already.
        before = -self._balances.get(_name("claims", claim.account), 0) - claim.approved
        limit = self._limit(claim.account, claim)
        if claim.approved > claim.fields.get("amount", claim.approved):
            raise Violation("sum_papers", "more than the claim asks for is approved", number)
        if claim.approved and before + claim.approved > limit:
            detail = f"{claim.approved} fen are approved above {before}, the limit is {limit}"
            raise Violation("sum_papers", detail, number)

    def _check_papers(self, number: int, claim: _Claim) -> None:
        """Compare each paper with the bound ones of the same name."""
        for name, paper, part in claim.papers():
            total = part
            for other in (each for each in self._of_paper[name] if each.state in _BOUND):
                for theirs, same, allowed in other.papers():
                    if theirs != name or not allowed or not part:
                        continue
                    total += allowed
                    alike = paper | {"part": 0} == same | {"part": 0}
                    if other.fields["item"] != claim.fields["item"] or not alike:
                        raise Violation("sum_invoice", f"{name} is bound already", number)
            if total > paper["amount"]:
                raise Violation("sum_invoice", f"{total} fen of {name} are claimed for", number)

    def _order(self, number: int, claim: _Claim, fields: dict[str, Any]) -> None:
        if _actor(fields) == claim.persons[2] and not self._one_person:
            raise Violation("sum_persons", "who approved a claim orders it", number)
        item = self._items[claim.fields["item"]]
        today = day_of(fields["at"])
        if len(claim.notice) < item.notice_days or today < claim.notice.stop:
            raise Violation("sum_notice", "the order comes before the end of a notice", number)
        if not all(claim.objections.values()):
            raise Violation("sum_notice", "an objection is open", number)
        self._cash(number, claim, fields, claim.approved)

    def _cash(self, number: int, claim: _Claim, fields: dict[str, Any], cash: int) -> None:
        """Check what is set off against cash; where none is left, the claim is paid."""
        payee = self._firms.last(self._items[claim.fields["item"]].enterprise)
        if fields["payee"] != payee:
            raise Violation("sum_cash", f"{fields['payee']} is paid, not {payee}", number)
        claim.state = "ordered" if fields["cash"] else "paid"
        claim.cash = fields["cash"]
        for source, target, fen in fields["postings"]:
            if not target.startswith("claims:"):
                continue
            _, item, year = source.split(":")
            account = item, int(year)
            cash -= fen
            self._taken_back[account] += fen
            if self._balances[source] < self._limit(account):
                raise Violation("sum_cash", f"more than the debt of {account} is set off", number)
        if cash != fields["cash"]:
            raise Violation("sum_cash", f"{cash} fen are left, not {fields['cash']}", number)
        if cash and (debts := [*self._debts(self._items[claim.fields["item"]])]):
            raise Violation("sum_cash", f"cash is ordered beside the debts of {debts}", number)

    def _recover(self, number: int, fields: dict[str, Any]) -> None:
        account = fields["item"], fields["year"]
        self._taken_back[account] += fields["amount"]
        if self._balances[_name("paid", account)] < self._limit(account):
            raise Violation("sum_cash", f"more than the debt of {account} is recovered", number)
        if "claim" not in fields:
            self._by_bank += fields["amount"]
            return
        claim = self._claims[fields["claim"]]
        ours, theirs = self._items[account[0]], self._items[claim.fields["item"]]
        is_same = self._firms.last(ours.enterprise) == self._firms.last(theirs.enterprise)
        if not is_same or ours.programme != theirs.programme:
            raise Violation("sum_cash", "another firm's cash pays a debt", number)
        if claim.state != "ordered" or fields["amount"] > claim.cash:
            raise Violation("sum_cash", f"claim {fields['claim']} has not as much cash", number)
        claim.cash -= fields["amount"]
        claim.state = "ordered" if claim.cash else "paid"

    def _enter_red(self, number: int, fields: dict[str, Any]) -> None:
        account = fields["item"], fields["year"]
        counts = sum(
            part
            for claim in self._of_account[account]
            if claim.state in _BOUND
            for name, _, part in claim.papers()
            if name == fields["number"]
        )
        known = [each for each in self._red[account] if each["number"] == fields["number"]]
        red, refunded = (sum(each[key] for each in [*known, fields]) for key in _TAKEN_BACK)
        if red > counts:
            detail = f"{fields['number']} counts {counts} fen, more is taken back"
            raise Violation("sum_invoice", detail, number)
        if refunded > self._amount_of(fields["number"]):
            raise Violation("sum_invoice", f"more than {fields['number']} is refunded", number)
        self._red[account].append(fields)

    def _amount_of(self, invoice: str) -> int:
        """Return the amount of an invoice that an approved claim names."""
        claims = (each for each in self._of_paper[invoice] if each.state in _BOUND)
        papers = (paper for claim in claims for name, paper, _ in claim.papers() if name == invoice)
        amount: int = next(papers)["amount"]
        return amount

    # Limits and debts

    def _granted(self, account: Account) -> int:
        return self._balances.get(_name("accrued", account), 0)

    def _limit(self, account: Account, also: _Claim | None = None) -> int:
        """Return what may be paid in all; `also` is a claim that is being approved."""
        claims = [
            each for each in self._of_account[account] if each is also or each.state in _COUNTED
        ]
        invoiced: defaultdict[str, int] = defaultdict(int)
        paid = 0
        for claim in claims:
            numbers = {each["number"] for each in claim.fields["invoices"]}
            for name, _, part in claim.papers():
                if name in numbers:
                    invoiced[name] += part
                else:
                    paid += part
        for red in self._red[account]:
            if red["number"] in invoiced:
                invoiced[red["number"]] -= red["amount"]
                paid -= red["refunded"]
        item = self._items[account[0]]
        ratio = item.ratio(account[1])
        limits = [self._granted(account) - self._forfeited[account]]
        if "invoice" in item.evidence:
            limits.append(floor(ratio * sum(max(0, fen) for fen in invoiced.values())))
        if "payment" in item.evidence:
            limits.append(floor(ratio * max(0, paid)))
        return max(0, min(limits))

    def _debts(self, own: Item) -> Iterator[Account]:
        """Yield the accounts of a firm in a programme that were paid beyond their limit."""
        codes = self._firms.members(own.enterprise)
        accounts = {each for code in codes for each in self._of_firm[code, own.programme]}
        for account in sorted(accounts):
            if self._balances.get(_name("paid", account), 0) > self._limit(account):
                yield account


def _actor(fields: dict[str, Any]) -> str:
    person: str = fields["person"] or fields["by"]
    return person


def _name(kind: str, account: Account) -> str:
    return f"{kind}:{account[0]}:{account[1]}"


def day_of(moment: int) -> int:
    """Return the ordinal of the Shanghai day of microseconds since 1970."""
    return (moment // _SECOND + _AHEAD) // _DAY + _EPOCH


def days_of(section: dict[str, Any]) -> range:
    """Return the days from `from` until `until`, dates of Shanghai, half-open."""
    first, until = (date.fromisoformat(section[name]) for name in ("from", "until"))
    return range(first.toordinal(), until.toordinal())
