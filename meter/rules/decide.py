"""The deciding of a signed batch: voids, records, purchases are judged, then the receipt written.

The same batch, state and `now` always give the same bytes: the service runs this once and every
auditor runs it again. Nothing here reads a clock or does I/O. The state advances record by record,
since each is judged on what the ones before it left; a commit that fails throws the state away.
"""

from hashlib import sha256
from typing import Final, cast, final

from msgspec import UNSET, Raw, Struct

from ledger.canon import spell
from meter.rules.effects import (
    UsageEffect,
    accept,
    accepted_effect,
    apply_void,
    void_effect,
    void_fields,
)
from meter.rules.entries import (
    BatchAccepted,
    Entry,
    PurchaseAccepted,
    RecordVoided,
    UsageAccepted,
)
from meter.rules.measure import Work, admit, evidence_of, meter_of, withheld_by_day
from meter.rules.months import turn_month
from meter.rules.plain import Plan, Run
from meter.rules.purchases import counts_by_days, purchase_effect, refuse_purchase
from meter.rules.refusals import Context, refuse_record
from meter.rules.state import AcceptedRecord, Contract, Key, State, StoredBatch
from meter.rules.summaries import Place, refuse_summary, summarise
from meter.values.problems import Problem
from meter.values.strict import plain
from meter.values.text import ALIKE, folded
from meter.values.units import MICROSECONDS, day_of, format_money, parse_date
from meter.wire.batch import (
    MAX_RECORD_SECONDS,
    Batch,
    Purchase,
    Record,
    SignedBatch,
    Void,
)
from meter.wire.receipt import (
    Accepted,
    Before,
    Conflict,
    Duplicate,
    EntryRange,
    Limit,
    Reason,
    Receipt,
    Rejected,
    Result,
    encode_receipt,
)
from meter.wire.summary import Summary, SummaryResult

RECORDS_PER_STEP: Final = 25  # some hundred microseconds of deciding
PLAIN_PER_STEP: Final = 250  # of which the plain ones take as long
PLANNED_FROM: Final = 2  # records: one alone has nothing to share
_OTHER_KIND: Final = "entry {} is of another kind: usage or a purchase"
_NO_REASONS: Final[dict[Reason, str]] = {}
SECONDS_PER_STEP: Final = 31 * 86_400  # of all its records, each of which costs by quarter-hour


class Decided(Struct, frozen=True):
    """The batch's entries, its own first, where they are, and the exact bytes of the receipt.

    `parts` has the entries in their order, and those of plain records as runs of bytes. The result
    of such a record, which was accepted, is bytes too.
    """

    place: EntryRange
    parts: list[Entry | Run]
    receipt: bytes
    results: list[Result | Raw]

    @property
    def entries(self) -> list[Entry]:
        """All entries, those of plain records read from their bytes."""
        return [
            entry
            for part in self.parts
            for entry in (part.read() if isinstance(part, Run) else [part])
        ]

    @property
    def spelled(self) -> list[bytes]:
        """The bytes of all entries, as they are made here."""
        return [
            data
            for part in self.parts
            for data in (part.entries if isinstance(part, Run) else [spell(part)])
        ]


def decide(  # noqa: PLR0913 - one argument for each thing that decides
    state: State,
    signed: SignedBatch,
    now: int,
    before: Before,
    salt: str,
    *,
    by_groups: bool = False,
) -> Decided | StoredBatch:
    """Judge a batch at `now` (microseconds), in a group that builds on `before`.

    `salt` is a new one for the batch's own entry. `by_groups` judges plain records together
    (`plain.py`), with the same outcome.

    A batch that was answered before has its stored answer. Raises `Problem` where the batch as a
    whole cannot be taken: `bad_signature` (no such key), `provider_mismatch`, `wrong_log`,
    `wrong_genesis`, `looks_alike`, `seq_conflict`, `key_revoked`; then the state is unchanged.
    """
    decision = Decision(state, signed, now, before, salt, by_groups=by_groups)
    while decision.result is None:
        decision.step()
    return decision.result


