"""The deciding of plain records by groups, as bytes.

Records of a batch with the same contract, device kind, start and end are a *group*. Most batches
have few groups, and most groups are *plain*: each of their records is accepted, has room, counts
whole, and no limit of its contract binds before the batch ends (`is_plain`). What the rules look at
is then the same for all records of a group and is looked at once. Only sums run from record to
record: cost, entitlement, grant. Entries and results are written from the texts of their group:

    {"at":…,"batch":…,"by":…,"contract":"A","cost":  28800  ,"device":…,"end":…,"entitled":[  …

`meter/rules/decide.py` is the reference: what is not plain is judged there, at its place in the
batch, and the same batch gives the same bytes and the same state either way. An audit decides all
by the reference alone.

Why a group can be looked at before its records are judged: the sums of a contract only grow from
record to record, and so does the device-time in use. Where a limit does not bind with all records
of the batch counted, refused and withheld ones too, it binds at none of them. What can run out is a
coupon, which contracts share, so its rest is looked at for each record. A contract is plain in all
its groups or in none, so the reference never changes the sums of a plain one; by rule R it may
change its grant, which is read anew each time.
"""

from collections.abc import Iterable, Sequence
from typing import final

import msgspec
from msgspec import UNSET, Raw

from ledger.canon import spell
from meter.rules.capacity import DayPart, DeviceTime, Room, day_parts
from meter.rules.contract_terms import Segment
from meter.rules.effects import eligible_after, worth_of
from meter.rules.entries import DailyTime, Posting, UsageAccepted
from meter.rules.measure import Work, by_day, meter_of
from meter.rules.rating import entitle
from meter.rules.refusals import MAX_MILLI_DEVICES, Context, refuse_record
from meter.rules.state import Contract, Meter, Share, State
from meter.values.units import MICROSECONDS, day_of, format_money
from meter.wire.batch import Record

Use = tuple[str, int, str]  # contract, Shanghai day since 1970-01-01, device kind
# What a record adds: cost, entitled and granted fen; and as JSON its shares by year, the postings
# of its grants, each after a comma, and what is granted by year.
Growth = tuple[int, int, int, str, str, str]


@final
class Run:
    """Entries of plain records that follow one another: bytes, and the sums of their postings.

    `first` is the number of the first one, `ids` and `uses` are those of their records.
    """

    def __init__(self, context: Context, first: int) -> None:
        self.provider = context.provider
        self.stream = context.stream
        self.first = first
        self.at = context.now
        self.entries: list[bytes] = []
        self.ids: list[str] = []
        self.uses: list[Use] = []
        self.postings: list[Posting] = []

    def read(self) -> list[UsageAccepted]:
        """Return the entries, read from their bytes."""
        return [msgspec.json.decode(data, type=UsageAccepted) for data in self.entries]


