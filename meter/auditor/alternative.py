"""What other policies would have paid: a verified log is replayed once more, in memory.

Facts stay: device-time, what of it fitted, the papers of claims. What follows from a policy is made
anew: versions, classes, limits, entitlements, grants. Each command about money is decided again on
the state that has come about so. A sum that is too large is cut to the most that is allowed, and a
command that is refused whatever its sum is left out; both are listed. Under the ledger's own files
nothing differs.

A file of a version that the ledger knows takes its place. Another one is activated when it begins
to hold: at `effective` of its section `[transition]`, else when its validity begins.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ledger.errors import CannotCheck
from ledger.progress import Progress
from ledger.tlog import Tree
from meter.auditor.replay import Audit
from meter.rules.commands import (
    AllocatePool,
    ApproveClaim,
    ChangeAward,
    Command,
    ForfeitGrant,
    IssueCoupon,
    MakeAward,
    RecoverDebt,
    WithdrawCoupon,
    fields_of,
)
from meter.rules.decide_command import entries_following
from meter.rules.effects import (
    accept,
    accepted_effect,
    apply_usage_effect,
    note_release,
    note_void,
    release_effect,
    void_effect,
)
from meter.rules.entries import (
    AcceptedEntry,
    AnyEntry,
    AuthorityEntry,
    AwardEntry,
    BudgetSet,
    ClaimEntry,
    ContractEntry,
    ContractFunded,
    CouponAllotted,
    CouponEntry,
    CouponsExpired,
    PolicyActivated,
    PoolAllocated,
    ProjectEntry,
    PurchaseAccepted,
    RecordReleased,
    RecordVoided,
    UsageAccepted,
    YearClosed,
)
from meter.rules.evolve import evolve
from meter.rules.items import grounds_of, known_item
from meter.rules.kinds.kind import Existing, Judged, Stamp
from meter.rules.kinds.table import BY_ENTRY, command_of, read_entry
from meter.rules.measure import Measured, meter_of, usage_of
from meter.rules.purchases import purchase_effect
from meter.rules.state import AcceptedRecord, State
from meter.values.policy import Policy
from meter.values.problems import Problem
from meter.values.strict import Fen
from meter.values.units import MICROSECONDS, day_of
from meter.wire.batch import MAX_AHEAD_SECONDS

# What is decided again; all else about parties, persons and keys is as it was.
_DECIDED: Final = (
    BudgetSet
    | ContractEntry
    | ContractFunded
    | CouponEntry
    | CouponsExpired
    | YearClosed
    | PoolAllocated
    | AwardEntry
    | ProjectEntry
    | ClaimEntry
)
# The commands whose sum can be cut.
_Sum = (
    IssueCoupon
    | WithdrawCoupon
    | MakeAward
    | ChangeAward
    | ApproveClaim
    | RecoverDebt
    | ForfeitGrant
)

_Place = tuple[int, str, str, str]  # year, programme, enterprise, item
_Figures = dict[_Place, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Cut:
    """A command that was decided otherwise: fen asked and allowed, None where it names no sum.

    Of an allocation it is the request of an `enterprise`.
    """

    entry: int
    kind: str
    code: str
    asked: int | None
    allowed: int | None
    enterprise: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure in fen by year, programme, firm and item; `issued` is that of no item."""

    year: int
    programme: str
    enterprise: str
    item: str
    figure: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All figures of both ledgers, in order, and the commands that were decided otherwise."""

    figures: list[Difference]
    cuts: list[Cut]


class Recorder(Audit):
    """An audit that keeps the entries."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.entries: list[AnyEntry] = []

    def entry(
        self,
        number: int,
        data: bytes,
        fields: dict[str, Any] | None,
        attachments: list[bytes],
        tree: Tree,
    ) -> None:
        """Judge the next entry, and keep it."""
        super().entry(number, data, fields, attachments, tree)
        entry = read_entry(msgspec.json.decode(data) if fields is None else fields)
        if isinstance(entry, AcceptedEntry):
            entry = self.state.records[entry.provider, entry.id].usage  # it is held there anyway
        self.entries.append(entry)


def compare(audit: Recorder, texts: Iterable[str], progress: Progress) -> Outcome:
    """Return what a verified ledger would have paid under the policies of some files.

    Raises `CannotCheck` for a file that the ledger could not have activated.
    """
    other = _Alternative(audit, texts)
    for number, entry in enumerate(audit.entries):
        other.take(number, entry)
        progress(number + 1, len(audit.entries))
    before, after = _figures_of(audit.state), _figures_of(other.state)
    return Outcome(list(_differences(before, after)), other.cuts)