@final
class Decision:
    """The deciding of one batch in steps, between which its driver can see to others.

    Making one checks the batch as a whole, and raises what `decide` raises. `result` is None until
    the last step. `by_groups` judges plain records together (`plain.py`), with the same outcome.
    """

    def __init__(  # noqa: PLR0913 - one argument for each thing that decides
        self,
        state: State,
        signed: SignedBatch,
        now: int,
        before: Before,
        salt: str,
        *,
        by_groups: bool,
    ) -> None:
        self._state = state
        self._sent = signed
        self._before = before
        self.result: Decided | StoredBatch | None = _answer_before(state, signed)
        self._context = Context(
            signed.batch.provider,
            signed.batch.stream,
            signed.keyid,
            now,
            state.size,
            bytes.fromhex(salt),
        )
        self._by_groups = by_groups
        self._plan: Plan | None = None
        self._parts: list[Entry | Run] = []
        self._voids: list[Result] = []
        self._records: list[Result | Raw] = []
        self._purchases: list[Result] = []
        self._summary: SummaryResult | None = None
        if self.result is None:
            turn_month(state, now)
            state.size += 1  # the batch's own entry; its content is known only at the end

    def step(self) -> None:
        """Judge the next items of a kind, or write the receipt when all are judged."""
        batch, state, context = self._sent.batch, self._state, self._context
        voids, records, purchases = len(self._voids), len(self._records), len(self._purchases)
        if voids < len(batch.voids):
            for void in batch.voids[voids : voids + RECORDS_PER_STEP]:
                self._voids.append(_decide_void(state, void, context, self._parts))
                context.judged += 1
        elif records < len(batch.records):
            self._judge_records(records)
        elif purchases < len(batch.purchases):
            # One by one: a service of years counts on each of its days.
            purchase = batch.purchases[purchases]
            self._purchases.append(_decide_purchase(state, purchase, context, self._parts))
            context.judged += 1
        elif batch.summary is not UNSET and self._summary is None:
            # Last, for it counts what the batch brought and took back.
            self._summary = _decide_summary(state, batch.summary, context, self._parts)
        else:
            self.result = self._end()

    def _judge_records(self, first: int) -> None:
        """Judge the next records of a step, the plain ones by their plan."""
        batch, state, context = self._sent.batch, self._state, self._context
        if self._plan is None and self._by_groups and len(batch.records) >= PLANNED_FROM:
            self._plan = Plan(state, batch.records, context)
        plan, seconds, others = self._plan, 0, 0
        for place in range(first, min(first + PLAIN_PER_STEP, len(batch.records))):
            record = batch.records[place]
            result = None if plan is None else plan.judge(place, record)
            if result is None:
                self._close_run()
                self._records.append(_decide_record(state, record, context, self._parts))
                seconds += max(0, min(record.end - record.start, MAX_RECORD_SECONDS))
                others += 1
            else:
                self._records.append(result)
            context.judged += 1
            if seconds >= SECONDS_PER_STEP or others >= RECORDS_PER_STEP:
                break
        self._close_run()

    def _close_run(self) -> None:
        """Take the plain records since the last call, and bring the state up to date."""
        run = None if self._plan is None else self._plan.close()
        if run is not None:
            self._parts.append(run)

    def _end(self) -> Decided:
        batch, context = self._sent.batch, self._context
        results: list[Result | Raw] = [*self._records, *self._purchases]
        place = EntryRange(context.number, self._state.size - context.number)
        receipt = encode_receipt(
            Receipt(
                batch=self._sent.payload_sha256,
                log=batch.log,
                provider=batch.provider,
                stream=batch.stream,
                seq=batch.seq,
                before=self._before,
                entries=place,
                voids=self._voids,
                results=cast("list[Result]", results),  # bytes are written as they are
                summary=self._summary or UNSET,
            )
        )
        self._state.last_at = context.now
        self._state.streams[batch.provider, folded(batch.stream)] = batch.stream
        own = _batch_entry(self._sent, context, self._before, receipt)
        return Decided(place, [own, *self._parts], receipt, [*self._voids, *results])


def _answer_before(state: State, signed: SignedBatch) -> StoredBatch | None:
    """Return the answer that this very batch has already, if any. Raises `Problem`."""
    batch = signed.batch
    key = _check_sender(state, signed)
    stored = state.batches.get((batch.provider, batch.stream, batch.seq))
    known = state.streams.get((batch.provider, folded(batch.stream)), batch.stream)
    if known != batch.stream:
        raise Problem("looks_alike", f"stream {known} {ALIKE}")
    if stored is None and key.revoked is not None:
        raise Problem("key_revoked", f"{signed.keyid} by entry {key.revoked}", entry=key.revoked)
    if stored is not None and stored.payload != signed.payload_sha256:
        detail = f"seq {batch.seq} of {batch.stream} holds batch {stored.payload}"
        raise Problem("seq_conflict", detail, batch=stored.payload)
    return stored


def _check_sender(state: State, signed: SignedBatch) -> Key:
    batch, genesis = signed.batch, state.genesis
    assert genesis is not None, "entry 0 comes first"
    key = state.keys.get(signed.keyid)
    if key is None:
        raise Problem("bad_signature", f"no registered key {signed.keyid} signed the payload")
    if key.registered.provider != batch.provider:
        raise Problem("provider_mismatch", f"{signed.keyid} is not a key of {batch.provider}")
    if batch.log != genesis.origin:
        raise Problem("wrong_log", f"this is {genesis.origin}")
    if batch.genesis is not UNSET and batch.genesis != state.genesis_hash:
        detail = f"entry 0 here has the hash {state.genesis_hash}"
        raise Problem("wrong_genesis", detail, genesis=state.genesis_hash)
    return key


