"""Independent sums beside the audit: a ledger's totals, computed the slow and obvious way.

The audit decides every entry again by the core's own rules, so a fault in those would not show.
Nothing of the core is used here: the bytes are read anew, `Fraction` and calendar dates calculate,
a policy is read from its text, and the balances are those of the postings. These must agree; where
one does not, its code is that of the violation:

    sum_contract     no two contracts of the same parties have one number; a contract follows one
                     that is known; a term touches at most four years, and at most 64 contracts of a
                     firm and programme a year, as of each contract and amendment
    sum_record       a record counts once, and lasts at most 31 days; a void takes back one that
                     counts, a release one with a withheld part
    sum_purchase     a purchase counts whole or by the days of its service, as its policy says; one
                     for a contract where that counts in yuan
    sum_withheld     what does not fit by quarter-hour, or no longer is withheld, by day; its cost
    sum_evidence     by which limit, and when, in runs of quarters
    sum_fits         what is enlisted, or needs no enlistment, less what is withheld, by day
    sum_ineligible   what counts for nothing, by reason: parties, use, policy validity, term,
                     enlistment; a void takes off, and a release changes, what it is worth then
    sum_enlistment   a known enlistment keeps its devices and its begin
    sum_policy       a contract has the policy in force at its signing, else the first within its
                     term; a coupon is issued under one; a programme's pool keeps its owner
    sum_applicant    who has a contract or an award, and the last successor of who is issued money
                     or paid, may apply under the policy, which funds that
    sum_role         who serves a programme, of devices each of device-time, has no contract and no
                     coupon under it; a contract is with one who does
    sum_award        an award is at most the ratio of its base, its fixed sum, and what the others
                     leave of its caps, less other public money; accrued = its newest amount
    sum_project      with national or provincial money, awards of a project are at most its audited
                     investment less municipal and district money, where that is known; so is what
                     is approved for all its items, once it is known; one programme of a group is
                     paid for it
    sum_class        its ratio class, from the founding date and the signing
    sum_allocation   an allocation divides a pool as it says, and those very issues follow it
    sum_need         no coupon above what the contracts of its year can ever be entitled to
    sum_year         no issue for a year whose claims have ended, or that is closed; what coupons
                     have left expires after that; none has anything left when a year is closed
    sum_threshold    contracts whose usage of the year can count reach the threshold at each issue
    sum_cap          no coupon above the cap, by the newest policy of the year
    sum_pool         no issue above the year's pool, which programmes may share; pool = what is set
                     aside − issued
    sum_cost         due = floor(Σ device-time of a day × its price) = Σ of the entries' `cost`
    sum_entitled     the formula's figure by contract and year, by the newest sums of other public
                     money = Σ of the entries' `entitled`
    sum_granted      0 ≤ accrued ≤ entitled; Σ accrued = min(issued, Σ entitled), and ≤ cost
    sum_coupon       coupon = issued − granted
    sum_budget       a budget is the owner's, at most the policy's figure, at least what is issued
    sum_treasury     treasury = −(what is set aside): the smaller of the policy's figure and the
                     budget, or what is issued if more
    sum_enterprise   enterprise = −Σ due of its contracts
    sum_account      no other account holds anything
    sum_summary      what a stream's records of a day came to when its provider summed it up
    sum_persons      who gave each command, and whether that was enough: `auditor.sum_persons`
    sum_claims, sum_papers, sum_invoice, sum_notice, sum_cash: `auditor.sum_claims`
    sum_dispute      disputes of records, and months that firms confirm: `auditor.sum_disputes`
    sum_month        what a month booked and its streams lacked: `auditor.sum_months`
    sum_access       days of the access log, each once and in order: `auditor.sum_accesses`
    sum_firm         who stands in whose place: `auditor.sum_firms`; thresholds, caps and roles are
                     those of a firm, that is of a last successor and all that it succeeded

A violation names the entry of a void or record; for a total, the contract, or enterprise and year.
Which of an enterprise's contracts a coupon pays depends on history: that is left to the audit.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import floor
from typing import Any, Final, assert_never

import msgspec

from ledger.errors import Violation
from meter.auditor.sum_accesses import Accesses
from meter.auditor.sum_claims import KINDS as _OF_CLAIMS
from meter.auditor.sum_claims import Claims, Item, day_of, days_of
from meter.auditor.sum_disputes import Disputes
from meter.auditor.sum_firms import Firms
from meter.auditor.sum_meters import Contract, Provider, Work, costs_of
from meter.auditor.sum_months import Months
from meter.auditor.sum_persons import Persons
from meter.auditor.sum_records import Records, is_of_record, read_of_record
from meter.auditor.sum_rules import (
    Rules,
    class_on,
    months_after,
    read_rules,
    rules_of,
    versions_of,
    years_of,
    yuan,
)
from meter.auditor.sum_summaries import Summaries
from meter.auditor.sum_terms import Terms
from meter.auditor.sum_totals import (
    Coupon,
    Pool,
    agree,
    check_cost,
    check_coupon,
    check_grants,
    check_pool,
    entitlement_of,
    need_of,
    stay_below,
)

_MOST_YEARS: Final = 4  # that a term touches
_MOST_CONTRACTS: Final = 64  # of a firm and programme, that touch one year
_REQUEST: Final = b'"request":'

# Entries of these kinds add to no sum but that of their postings. Any other kind is a violation, so
# that a new one cannot pass unseen.
_OF_NO_SUM: Final = {
    *("key", "revocation", "freeze", "unfreeze", "late_window", "provider_amendment"),
    *("log_key", "log_key_retirement", "receipt_key", "receipt_key_retirement"),
    *("person", "person_end", "person_recovery", "token", "token_end"),
    *("proposal", "proposal_end", "state_digest"),
}

_METERED: Final = ("device-time", "purchase")
_OF_ENTERPRISE: Final = ("name", "applicant", "founded_on")  # what can be amended


@dataclass(slots=True)
class _Award:
    """An award's entry, its class, and its newest amount."""

    fields: dict[str, Any]
    name: str
    amount: int = 0

    @property
    def programme(self) -> str:
        programme: str = self.fields["programme"]
        return programme