@final
class Plan:
    """The groups of a batch's records, of which the plain ones are judged here."""

    def __init__(self, state: State, records: Sequence[Record], context: Context) -> None:
        self._state = state
        self._context = context
        self._run: Run | None = None
        self._spelled: dict[str, str] = {}
        self._accounts: list[_Account] = []
        self._groups = _grouped(records)
        self._prepare(dict.fromkeys(self._groups))

    def judge(self, place: int, record: Record) -> Raw | None:
        """Accept the record at a place among the batch's, and return its result for the receipt.

        Return None, and change nothing, where the reference must judge it.
        """
        group = self._groups[place]
        state, name = self._state, (self._context.provider, record.id)
        if not group.is_plain or name in state.records or name in state.unread:
            return None
        milli_devices = record.milli_devices
        if not 1 <= milli_devices <= MAX_MILLI_DEVICES:
            return None
        if self._run is None:
            self._run = Run(self._context, state.size)
        run, id_ = self._run, _spelled(record.id)
        growth = group.grow(state, milli_devices)
        data = self._entry(group, record, id_, growth)
        run.entries.append(data)
        run.ids.append(record.id)
        run.uses.append(group.use)
        state.unread[name] = state.size, data, self._context.stream
        result = _result(group, id_, state.size, growth)
        state.size += 1
        return result

    def close(self) -> Run | None:
        """Give the state what was put off, and return the records judged since the last call."""
        run, self._run = self._run, None
        if run is not None:
            for account in self._accounts:
                account.settle(self._state, run)
        return run

    def _prepare(self, groups: Iterable["_Group"]) -> None:
        """Find out which groups are plain, and write their texts."""
        accounts: dict[str, _Account] = {}
        draft = _Draft()
        for group in groups:
            contract = self._state.contracts.get(group.first.contract)
            if contract is None or refuse_record(contract, group.first, self._context) is not None:
                continue  # all of its records are refused
            account = accounts.get(group.first.contract)
            if account is None:
                account = accounts[group.first.contract] = _Account(contract)
            group.measure(meter_of(self._state, contract, group.first.device), account)
            account.groups.append(group)
            draft.add(group)
        for account in accounts.values():
            if is_plain(account, draft):
                account.begin(self._state, self._context)
                self._accounts.append(account)

    def _entry(self, group: "_Group", record: Record, id_: str, growth: Growth) -> bytes:
        """Return the bytes of an entry: `ledger.canon` of a `UsageAccepted`."""
        cost, _, _, shares, grants, _ = growth
        postings = f"{group.account.owed_text}{cost}]{grants}" if cost else grants[1:]
        final_ = run = state = ""
        if record.final is not UNSET:
            final_ = '"final":true,' if record.final else '"final":false,'
        if record.run is not UNSET:
            run = f'"run":{_spelled(record.run)},'
        if record.state is not UNSET:
            state = f'"state":{self._note(record.state)},'
        return (
            f'{group.head}{cost}{group.device}{shares}],{final_}"fits":['
            f'{group.fits(record.milli_devices)}],"id":{id_},"kind":"usage",'
            f'"milli_devices":{record.milli_devices},"postings":[{postings}],{group.provider}{run}'
            f'"salt":"{self._context.next_salt()}",{group.start}{state}"v":1}}'
        ).encode()

    def _note(self, text: str) -> str:
        """Return a text of people's as JSON; most records have one of few."""
        found = self._spelled.get(text)
        if found is None:
            found = self._spelled[text] = spell(text).decode()
        return found


def _grouped(records: Sequence[Record]) -> list["_Group"]:
    """Return the group of each record."""
    found: dict[tuple[str, str, int, int], _Group] = {}
    groups = []
    for record in records:
        key = record.contract, record.device, record.start, record.end
        group = found.get(key)
        if group is None:
            group = found[key] = _Group(record)
        if 1 <= record.milli_devices <= MAX_MILLI_DEVICES:
            group.add(record)
        groups.append(group)
    return groups


def is_plain(account: "_Account", draft: "_Draft") -> bool:
    """Return whether all accepted records of a contract are plain, whatever else the batch holds.

    Each counts on all of its days, and has room with all records of the batch. With them counted,
    neither amount nor support binds; so each cost is a number that an entry can hold.
    """
    contract = account.contract
    assert not contract.terms.in_yuan, "only of what is bought"
    if not all(group.counts and draft.has_room(group) for group in account.groups):
        return False
    changes = [
        (place, group.milli_devices * numerator)
        for group in account.groups
        for place, numerator in group.places
    ]
    after = entitle(eligible_after(contract, changes), contract.terms)
    return not (after.amount_bound or after.support_bound)