def _batch_entry(
    signed: SignedBatch, context: Context, before: Before, receipt: bytes
) -> BatchAccepted:
    batch: Batch = signed.batch
    return BatchAccepted(
        at=context.now,
        by=signed.keyid,
        postings=[],
        salt=context.salt.hex(),
        provider=batch.provider,
        stream=batch.stream,
        seq=batch.seq,
        payload=signed.payload_sha256,
        envelope=signed.envelope_sha256,
        receipt=sha256(receipt).hexdigest(),
        before=before.size,
        voids=len(batch.voids),
        records=len(batch.records),
        purchases=len(batch.purchases),
    )


def _decide_void(state: State, void: Void, context: Context, parts: list[Entry | Run]) -> Result:
    record = state.record(context.provider, void.id)
    refusal = _void_refusal(state, void, record, context.now)
    if refusal is not None:
        return refusal
    assert record is not None
    effect = void_effect(state, record)
    number = state.size
    parts.append(
        RecordVoided(
            at=context.now,
            by=context.by,
            postings=effect.postings(),
            salt=context.next_salt(),
            provider=context.provider,
            id=void.id,
            reason=void.reason,
            batch=context.number,
            **void_fields(record, effect),
        )
    )
    apply_void(state, record, number, effect)
    state.size += 1
    return _accepted(void.id, number, effect)