class Sums:
    """The sums of all entries; `finish` compares the totals. Methods raise `Violation`.

    `compared` counts the contracts, coupons, pools and enterprises whose totals were found right.
    """

    def __init__(self) -> None:
        self.compared = 0
        self._balances: defaultdict[str, int] = defaultdict(int)
        self._policies: defaultdict[str, list[Rules]] = defaultdict(list)
        self._providers: dict[str, Provider] = {}
        self._enterprises: dict[str, dict[str, Any]] = {}
        self._contracts: dict[str, Contract] = {}
        self._contract_nos: set[tuple[str, str, str]] = set()  # by enterprise and provider
        self._awards: dict[str, _Award] = {}
        self._awarded: defaultdict[str, list[_Award]] = defaultdict(list)  # by enterprise
        # Other public money by project and reference: level and fen.
        self._funds: defaultdict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
        self._audited: dict[str, int] = {}
        self._of_project: defaultdict[str, list[str]] = defaultdict(list)  # awards and contracts
        # What providers serve, by USCC: named programmes, or None of those with devices.
        self._serving: dict[str, list[str] | None] = {}
        self._rentals: defaultdict[tuple[str, str], list[Contract]] = defaultdict(list)
        self._records = Records()
        self._issued: defaultdict[Coupon, int] = defaultdict(int)
        self._issued_of_pool: defaultdict[Pool, int] = defaultdict(int)
        self._persons = Persons()
        self._firms = Firms()
        self._claims = Claims(self._balances, self._firms)
        self._summaries = Summaries()
        self._months = Months(self._balances, self._contracts)
        self._disputes = Disputes(self._records, self._contracts, self._months, self._firms)
        self._adders: dict[str, Callable[[int, dict[str, Any]], None]] = {
            "batch": self._batch,
            "summary": self._summary,
            "issue": self._issue,
            "allocation": self._allocation,
            "allotment": self._allotment,
            "withdrawal": self._withdrawal,
            "expiry": self._expiry,
            "year_closing": self._closing,
            "month_closing": self._months.closing,
            "month_list": self._months.listed,
            "access_digest": Accesses().digest,
            "month_confirmation": self._disputes.confirmation,
            "dispute": self._disputes.dispute,
            "dispute_dismissal": self._disputes.dismissal,
            "policy": self._policy,
            "budget": self._budget,
            "award": self._award,
            "award_change": self._award_change,
            "project": self._project,
            "project_audit": self._project_audit,
            "project_funds": self._project_funds,
            "provider": self._provider,
            "enlistment": self._enlistment,
            "enterprise": self._enterprise,
            "enterprise_amendment": self._enterprise_amendment,
            "succession": self._succession,
            "contract": self._contract,
            "contract_funds": self._contract_funds,
            "amendment": self._amendment,
        }
        self._stated: dict[Pool, int | None] = {}  # by the owners' policies
        self._budgets: dict[Pool, int] = {}
        self._closed: set[tuple[str, int]] = set()  # programme, year
        # Allotments that must follow: the allocation's number and fields, an enterprise and fen.
        self._allotments: list[tuple[int, dict[str, Any], str, int]] = []

    def entry(self, number: int, data: bytes) -> None:
        """Add the next entry, whose form the audit has checked."""
        if not is_of_record(data):
            self._other(number, msgspec.json.decode(data))
            return
        entry = read_of_record.decode(data)
        if entry.kind != "usage" and _REQUEST in data:  # by the authority
            fields = msgspec.json.decode(data)
            self._months.begin(number, entry.kind, fields["at"])
            self._persons.entry(number, fields)
        self._post(entry.postings)
        match entry.kind:
            case "usage":
                self._records.usage(number, entry)
            case "purchase":
                self._records.purchase(number, entry)
            case "void":
                self._records.void(number, entry)
                self._disputes.void(entry.provider, entry.id)
            case "release":
                self._records.release(number, entry)
            case unknown:
                assert_never(unknown)

    def _other(self, number: int, fields: dict[str, Any]) -> None:
        kind = fields["kind"]
        self._months.begin(number, kind, fields["at"])
        self._persons.entry(number, fields)
        self._post(fields["postings"])
        if self._allotments and kind != "allotment":
            raise Violation("sum_allocation", "issues of an allocation are missing", number)
        if kind in self._adders:
            self._adders[kind](number, fields)
        elif kind in _OF_CLAIMS:
            self._claims.entry(number, fields)
            if kind == "approval":
                self._check_approval(number, fields)
        elif kind not in _OF_NO_SUM:
            raise Violation("sum_kind", f"no sum knows what a {kind} entry adds", number)

    def finish(self) -> None:
        """Compare all totals with the balances; none of these may be left over."""
        if self._allotments:
            number = self._allotments[0][0]
            raise Violation("sum_allocation", "issues of an allocation are missing", number)
        self._months.finish()
        accounts = dict(self._balances)
        entitled: defaultdict[Coupon, int] = defaultdict(int)
        granted: defaultdict[Coupon, int] = defaultdict(int)
        owed: defaultdict[str, int] = defaultdict(int)
        for name, contract in self._contracts.items():
            owed[contract.fields["enterprise"]] += check_cost(name, contract, accounts)
            for year, of_year, given in check_grants(name, contract, accounts):
                coupon = (contract.fields["enterprise"], contract.fields["programme"], year)
                entitled[coupon] += of_year
                granted[coupon] += given
        for name, award in self._awards.items():
            account = f"accrued:{name}:{award.fields['year']}"
            agree("sum_award", f"award {name}", accounts.pop(account, 0), award.amount)
            entitled[_coupon_of(award.fields)] += award.amount
            granted[_coupon_of(award.fields)] += award.amount
        coupons = self._issued.keys() | entitled.keys()
        for coupon in sorted(coupons):
            check_coupon(coupon, self._issued[coupon], entitled[coupon], granted[coupon], accounts)
        for pool in self._stated:
            check_pool(pool, self._limit(pool), self._issued_of_pool[pool], accounts)
        self._claims.finish(accounts)
        for enterprise, cost in owed.items():
            held = accounts.pop(f"enterprise:{enterprise}", 0)
            agree("sum_enterprise", f"enterprise {enterprise}", held, -cost)
        for account, fen in accounts.items():
            agree("sum_account", f"account {account}, in no total", fen, 0)
        assert sum(self._balances.values()) == 0, "a posting takes what it gives"
        self.compared = len(self._contracts) + len(coupons) + len(self._stated) + len(owed)

    # Entries

    def _post(self, postings: Iterable[tuple[str, str, int]]) -> None:
        balances = self._balances
        for source, target, fen in postings:
            balances[source] -= fen
            balances[target] += fen

    def _batch(self, number: int, fields: dict[str, Any]) -> None:
        self._records.batch(number, fields["stream"])
        self._months.batch(fields)

    def _summary(self, number: int, fields: dict[str, Any]) -> None:
        provider = self._providers[fields["provider"]]
        self._summaries.entry(number, fields, provider, self._records)

    def _allocation(self, number: int, fields: dict[str, Any]) -> None:
        """Divide the pool, and expect an issue for each enterprise that gets anything."""
        programme, year, requests = fields["programme"], fields["year"], fields["requests"]
        rules = self._rules_of_year(number, programme, year)
        pool = rules.owner, year
        self._check_pool_of(number, rules, year)
        asked = [fen for _, fen in requests]
        allotted = _divide(asked, self._limit(pool) - self._issued_of_pool[pool])
        if fields["allotted"] != allotted or len({firm for firm, _ in requests}) < len(requests):
            detail = f"{fields['allotted']!r:.200} are allotted, not {allotted!r:.200}"
            raise Violation("sum_allocation", detail, number)
        if not rules.is_proportional:
            raise Violation("sum_allocation", f"{programme} {year} is not proportional", number)
        for (firm, _), fen in zip(requests, allotted, strict=True):
            codes = set(self._firms.members(firm))
            whole = sum(each for code, each in requests if code in codes)
            self._check_coupon_limits(number, {**fields, "enterprise": firm}, whole)
            if fen:
                self._allotments.append((number, fields, firm, fen))

    def _allotment(self, number: int, fields: dict[str, Any]) -> None:
        named = fields["allocation"]
        if not self._allotments:
            raise Violation("sum_allocation", f"no issue is left of entry {named}", number)
        allocation, whole, firm, fen = self._allotments.pop(0)
        ours = {"allocation": allocation, "enterprise": firm, "amount": fen}
        ours |= {name: whole[name] for name in ("programme", "year", "at", "by")}
        for name, value in ours.items():
            if fields[name] != value:
                detail = f"{name} is {fields[name]}, by the allocation {value}"
                raise Violation("sum_allocation", detail, number)
        self._add_issued(fields, fen)

    def _issue(self, number: int, fields: dict[str, Any]) -> None:
        if self._rules_of_year(number, fields["programme"], fields["year"]).is_proportional:
            raise Violation("sum_allocation", "a single issue, of a pool that is divided", number)
        self._check_coupon_limits(number, fields, fields["amount"])
        self._add_issued(fields, fields["amount"])
        rules = self._rules_of_year(number, fields["programme"], fields["year"])
        self._check_pool_of(number, rules, fields["year"])

    def _check_coupon_limits(self, number: int, fields: dict[str, Any], fen: int) -> None:
        """Check so much more of a coupon by the newest policy that touches its year."""
        enterprise, programme, year = coupon = _coupon_of(fields)
        rules = self._rules_of_year(number, programme, year)
        last = self._firms.last(enterprise)
        self._check_applicant(number, fields | {"enterprise": last}, rules, *_METERED)
        self._check_year_open(number, fields)
        rented = self._rented(coupon)
        if rented < rules.threshold:
            detail = f"{enterprise} rents for {rented} fen in {year}, {rules.threshold} are needed"
            raise Violation("sum_threshold", detail, number)
        what = f"issued for {programme} {year}"
        firm = self._firms.members(enterprise)
        held = fen + sum(self._issued[code, programme, year] for code in firm)
        if rules.cap is not None:
            stay_below("sum_cap", f"{what} to {enterprise}", held, rules.cap, number)
        need = sum(need_of(contract, year) for contract in self._contracts_of(coupon))
        stay_below("sum_need", f"{what} to {enterprise}", held, need, number)

    def _rules_of_year(self, number: int, programme: str, year: int) -> Rules:
        """Return the newest policy that touches a year."""
        touching = [rules for rules in self._policies[programme] if year in rules.years]
        if not touching:
            raise Violation("sum_policy", f"no policy of {programme} touches {year}", number)
        return touching[-1]

    def _check_pool_of(self, number: int, rules: Rules, year: int) -> None:
        pool = rules.owner, year
        if pool not in self._stated:
            raise Violation("sum_policy", f"no policy of {rules.owner} touches {year}", number)
        issued, what = self._issued_of_pool[pool], f"issued of the pool of {rules.owner} {year}"
        stay_below("sum_pool", what, issued, self._limit(pool), number)

    def _check_applicant(
        self, number: int, fields: dict[str, Any], rules: Rules, *meters: str
    ) -> None:
        uscc, programme = fields["enterprise"], fields["programme"]
        applicant = self._enterprises[uscc]["applicant"]
        if rules.meter not in meters or applicant not in rules.applicants:
            detail = f"an {applicant} under {programme}, by {rules.meter}"
            raise Violation("sum_applicant", detail, number)
        if any(self._serves(code, programme) for code in self._firms.members(uscc)):
            raise Violation("sum_role", f"{uscc} serves {programme}, and applies", number)

    def _serves(self, uscc: str, programme: str) -> bool:
        """Return whether an organisation provides what a programme funds."""
        if uscc not in self._serving:
            return False
        named = self._serving[uscc]
        if self._policies[programme][-1].meter == "device-time":
            return named is None
        return named is not None and programme in named

    def _enterprise(self, _number: int, fields: dict[str, Any]) -> None:
        self._enterprises[fields["uscc"]] = fields

    def _enterprise_amendment(self, _number: int, fields: dict[str, Any]) -> None:
        changes = {name: fields[name] for name in _OF_ENTERPRISE if name in fields}
        self._enterprises[fields["uscc"]] = self._enterprises[fields["uscc"]] | changes

    def _succession(self, number: int, fields: dict[str, Any]) -> None:
        self._firms.succeed(number, fields)
        self._check_no_applicant(number, fields["uscc"])

    def _provider(self, number: int, fields: dict[str, Any]) -> None:
        self._serving[fields["uscc"]] = fields.get("serves")
        self._check_no_applicant(number, fields["uscc"])
        provider = self._providers[fields["id"]] = Provider(uscc=fields["uscc"])
        if "serves" not in fields:
            _enlist(number, provider, fields)

    def _enlistment(self, number: int, fields: dict[str, Any]) -> None:
        _enlist(number, self._providers[fields["provider"]], fields)

    def _check_no_applicant(self, number: int, uscc: str) -> None:
        """Check that no code of a firm has applied for what another one serves."""
        firm = set(self._firms.members(uscc))
        programmes = {programme for enterprise, programme, _ in self._issued if enterprise in firm}
        programmes |= {programme for enterprise, programme in self._rentals if enterprise in firm}
        for each in programmes:
            if any(self._serves(code, each) for code in firm):
                raise Violation("sum_role", f"{uscc} applied under {each}, and serves it", number)

    def _award(self, number: int, fields: dict[str, Any]) -> None:
        self._firms.check_active(number, fields["enterprise"])
        rules = self._rules_of_year(number, fields["programme"], fields["year"])
        self._check_applicant(number, fields, rules, "award")
        if rules.version != fields["policy"]:
            raise Violation("sum_policy", f"{fields['policy']} is not the newest policy", number)
        enterprise = self._enterprises[fields["enterprise"]]
        founded, today = (
            date.fromisoformat(enterprise["founded_on"]),
            date.fromordinal(day_of(fields["at"])),
        )
        if rules.age is not None:
            starts, ends = (months_after(founded, months) for months in rules.age)
            if not starts <= today < ends:
                raise Violation("sum_applicant", f"{enterprise['uscc']} has not the age", number)
        derived = class_on(enterprise, today, rules) if rules.classes else None
        if fields.get("derived") != derived or ("class" in fields) == (derived is not None):
            raise Violation("sum_class", f"the class of award {fields['id']}", number)
        award = _Award(fields, derived or fields["class"])
        self._awards[fields["id"]] = award
        self._awarded[fields["enterprise"]].append(award)
        self._note_project(fields)
        if rules.claims is not None:
            self._claims.add_item(fields["id"], _award_item(award, rules, rules.claims))
        self._set_award(number, award, fields["amount"], fields["at"])

    def _award_change(self, number: int, fields: dict[str, Any]) -> None:
        award = self._awards[fields["award"]]
        self._set_award(number, award, fields["amount"], fields["at"])

    def _project_funds(self, _number: int, fields: dict[str, Any]) -> None:
        funds = self._funds[fields["project"]]
        funds[fields["reference"]] = fields["level"], fields["amount"]

    def _project(self, _number: int, fields: dict[str, Any]) -> None:
        if "audited_investment" in fields:
            self._audited[fields["id"]] = fields["audited_investment"]

    def _project_audit(self, _number: int, fields: dict[str, Any]) -> None:
        self._audited[fields["project"]] = fields["amount"]

    def _set_award(self, number: int, award: _Award, amount: int, at: int) -> None:
        """Give an award its amount; where that grows, all limits must hold."""
        fields, growth = award.fields, amount - award.amount
        self._add_issued(fields, growth)
        if growth > 0:
            self._check_year_open(number, fields | {"at": at})
            rules = self._rules_of_year(number, award.programme, fields["year"])
            for what, limit in self._limits_of(award, rules):
                stay_below("sum_award", f"award {fields['id']}, {what}", amount, limit, number)
            self._check_project(number, award, amount)
            self._check_pool_of(number, rules, fields["year"])
            self._check_stacking(number, award, rules)
        award.amount = amount

    def _limits_of(self, award: _Award, rules: Rules) -> Iterator[tuple[str, int]]:
        """Yield what limits an award: its class, and what the others of its caps leave."""
        section, fields = rules.sections[award.name], award.fields
        funds = 0
        if rules.combined is not None:
            funds = sum(fen for _, fen in self._funds[fields["project"]].values())
        if "ratio" in section:
            yield "its ratio", floor(Fraction(section["ratio"], 10_000) * fields["base"]) - funds
        if "fixed" in section:
            yield "its fixed sum", yuan(section["fixed"]) - funds
        others = [each for each in self._sharing_caps(award, rules) if each.amount]
        if rules.once and others:
            yield "the only one", 0
        if "cap" in section:
            of_class = sum(each.amount for each in others if each.name == award.name)
            yield "the cap of its class", yuan(section["cap"]) - of_class - funds
        if rules.cap is not None:
            yield "the cap", rules.cap - sum(each.amount for each in others) - funds

    def _sharing_caps(self, award: _Award, rules: Rules) -> Iterator[_Award]:
        """Yield the other awards that count under the caps of this one."""
        fields = award.fields
        if rules.per == "project":
            names = self._of_project[fields["project"]]
            found = [self._awards[name] for name in names if name in self._awards]
        else:
            codes = self._firms.members(fields["enterprise"])
            found = [each for code in codes for each in self._awarded.get(code, ())]
        for each in found:
            is_counted = rules.per != "applicant-year" or each.fields["year"] == fields["year"]
            if is_counted and each.programme == award.programme and each is not award:
                yield each

    def _note_project(self, fields: dict[str, Any]) -> None:
        if "project" in fields:
            self._of_project[fields["project"]].append(fields["id"])

    def _check_project(self, number: int, award: _Award, amount: int) -> None:
        """Check the ceiling of a project that the nation or the province funds too."""
        project = award.fields.get("project")
        if project not in self._audited:
            return
        by_level: defaultdict[str, int] = defaultdict(int)
        for level, fen in self._funds[project].values():
            by_level[level] += fen
        if by_level["national"] + by_level["provincial"]:
            names = (name for name in self._of_project[project] if name in self._awards)
            ours = (self._awards[name] for name in names)
            given = amount + sum(each.amount for each in ours if each is not award)
            local = given + by_level["municipal"] + by_level["district"]
            what = f"city and districts for project {project}"
            stay_below("sum_project", what, local, self._audited[project], number)

    def _check_approval(self, number: int, fields: dict[str, Any]) -> None:
        """Check who is paid by an approval, and the project that it is for."""
        item, year = self._claims.item_year_of(fields["claim"])
        self._disputes.approval(number, item, year)
        held = self._awards.get(item) or self._contracts[item]
        programme, project = held.fields["programme"], held.fields.get("project")
        applicant = self._enterprises[self._firms.last(held.fields["enterprise"])]["applicant"]
        if applicant not in self._rules_of_year(number, programme, year).applicants:
            raise Violation("sum_applicant", f"an {applicant} is paid by {programme}", number)
        if project is None:
            return
        claimed: defaultdict[str, int] = defaultdict(int)  # by programme
        for name in self._of_project[project]:
            claimed[self._programme_of(name)] += self._claims.claimed(name)
        group = self._policies[programme][-1].group
        for each, fen in claimed.items():
            if fen and each != programme and self._policies[each][-1].group == group:
                detail = f"{each} and {programme} are paid for project {project}"
                raise Violation("sum_project", detail, number)
        self._check_claims_ceiling(number, fields, project, sum(claimed.values()))

    def _check_claims_ceiling(
        self, number: int, fields: dict[str, Any], project: str, claimed: int
    ) -> None:
        """Check that city and districts give no more than is invested; `claimed` has this claim."""
        funds = list(self._funds[project].values())
        above = sum(fen for level, fen in funds if level in ("national", "provincial"))
        local = sum(fen for _, fen in funds) - above
        if not above or not fields["amount"]:
            return
        if project not in self._audited:
            raise Violation("sum_project", f"project {project} is not audited", number)
        what = f"city and districts for project {project}"
        stay_below("sum_project", what, claimed + local, self._audited[project], number)
        ours = self._audited[project], local, claimed - fields["amount"]
        stated = tuple(fields.get(name) for name in ("audited", "local", "project_claimed"))
        if stated != ours:
            raise Violation("sum_project", f"{stated} are stated, not {ours}", number)

    def _check_stacking(self, number: int, award: _Award, rules: Rules) -> None:
        project = award.fields.get("project")
        for name in () if project is None else self._of_project[project]:
            other = self._awards.get(name)
            if other is None or other.programme == award.programme or not other.amount:
                continue
            if self._policies[other.programme][-1].group == rules.group:
                detail = f"{other.programme} and {award.programme} fund project {project}"
                raise Violation("sum_award", detail, number)

    def _withdrawal(self, _number: int, fields: dict[str, Any]) -> None:
        self._add_issued(fields, -fields["amount"])

    def _expiry(self, number: int, fields: dict[str, Any]) -> None:
        programme, year = fields["programme"], fields["year"]
        self._check_year_over(number, fields)
        amount = 0
        for source, _, fen in fields["postings"]:
            kind, *name = source.split(":")
            if kind != "coupon":
                continue
            coupon = name[2], name[0], int(name[1])
            if coupon[1:] != (programme, year) or self._balances[source]:
                raise Violation("sum_year", f"of {source} not all expires", number)
            self._add_issued(fields | {"enterprise": coupon[0]}, -fen)
            amount += fen
        if amount != fields["amount"]:
            raise Violation("sum_year", f"{amount} fen expire, not {fields['amount']}", number)

    def _closing(self, number: int, fields: dict[str, Any]) -> None:
        name = fields["programme"], fields["year"]
        self._check_year_over(number, fields)
        for coupon in self._issued:
            if coupon[1:] == name and self._balances["coupon:{1}:{2}:{0}".format(*coupon)]:
                raise Violation("sum_year", f"the coupon of {coupon[0]} has a rest", number)
        open_ = self._claims.open_items(fields["year"])
        if any(self._programme_of(item) == fields["programme"] for item in open_):
            raise Violation("sum_year", f"a claim is open, and {name} is closed", number)
        if name in self._closed:
            raise Violation("sum_year", f"{name} is closed twice", number)
        self._closed.add(name)

    def _programme_of(self, item: str) -> str:
        held = self._awards.get(item) or self._contracts[item]
        programme: str = held.fields["programme"]
        return programme

    def _check_year_open(self, number: int, fields: dict[str, Any]) -> None:
        name = programme, year = fields["programme"], fields["year"]
        ends = self._claims_end(programme, year)
        if name in self._closed or (ends is not None and day_of(fields["at"]) >= ends):
            raise Violation("sum_year", f"an issue for {programme} {year}, which is over", number)

    def _check_year_over(self, number: int, fields: dict[str, Any]) -> None:
        programme, year = fields["programme"], fields["year"]
        ends = self._claims_end(programme, year)
        if ends is None or day_of(fields["at"]) < ends:
            raise Violation("sum_year", f"claims for {programme} {year} are open", number)

    def _claims_end(self, programme: str, year: int) -> int | None:
        """Return the day after the last on which a claim for a year can be made."""
        touching = (rules for rules in self._policies[programme] if year in rules.years)
        months = [int(each.claims.get("months", 6)) for each in touching if each.claims is not None]
        if not months:
            return None
        return months_after(date(year + 1, 1, 1), max(months)).toordinal()

    def _add_issued(self, fields: dict[str, Any], fen: int) -> None:
        self._issued[_coupon_of(fields)] += fen
        owner = self._policies[fields["programme"]][-1].owner
        self._issued_of_pool[owner, fields["year"]] += fen

    def _rented(self, coupon: Coupon) -> int:
        """Return the full amounts of the contracts with an eligible day in the coupon's year."""
        return sum(contract.fields["amount"] for contract in self._contracts_of(coupon))

    def _contracts_of(self, coupon: Coupon) -> Iterator[Contract]:
        """Yield the contracts of a coupon's firm with an eligible day in its year."""
        enterprise, programme, year = coupon
        for code in self._firms.members(enterprise):
            for contract in self._rentals[code, programme]:
                if any(year in years_of(days) for days, _ in contract.counting()):
                    yield contract

    def _policy(self, number: int, fields: dict[str, Any]) -> None:
        rules = read_rules(fields["content"])
        versions = self._policies[programme := fields["programme"]]
        if versions and versions[-1].owner != rules.owner:
            raise Violation("sum_policy", f"the pool of {programme} has another owner", number)
        versions.append(rules)
        if rules.takes is not None:
            self._take(number, programme, fields["at"], rules.takes)
        if rules.owner == programme:
            for year in rules.years:
                self._stated[programme, year] = rules.pool

    def _take(self, number: int, programme: str, at: int, day: int) -> None:
        """Give running contracts the rules of a new version, on a day that has no usage yet."""
        if day <= day_of(at):
            raise Violation(
                "sum_policy", f"{programme} takes contracts from a day on before", number
            )
        for contract in self._contracts.values():
            if contract.fields["programme"] == programme:
                self._set_versions(contract)
                if any(
                    each >= day and times[0]
                    for meter in contract.meters
                    for each, times in meter.used.items()
                ):
                    detail = f"contract {contract.fields['id']} is taken, and has usage since then"
                    raise Violation("sum_policy", detail, number)

    def _set_versions(self, contract: Contract) -> None:
        fields, rules = contract.fields, contract.rules
        contract.versions = versions_of(rules, self._policies[fields["programme"]])
        if rules.claims is not None:
            self._claims.add_item(fields["id"], self._item(contract, rules.claims))
        for meter in contract.meters:
            meter.days.clear()

    def _budget(self, number: int, fields: dict[str, Any]) -> None:
        programme, year, amount = fields["programme"], fields["year"], fields["amount"]
        pool = programme, year
        if pool not in self._stated:
            raise Violation("sum_budget", f"{programme} owns no pool of {year}", number)
        what, stated = f"budget of {programme} {year}", self._stated[pool]
        if stated is not None:
            stay_below("sum_budget", what, amount, stated, number)
        issued = self._issued_of_pool[pool]
        stay_below("sum_budget", f"issued above the {what}", issued, amount, number)
        self._budgets[pool] = amount

    def _limit(self, pool: Pool) -> int:
        """Return the most that a pool may issue: what is stated and the budget, where present."""
        limits = [fen for fen in (self._stated[pool], self._budgets.get(pool)) if fen is not None]
        return min(limits, default=0)

    def _contract(self, number: int, fields: dict[str, Any]) -> None:
        self._firms.check_active(number, fields["enterprise"])
        terms, rules = Terms(fields), self._check_derived(number, fields)
        if not self._serves(self._providers[fields["provider"]].uscc, fields["programme"]):
            detail = f"{fields['provider']} does not serve {fields['programme']}"
            raise Violation("sum_role", detail, number)
        self._check_number(number, fields)
        activated = len(self._policies[fields["programme"]])
        contract = Contract(terms, terms.whole, rules, [], activated)
        self._contracts[fields["id"]] = contract
        self._note_project(fields)
        self._rentals[fields["enterprise"], fields["programme"]].append(contract)
        self._set_terms(number, contract, terms, rules)
        self._check_years(number, contract)

    def _amendment(self, number: int, fields: dict[str, Any]) -> None:
        contract = self._contracts[fields["contract"]]
        terms, rules = contract.terms.amend(fields), contract.rules
        if fields["mode"] == "correction":
            rules = self._check_derived(number, terms.original, contract.activated)
        _check_kept(number, terms, fields)
        _check_additions(number, self._enterprises, contract.terms, terms, rules)
        if (name := _name_of_parties(contract.fields)) != _name_of_parties(terms.original):
            self._contract_nos.discard(name)
            self._check_number(number, terms.original)
        self._move(number, contract, terms.original["enterprise"])
        was, entitled = contract.parts(), entitlement_of(contract)
        self._set_terms(number, contract, terms, rules)
        self._check_years(number, contract)
        _check_amended(number, contract, fields, was, entitled)

    def _check_years(self, number: int, contract: Contract) -> None:
        """Check how many years a term touches, and how many contracts of its firm each of them."""
        fields, years = contract.fields, years_of(days_of(contract.fields))
        if len(years) > _MOST_YEARS:
            detail = f"the term of {fields['id']} touches {len(years)} years"
            raise Violation("sum_contract", detail, number)
        codes = self._firms.members(fields["enterprise"])
        rentals = [self._rentals.get((code, fields["programme"]), []) for code in codes]
        terms = [years_of(days_of(each.fields)) for held in rentals for each in held]
        for year in years:
            if (count := sum(year in each for each in terms)) > _MOST_CONTRACTS:
                detail = f"{count} contracts of the firm of {fields['id']} touch {year}"
                raise Violation("sum_contract", detail, number)

    def _check_derived(
        self, number: int, fields: dict[str, Any], activated: int | None = None
    ) -> Rules:
        """Check policy and class of a contract by its dates, and that its firm may have it.

        A correction looks at the versions of its registration alone.
        """
        rules = rules_of(fields, self._policies[fields["programme"]][:activated])
        if rules is None or rules.version != fields["policy"]:
            ours = "no policy" if rules is None else rules.version
            detail = f"contract {fields['id']} has {fields['policy']}, by its dates {ours}"
            raise Violation("sum_policy", detail, number)
        self._check_applicant(number, fields, rules, *_METERED)
        signed_on = date.fromisoformat(fields["signed_on"])
        ratio_class = class_on(self._enterprises[fields["enterprise"]], signed_on, rules)
        if fields["class"] != ratio_class:
            detail = f"contract {fields['id']} is {fields['class']}, by its dates {ratio_class}"
            raise Violation("sum_class", detail, number)
        return rules

    def _move(self, number: int, contract: Contract, enterprise: str) -> None:
        """Give a contract to another enterprise, unless a claim for it is open or paid."""
        fields = contract.fields
        if fields["enterprise"] == enterprise:
            return
        self._firms.check_active(number, enterprise)
        self._claims.check_unclaimed(number, fields["id"])
        self._rentals[fields["enterprise"], fields["programme"]].remove(contract)
        self._rentals[enterprise, fields["programme"]].append(contract)

    def _set_terms(self, number: int, contract: Contract, terms: Terms, rules: Rules) -> None:
        """Give a contract its terms; a kind that is limited now is counted from then on."""
        whole = terms.whole
        contract.terms, contract.fields, contract.rules = terms, whole, rules
        kinds = {""} if rules.meter == "purchase" else terms.kinds("prices")
        for device in sorted(kinds):
            if not self._records.has_meter(whole["id"], device):
                provider = self._providers[whole["provider"]]
                self._records.add_meter(contract, device, provider)
        limited = terms.kinds("max_devices")
        for meter in contract.meters:
            if meter.limited is None and meter.device in limited:
                meter.limited = number
        self._set_versions(contract)
        contract.work = contract.priced()

    def _check_number(self, number: int, fields: dict[str, Any]) -> None:
        """Check the number that the parties gave, and the contract that this one follows."""
        name = _name_of_parties(fields)
        firm = self._firms.members(fields["enterprise"])
        if any((code, *name[1:]) in self._contract_nos for code in firm):
            raise Violation("sum_contract", f"number {name[2]} is that of two contracts", number)
        if "follows" in fields and fields["follows"] not in self._contracts:
            raise Violation("sum_contract", f"{fields['id']} follows no contract", number)
        self._contract_nos.add(name)

    def _contract_funds(self, _number: int, fields: dict[str, Any]) -> None:
        contract = self._contracts[fields["contract"]]
        contract.funds[fields["reference"]] = fields["amount"]
        contract.add_stated(fields["entitled"])

    def _item(self, contract: Contract, claims: dict[str, Any]) -> Item:
        fields = contract.fields
        return Item(
            enterprise=fields["enterprise"],
            programme=fields["programme"],
            seller=self._providers[fields["provider"]].uscc,
            ratio=contract.ratio_of,
            rules=claims,
        )