class _Alternative:
    """The ledger as other policies would have made it."""

    def __init__(self, audit: Recorder, texts: Iterable[str]) -> None:
        self.state = State()
        self.cuts: list[Cut] = []
        self._facts = audit.state
        self._files = dict(_read(audit.state, text) for text in texts)
        known = audit.state.policy_entries
        self._new = [policy for name, (policy, _) in self._files.items() if name not in known]

    def take(self, number: int, entry: AnyEntry) -> None:
        """Apply the next entry, as it would have been made."""
        self.state.size = number
        for policy in [each for each in self._new if _begins(each) <= entry.at]:
            self._activate_new(policy)
        match entry:
            case UsageAccepted():
                self._accept(number, entry)
            case PurchaseAccepted():
                self._buy(number, entry)
            case RecordVoided() | RecordReleased():
                self._change_record(number, entry)
            case PolicyActivated():
                self._activate(entry)
            case CouponAllotted():
                pass  # it followed from its allocation, as decided here
            case _ if isinstance(entry, _DECIDED):
                self._decide(number, entry)
            case _:
                evolve(self.state, entry)
        self.state.size = number + 1
        self.state.last_at = entry.at

    def _accept(self, number: int, entry: UsageAccepted) -> None:
        """Apply a record: what of it fitted and what was withheld are facts."""
        contract = self.state.contracts.get(entry.contract)
        first_day = day_of(entry.start // MICROSECONDS)
        if contract is None or not contract.has_price(entry.device, first_day):
            return  # the contract was refused, or the amendment that named the price
        withheld = self._facts.records[entry.provider, entry.id].withheld
        record = AcceptedRecord(number, entry, entry.fits, withheld)
        measured = Measured(usage_of(record), record.fits, withheld)
        meter = meter_of(self.state, contract, entry.device)
        accept(self.state, record, accepted_effect(self.state, contract, meter, measured))

    def _buy(self, number: int, entry: PurchaseAccepted) -> None:
        """Apply a purchase: the days on which it counts are facts."""
        contract = self.state.contracts.get(entry.contract)
        if contract is None:  # it was refused
            return
        measured, effect = purchase_effect(self.state, contract, entry, by_days=entry.by_days)
        accept(self.state, AcceptedRecord(number, entry, measured.fits), effect)

    def _change_record(self, number: int, entry: RecordVoided | RecordReleased) -> None:
        record = self.state.records.get((entry.provider, entry.id))
        if record is None:  # of a contract that was refused
            return
        if isinstance(entry, RecordVoided):
            apply_usage_effect(self.state, void_effect(self.state, record), record.stream)
            note_void(self.state, record, number)
        else:
            effect = release_effect(self.state, record)
            apply_usage_effect(self.state, effect, record.stream)
            note_release(record, number, effect)

    def _activate(self, entry: PolicyActivated) -> None:
        """Put a version in force by the text of its file, or else by its own."""
        name = entry.programme, entry.version
        if name in self._files:
            entry = replace(entry, content=self._files[name][1])
        try:
            judged = _judge(self.state, command_of(entry), entry)
        except Problem as problem:
            told = f"{entry.programme} {entry.version}: {problem.code}: {problem.detail}"
            raise CannotCheck(told) from None
        self._check_taking(Policy.parse(entry.content))
        self._apply(entry, judged)

    def _check_taking(self, policy: Policy) -> None:
        """Raise `CannotCheck` where a version takes contracts from a day on that has usage.

        The ledger's own versions may have booked services ahead, whatever the files say.
        """
        if policy.takes_from is None:
            return
        first, contracts = day_of(policy.takes_from), self.state.contracts
        for name, days in self.state.touched.usage.items():
            if contracts[name].registered.programme != policy.programme:
                continue
            if any(day >= first and usage[0] for (day, _, _), usage in days.items()):
                told = f"{policy.programme} {policy.version}: contract {name} has usage since then"
                raise CannotCheck(told)

    def _activate_new(self, policy: Policy) -> None:
        """Put a version in force that the ledger does not know, beside one that it knows."""
        if policy.programme not in self.state.active:
            return  # with the programme's first version it will be
        self._new.remove(policy)
        older = self.state.active[policy.programme]
        _, entry = self.state.policy_entries[policy.programme, older.version]
        at = min(self.state.last_at, _begins(policy) - 1)
        self._activate(replace(entry, version=policy.version, at=at))

    def _decide(self, number: int, entry: AuthorityEntry) -> None:
        """Decide a command again; where a sum is too large, for the most that is allowed."""
        command = command_of(entry)
        try:
            judged = _judge(self.state, command, entry)
        except Problem as problem:
            sums = self._cut(number, command, entry, problem.code)
            if not sums:
                return
            command = replace(command, **sums)
            plain = fields_of(command)
            entry = replace(entry, **{name: plain[name] for name in sums})
            judged = _judge(self.state, command, entry)
        self._apply(entry, judged)

    def _cut(
        self, number: int, command: Command, entry: AuthorityEntry, code: str
    ) -> dict[str, Any]:
        """List a refused command, and return its field of sums as allowed; none where all are 0."""
        if isinstance(command, AllocatePool):
            requests = list(self._cut_requests(number, command, entry))
            return {"requests": requests} if requests else {}
        if not isinstance(command, _Sum):
            self.cuts.append(Cut(number, entry.kind, code, None, None))
            return {}
        asked = int(command.amount)
        allowed, _ = self._most_allowed(entry, asked, partial(_with_amount, command))
        self.cuts.append(Cut(number, entry.kind, code, asked, allowed))
        return {"amount": Fen(allowed)} if allowed else {}

    def _cut_requests(
        self, number: int, command: AllocatePool, entry: AuthorityEntry
    ) -> Iterator[tuple[str, Fen]]:
        """Yield the requests as allowed; what the codes of a firm share goes to its first ones."""
        of_firms: defaultdict[str, list[tuple[str, Fen]]] = defaultdict(list)
        for enterprise, fen in command.requests:
            of_firm = of_firms[self.state.last_successor(enterprise)]
            asking = partial(_with_request, command, of_firm, enterprise)
            allowed, code = self._most_allowed(entry, int(fen), asking)
            if code:
                self.cuts.append(Cut(number, entry.kind, code, int(fen), allowed, enterprise))
            if allowed:
                of_firm.append((enterprise, Fen(allowed)))
                yield of_firm[-1]

    def _most_allowed(
        self, entry: AuthorityEntry, asked: int, of_sum: Callable[[int], Command]
    ) -> tuple[int, str]:
        """Return the largest sum that is not refused, 0 if each is, and why all is, if it is.

        Where a sum is allowed, each smaller one is.
        """
        code = self._refusal(of_sum(asked), entry)
        if not code:
            return asked, code
        allowed, refused = 0, asked
        while refused - allowed > 1:
            tried = (allowed + refused) // 2
            if self._refusal(of_sum(tried), entry):
                refused = tried
            else:
                allowed = tried
        return allowed, code

    def _refusal(self, command: Command, entry: AuthorityEntry) -> str:
        """Return the code by which a command is refused, or an empty text."""
        try:
            _judge(self.state, command, entry)
        except Problem as problem:
            return problem.code
        return ""

    def _apply(self, entry: AuthorityEntry, judged: Judged) -> None:
        if not isinstance(judged, Existing):
            fields, postings = judged
            number, made = self.state.size, replace(entry, **fields, postings=postings)
            evolve(self.state, made)
            for each in entries_following(self.state, number, made):
                evolve(self.state, each)


def _read(state: State, text: str) -> tuple[tuple[str, str], tuple[Policy, str]]:
    """Return a file's policy and text by programme and version. Raises `CannotCheck`."""
    try:
        policy = Policy.parse(text)
    except Problem as problem:
        raise CannotCheck(f"{problem.code}: {problem.detail}") from None
    if policy.programme not in state.active:
        raise CannotCheck(f"the ledger has no policy of {policy.programme}")
    return (policy.programme, policy.version), (policy, text)


def _begins(policy: Policy) -> int:
    """Return when a version begins to hold, in microseconds; it takes contracts soon after."""
    if policy.takes_from is None:
        return policy.valid_from * MICROSECONDS
    return (policy.takes_from - MAX_AHEAD_SECONDS) * MICROSECONDS


def _judge(state: State, command: Command, entry: AuthorityEntry) -> Judged:
    stamp = Stamp(entry.at, entry.by, entry.request, entry.salt)
    judge = BY_ENTRY[type(entry)].judge
    assert judge is not None, "a command made the entry"
    judged: Judged = judge(state, command, stamp)
    return judged


def _with_amount(command: Any, fen: int) -> Command:
    asking: Command = replace(command, amount=Fen(fen))
    return asking


def _with_request(
    command: AllocatePool, others: list[tuple[str, Fen]], enterprise: str, fen: int
) -> Command:
    return replace(command, requests=[*others, (enterprise, Fen(fen))])


def _differences(before: _Figures, after: _Figures) -> Iterator[Difference]:
    for place in sorted(before.keys() | after.keys()):
        ours, theirs = before.get(place, {}), after.get(place, {})
        for figure in ours or theirs:
            yield Difference(*place, figure, ours.get(figure, 0), theirs.get(figure, 0))


def _figures_of(state: State) -> _Figures:
    """Return the sums of each coupon, and of each item in each year, in fen."""
    figures: _Figures = {
        (year, programme, enterprise, ""): {"issued": fen}
        for (enterprise, programme, year), fen in state.coupons.items()
    }
    for name, contract in state.contracts.items():
        terms = contract.agreed
        for year, share in contract.shares.items():
            place = year, terms.programme, terms.enterprise, name
            figures[place] = _of_item(state, name, year, share.entitled, share.granted)
    for name, award in state.awards.items():
        place = award.made.year, award.made.programme, award.made.enterprise, name
        figures[place] = _of_item(state, name, award.made.year, award.amount, award.amount)
    return figures


def _of_item(state: State, name: str, year: int, entitled: int, granted: int) -> dict[str, int]:
    claimed = state.claims.account((name, year)).claimed
    return {
        "entitled": entitled,
        "granted": granted,
        "uncovered": entitled - granted,
        "approved": claimed,
        "payable": max(0, _limit(state, name, year) - claimed),
    }


def _limit(state: State, name: str, year: int) -> int:
    """Return the most that may be paid for an item in a year, in fen; 0 where nothing can be."""
    try:
        return grounds_of(state, known_item(state, name), year).limit
    except Problem:
        return 0