def _void_refusal(
    state: State, void: Void, record: AcceptedRecord | None, now: int
) -> Rejected | None:
    if record is None:
        return Rejected(void.id, "rejected", "unknown_record", "no accepted record of this id")
    if record.voided is not None:
        detail = f"voided by entry {record.voided}"
        return Rejected(void.id, "rejected", "already_voided", detail)
    contract = state.contracts[record.usage.contract]
    if contract.is_too_late(0, record.usage.end // MICROSECONDS, now):
        lateness = contract.policy.lateness_seconds
        detail = f"more than {lateness} s after its end; ask the authority"
        return Rejected(void.id, "rejected", "too_late", detail)
    return None


def _decide_record(
    state: State, record: Record, context: Context, parts: list[Entry | Run]
) -> Result:
    known = state.record(context.provider, record.id)
    if known is not None:
        return _duplicate_or_conflict(known, record)
    contract = state.contracts.get(record.contract)
    refusal = refuse_record(contract, record, context)
    if refusal is not None:
        return Rejected(record.id, "rejected", *refusal)
    assert contract is not None
    accepted, effect = _rate(state, contract, record, context)
    parts.append(accepted.usage)
    accept(state, accepted, effect)
    state.size += 1
    return _accepted(record.id, accepted.entry, effect)


def _decide_purchase(
    state: State, purchase: Purchase, context: Context, parts: list[Entry | Run]
) -> Result:
    known = state.record(context.provider, purchase.id)
    if known is not None:
        return _known_purchase(known, purchase)
    contract = state.contracts.get(purchase.contract)
    refusal = refuse_purchase(contract, purchase, context.provider, context.now)
    if refusal is not None:
        return Rejected(purchase.id, "rejected", *refusal)
    assert contract is not None
    accepted, effect = _rate_purchase(state, contract, purchase, context)
    parts.append(accepted.usage)
    accept(state, accepted, effect)
    state.size += 1
    return _accepted(purchase.id, accepted.entry, effect)


def _decide_summary(
    state: State, summary: Summary, context: Context, parts: list[Entry | Run]
) -> SummaryResult:
    refusal = refuse_summary(summary, context.now)
    if refusal is not None:
        return refusal
    place = Place(
        provider=context.provider,
        stream=context.stream,
        batch=context.number,
        at=context.now,
        by=context.by,
        salt=context.next_salt(),
    )
    entry, result = summarise(state, summary, place)
    parts.append(entry)
    day = day_of(parse_date(summary.day))
    state.summaries[context.provider, context.stream, day] = state.size
    state.size += 1
    return result


def _known_purchase(known: AcceptedRecord, purchase: Purchase) -> Duplicate | Conflict:
    usage = known.usage
    if isinstance(usage, UsageAccepted):
        return Conflict(purchase.id, "conflict", known.entry, _OTHER_KIND.format(known.entry))
    different = [
        name
        for name in ("contract", "amount", "delivered_on", "service_from", "service_until")
        if getattr(usage, name) != getattr(purchase, name)
    ]
    if different:
        detail = f"differs from entry {known.entry} in {', '.join(different)}"
        return Conflict(purchase.id, "conflict", known.entry, detail)
    return Duplicate(purchase.id, "duplicate", known.entry)


def _duplicate_or_conflict(known: AcceptedRecord, record: Record) -> Duplicate | Conflict:
    usage = known.usage
    if isinstance(usage, PurchaseAccepted):
        return Conflict(record.id, "conflict", known.entry, _OTHER_KIND.format(known.entry))
    different = _differences(usage, record, ("contract", "device", "milli_devices"))
    different += ["start"] * (usage.start != record.start * MICROSECONDS)
    different += ["end"] * (usage.end != record.end * MICROSECONDS)
    if different:
        detail = f"differs from entry {known.entry} in {', '.join(different)}"
        return Conflict(record.id, "conflict", known.entry, detail)
    opaque = _differences(usage, record, ("run", "state", "final"))
    if opaque:
        detail = f"differs from entry {known.entry} in {', '.join(opaque)}, which decides nothing"
        return Duplicate(record.id, "duplicate", known.entry, detail)
    return Duplicate(record.id, "duplicate", known.entry)


def _differences(usage: UsageAccepted, record: Record, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if getattr(usage, name) != getattr(record, name)]


def _rate(
    state: State, contract: Contract, record: Record, context: Context
) -> tuple[AcceptedRecord, UsageEffect]:
    work = Work(record.device, record.milli_devices, record.start, record.end)
    meter = meter_of(state, contract, record.device)
    measured = admit(meter, work)
    withheld, fits = measured.withheld, measured.fits
    effect = accepted_effect(state, contract, meter, measured)
    usage = UsageAccepted(
        at=context.now,
        by=context.by,
        postings=effect.postings(),
        salt=context.next_salt(),
        batch=context.number,
        provider=context.provider,
        id=record.id,
        # The contract's own texts: a replay keeps millions of records, but few contracts.
        contract=contract.registered.id,
        device=record.device,
        milli_devices=record.milli_devices,
        start=record.start * MICROSECONDS,
        end=record.end * MICROSECONDS,
        run=record.run,
        state=record.state,
        final=record.final,
        cost=effect.costs.all,
        fits=fits,
        entitled=effect.entitled,
        withheld=withheld_by_day(withheld) if withheld else UNSET,
        withheld_cost=effect.costs.withheld if withheld else UNSET,
        evidence=evidence_of(withheld) if withheld else UNSET,
        ineligible=effect.costs.ineligible or UNSET,
    )
    accepted = AcceptedRecord(state.size, usage, fits, withheld, stream=context.stream)
    return accepted, effect


def _rate_purchase(
    state: State, contract: Contract, purchase: Purchase, context: Context
) -> tuple[AcceptedRecord, UsageEffect]:
    by_days = counts_by_days(contract, purchase)
    measured, effect = purchase_effect(state, contract, purchase, by_days=by_days)
    entry = PurchaseAccepted(
        at=context.now,
        by=context.by,
        postings=effect.postings(),
        salt=context.next_salt(),
        batch=context.number,
        provider=context.provider,
        id=purchase.id,
        contract=contract.registered.id,
        amount=plain(purchase.amount),
        delivered_on=plain(purchase.delivered_on),
        service_from=plain(purchase.service_from),
        service_until=plain(purchase.service_until),
        by_days=by_days,
        cost=effect.costs.all,
        entitled=effect.entitled,
        ineligible=effect.costs.ineligible or UNSET,
    )
    return AcceptedRecord(state.size, entry, measured.fits, stream=context.stream), effect


def _accepted(record_id: str, number: int, effect: UsageEffect) -> Accepted:
    """Shape the changes of the own contract for the receipt; other contracts' stay out of it."""
    entitled = granted = 0
    granted_by_year: dict[int, int] = {}
    for year, fen in effect.entitled:
        entitled += fen
        granted_by_year[year] = 0
    for year, fen in effect.granted():
        granted += fen
        granted_by_year[year] = fen
    costs, ineligible, reasons = effect.costs, 0, _NO_REASONS
    if costs.ineligible:
        ineligible = sum(fen for _, fen in costs.ineligible)
        reasons = {reason: format_money(fen) for reason, fen in costs.ineligible}
    return Accepted(
        record_id,
        "accepted",
        number,
        format_money(costs.all),
        format_money(entitled),
        format_money(granted),
        format_money(entitled - granted),
        format_money(costs.withheld),
        format_money(ineligible),
        reasons,
        {str(year): format_money(fen) for year, fen in granted_by_year.items()},
        _bound(effect),
    )


def _bound(effect: UsageEffect) -> list[Limit]:
    """Name what limits the own contract after the entry."""
    limits: list[Limit] = []
    if effect.entitlement.amount_bound:
        limits.append("contract_amount")
    if effect.entitlement.support_bound:
        limits.append("combined_support")
    for share in effect.contract.shares.values():
        if share.entitled > share.granted:
            limits.append("coupon")
            break
    return limits