def _award_item(award: _Award, rules: Rules, claims: dict[str, Any]) -> Item:
    ratio = Fraction(rules.sections[award.name].get("ratio", 10_000), 10_000)
    return Item(
        enterprise=award.fields["enterprise"],
        programme=award.programme,
        seller=None,
        ratio=lambda _year: ratio,
        rules=claims,
    )


def _enlist(number: int, provider: Provider, fields: dict[str, Any]) -> None:
    """Add a provider's devices; a known enlistment can only get another end."""
    devices, days = fields["devices"], days_of(fields["enlisted"])
    name = fields["enlisted"]["batch"]
    known_devices, known_days = provider.batches.get(name, (devices, days))
    if (known_devices, known_days.start) != (devices, days.start):
        raise Violation("sum_enlistment", f"enlistment {name} has other devices or days", number)
    provider.enlist(name, devices, days)


def _check_kept(number: int, terms: Terms, fields: dict[str, Any]) -> None:
    """Check that a supplement keeps policy and class; a correction derives them again."""
    original = terms.original
    if (fields["policy"], fields["class"]) != (original["policy"], original["class"]):
        raise Violation("sum_class", f"a supplement gives {original['id']} a class", number)


def _check_additions(
    number: int, enterprises: dict[str, dict[str, Any]], was: Terms, terms: Terms, rules: Rules
) -> None:
    """Check that a startup no more adds nothing as one.

    What is added already was checked then, unless it is added to another class now.
    """
    original = terms.original
    if original["class"] == rules.classes["standard"]:
        return
    derived = ("enterprise", "policy", "class")
    is_same = all(original[name] == was.original[name] for name in derived)
    known = was.additions() if is_same else []
    for each in terms.additions():
        day = date.fromisoformat(each[1]["signed_on"])
        startup = class_on(enterprises[original["enterprise"]], day, rules) == original["class"]
        if not startup and each not in known:
            raise Violation("sum_class", f"{original['id']} is added to on {day}", number)