@final
class _Group:
    """The records of one contract, device kind and interval; `first` is one that can be taken.

    `milli_devices` are those of all its records, refused ones too; `taken` are those of the `count`
    records that the state does not have yet. A thousandth of a device has a `numerator`, in all and
    by the `places` of segments, and works for seconds by day.
    """

    def __init__(self, first: Record) -> None:
        self.first = first
        self.milli_devices = 0
        self.taken = 0
        self.count = 0
        self.is_plain = False
        self.counts = False
        self.numerator = 0
        self.places: list[tuple[int, int]] = []
        self.days: DailyTime = []
        self.parts: Sequence[DayPart] = ()
        self.meter: Meter
        self.account: _Account
        self.segments: list[tuple[Segment, int]] = []
        self.years: list[tuple[_Year, int]] = []
        self.use: Use = ("", 0, "")
        self.head = self.device = self.provider = self.start = ""

    def add(self, record: Record) -> None:
        """Count a record."""
        if self.milli_devices == 0:
            self.first = record
        self.milli_devices += record.milli_devices

    def measure(self, meter: Meter, account: "_Account") -> None:
        """Find out what its records are worth, and whether they count."""
        record, contract = self.first, account.contract
        self.meter, self.account = meter, account
        self.parts = day_parts(record.start, record.end)
        self.days = by_day(Work(record.device, 1, record.start, record.end))
        worth = worth_of(contract, meter, [(day, time, time, 0) for day, time in self.days])
        self.counts = not worth.ineligible
        self.numerator, self.places = worth.numerator, worth.eligible
        self.use = contract.registered.id, day_of(record.start), record.device

    def grow(self, state: State, milli_devices: int) -> Growth:
        """Add a record to the sums of its contract."""
        self.taken += milli_devices
        self.count += 1
        cost = self.account.add(milli_devices * self.numerator)
        for segment, numerator in self.segments:
            segment.eligible += milli_devices * numerator
        entitled = granted = 0
        shares = grants = by_year = ""
        for year, weighted in self.years:
            more, given = year.add(state, milli_devices * weighted)
            if more:
                comma = "," if shares else ""
                shares += f"{comma}[{year.year},{more}]"
                by_year += f'{comma}"{year.year}":"{format_money(given)}"'
                entitled += more
                granted += given
            if given:
                grants += f",{year.granted_text}{given}]"
        return cost, entitled, granted, shares, grants, by_year

    def fits(self, milli_devices: int) -> str:
        """Return the days of a record, with its thousandths × seconds, as JSON."""
        if len(self.days) == 1:
            day, seconds = self.days[0]
            return f"[{day},{milli_devices * seconds}]"
        return ",".join([f"[{day},{milli_devices * seconds}]" for day, seconds in self.days])

    def write(self, context: Context) -> None:
        """Write what the entries of its records have in common, between what they do not."""
        record, (contract, _, device) = self.first, self.use
        self.head = (
            f'{{"at":{context.now},"batch":{context.number},"by":{_json(context.by)},'
            f'"contract":{_json(contract)},"cost":'
        )
        end, start = record.end * MICROSECONDS, record.start * MICROSECONDS
        self.device = f',"device":{_json(device)},"end":{end},"entitled":['
        self.provider = f'"provider":{_json(context.provider)},'
        self.start = f'"start":{start},'


@final
class _Account:
    """The running cost of a contract with its groups: `fen` of what it used so far."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.groups: list[_Group] = []
        self._years: dict[int, _Year] = {}
        self._denominator = contract.terms.denominator
        self._fen = contract.used // self._denominator
        self._cost = 0  # since the last run
        self.owed_text = ""

    def begin(self, state: State, context: Context) -> None:
        """Prepare its groups, which are plain, for their records."""
        contract = self.contract
        self.owed_text = f"[{_json(contract.debtor)},{_json(contract.due)},"
        for group in self.groups:
            weights: dict[int, int] = {}
            for place, numerator in group.places:
                segment = contract.segments[place]
                group.segments.append((segment, numerator))
                weight = weights.get(segment.year, 0)
                weights[segment.year] = weight + segment.ratio_bp * numerator
            group.years = [(self._year(state, year), weight) for year, weight in weights.items()]
            group.is_plain = True
            group.write(context)

    def _year(self, state: State, year: int) -> "_Year":
        found = self._years.get(year)
        if found is None:
            found = self._years[year] = _Year(state, self.contract, year)
        return found

    def add(self, numerator: int) -> int:
        """Add usage to the contract and return its cost: what the sum in fen grows by."""
        contract = self.contract
        contract.used += numerator
        fen = contract.used // self._denominator
        cost, self._fen = fen - self._fen, fen
        self._cost += cost
        return cost

    def settle(self, state: State, run: Run) -> None:
        """Give the state what was put off, and a run its postings."""
        contract = self.contract
        taken = [group for group in self.groups if group.taken]
        if not taken:
            return
        for group in taken:
            for room in group.meter.rooms:
                room.in_use.add(group.parts, group.taken)
            contract_id, _, device = group.use
            for day, seconds in group.days:
                time, on = group.taken * seconds, (day, device, run.stream)
                state.touched.add_records(contract_id, on, group.count, (time, time, 0))
            group.count = 0
            group.taken = 0
        contract.entitlement = entitle(eligible_after(contract, []), contract.terms)
        state.touched.contracts.add(contract.registered.id)
        if self._cost:
            run.postings.append((contract.debtor, contract.due, self._cost))
            self._cost = 0
        for year in self._years.values():
            year.settle(run)


@final
class _Year:
    """The running entitlement and grant of a contract in a year.

    `weighted` is Σ bp[s]·X[s] over its segments (`rating.entitle`).
    """

    def __init__(self, state: State, contract: Contract, year: int) -> None:
        self.year = year
        self.contract = contract
        self._weighted = 0
        for segment in contract.segments:
            if segment.year == year:
                self._weighted += segment.ratio_bp * segment.eligible
        self._divisor = contract.terms.divisor
        self._accounts = contract.accounts_of(year)
        self._share: Share | None = contract.shares.get(year)
        self._issued = state.coupons.get(self._accounts.coupon_id, 0)
        self._granted = 0  # since the last run
        names = _json(self._accounts.coupon), _json(self._accounts.accrued)
        self.granted_text = f"[{names[0]},{names[1]},"

    def add(self, state: State, weighted: int) -> tuple[int, int]:
        """Add usage to the contract's share; return what entitlement and grant grow by, in fen."""
        self._weighted += weighted
        fen, share = self._weighted // self._divisor, self._share
        if share is None:
            if fen == 0:
                return 0, 0
            share = self._share = self.contract.share(self.year)
        entitled = fen - share.entitled
        if entitled == 0:
            return 0, 0
        share.entitled = fen
        if self._issued == 0:
            return entitled, 0
        coupon = self._accounts.coupon_id
        held = state.granted.get(coupon, 0)
        granted = min(fen - share.granted, self._issued - held)
        if granted:
            share.granted += granted
            state.granted[coupon] = held + granted
            self._granted += granted
        return entitled, granted

    def settle(self, run: Run) -> None:
        """Give a run its postings."""
        if self._granted:
            run.postings.append((self._accounts.coupon, self._accounts.accrued, self._granted))
            self._granted = 0


@final
class _Draft:
    """The device-time in use that the rooms of a batch would have with all its records."""

    def __init__(self) -> None:
        self._drafts: dict[DeviceTime, DeviceTime] = {}

    def add(self, group: _Group) -> None:
        """Count all records of a group."""
        for room in group.meter.rooms:
            draft = self._drafts.get(room.in_use)
            if draft is None:
                draft = self._drafts[room.in_use] = DeviceTime()
            for part in group.parts:
                number = part[0]
                if number not in draft.days and number in room.in_use.days:
                    draft.days[number] = room.in_use.days[number][:]
            draft.add(group.parts, group.milli_devices)

    def has_room(self, group: _Group) -> bool:
        """Return whether all that is counted fits into the rooms of a group, for its time."""
        start, end = group.first.start, group.first.end
        for room in group.meter.rooms:
            draft = Room(room.limit, room.steps, self._drafts[room.in_use])
            if not draft.has_room(group.parts, start, end, 0):
                return False
        return True


def _result(group: _Group, id_: str, number: int, growth: Growth) -> Raw:
    """Return a result: the JSON of an `Accepted`."""
    cost, entitled, granted, _, _, by_year = growth
    bound = ""
    for share in group.account.contract.shares.values():
        if share.entitled > share.granted:
            bound = '"coupon"'
            break
    text = (
        f'{{"id":{id_},"status":"accepted","entry":{number},"cost":"{format_money(cost)}",'
        f'"entitled":"{format_money(entitled)}","granted":"{format_money(granted)}",'
        f'"uncovered":"{format_money(entitled - granted)}","withheld":"0.00","ineligible":"0.00",'
        f'"reasons":{{}},"by_year":{{{by_year}}},"bound":[{bound}]}}'
    )
    return Raw(text.encode())


def _spelled(text: str) -> str:
    """Return a text of visible ASCII as JSON."""
    if '"' in text or "\\" in text:
        return _json(text)
    return f'"{text}"'


def _json(text: str) -> str:
    return spell(text).decode()