def _check_amended(
    number: int,
    contract: Contract,
    fields: dict[str, Any],
    was: Work,
    entitled: dict[int, int],
) -> None:
    """Compare what an amendment states with the contract's sums before and after it."""
    before, after = costs_of(0, was), costs_of(0, contract.parts())
    changes = {part: after[part] - before[part] for part in after}
    name, cost = contract.fields["id"], sum(changes.values())
    agree("sum_cost", f"change by the amendment of {name}", fields["cost"], cost, number)
    withheld = changes.pop("withheld")
    stated = fields.get("withheld_cost", 0)
    agree("sum_withheld", f"change by the amendment of {name}", stated, withheld, number)
    del changes["eligible"]
    ineligible = [[reason, fen] for reason, fen in changes.items() if fen]
    if fields.get("ineligible", []) != ineligible:
        detail = f"{fields.get('ineligible', [])} is stated as ineligible, not {ineligible}"
        raise Violation("sum_ineligible", f"amendment of {name}: {detail} (fen)", number)
    now = entitlement_of(contract)
    years = sorted(entitled.keys() | now.keys())
    grown = [[year, now.get(year, 0) - entitled.get(year, 0)] for year in years]
    ours = [each for each in grown if each[1]]
    if fields["entitled"] != ours:
        detail = f"{fields['entitled']} is stated, not {ours}"
        raise Violation("sum_entitled", f"amendment of {name}: {detail} (year, fen)", number)
    contract.stated_cost += fields["cost"]
    contract.add_stated(fields["entitled"])


def _name_of_parties(fields: dict[str, Any]) -> tuple[str, str, str]:
    return fields["enterprise"], fields["provider"], fields["contract_no"]


def _divide(asked: list[int], left: int) -> list[int]:
    """Return what each gets of a sum: all, or its share cut to the fen, and a fen by remainder."""
    if sum(asked) <= left:
        return asked
    shares = [Fraction(fen * left, sum(asked)) for fen in asked]
    given = [floor(share) for share in shares]
    for place in sorted(range(len(asked)), key=lambda each: (given[each] - shares[each], each)):
        if sum(given) == left:
            break
        given[place] += 1
    return given


def _coupon_of(fields: dict[str, Any]) -> Coupon:
    return fields["enterprise"], fields["programme"], fields["year"]
