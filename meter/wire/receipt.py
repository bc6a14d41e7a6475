"""The receipt of a batch: a result for each void, then for each record and each purchase.

    {"batch":"<sha256 of the payload>","log":…,"provider":…,"stream":…,"seq":17,
     "before":{"size":38,"root":"…"},"entries":{"first":40,"count":3},"voids":[…],"results":[…]}

    {"id":"slurm:4211:0","status":"accepted","entry":42,"cost":"288.00","entitled":"144.00",
     "granted":"144.00","uncovered":"0.00","withheld":"0.00","ineligible":"0.00","reasons":{},
     "by_year":{"2025":"144.00"},"bound":[]}
    {"id":"slurm:4211:0","status":"duplicate","entry":42}
    {"id":"slurm:4211:0","status":"duplicate","entry":42,"detail":"…"}
    {"id":"slurm:4211:0","status":"conflict","entry":42,"detail":"…"}
    {"id":"slurm:4212:0","status":"rejected","code":"unknown_contract","detail":"…"}

A batch that sums a day up has an answer to that too: `summary`, in `wire/summary.py`.

The figures are signed changes of the record's own contract. All are yuan text. What of the cost is
neither withheld nor `ineligible` is eligible; `reasons` has the ineligible cost by reason.
"""

from hashlib import sha256
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from meter.values.strict import check_unique_keys, decode
from meter.wire.batch import Batch
from meter.wire.summary import SummaryResult, parse_summary_result

# The header of each response with the ledger's time: microseconds since 1970 UTC, in digits.
TIME: Final = "Kashi-Time"

# The codes of rejected records and voids, in the order in which the rules are tried.
RecordCode = Literal[
    "unknown_contract",
    "wrong_meter",
    "unknown_device",
    "bad_devices",
    "bad_amount",
    "bad_interval",
    "too_long",
    "in_future",
    "too_late",
    "contract_frozen",
    "second_purchase",
]
VoidCode = Literal["unknown_record", "already_voided", "too_late"]
RECORD_CODES: Final[tuple[str, ...]] = get_args(RecordCode)
VOID_CODES: Final[tuple[str, ...]] = get_args(VoidCode)
# Refusals that time alone can mend: the same record can be accepted later. A receipt does not say
# this beside the code, for a code never changes its meaning.
PASSING_CODES: Final[frozenset[str]] = frozenset(
    {"unknown_contract", "in_future", "contract_frozen"}
)


# Why usage counts for nothing, in the order in which the reasons are tried.
Reason = Literal["related_party", "use", "outside_policy", "outside_term", "not_enlisted"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class Before(Struct, frozen=True):
    """The tree on which the batch's group was built; `root` is base64."""

    size: int
    root: str


class EntryRange(Struct, frozen=True):
    """The numbers of the batch's entries; the batch's own entry is the first."""

    first: int
    count: int


Limit = Literal["contract_amount", "combined_support", "coupon"]


class Accepted(Struct, frozen=True):
    """An accepted record or void; `bound` names the limits that bind its contract afterwards."""

    id: str
    status: Literal["accepted"]
    entry: int
    cost: str
    entitled: str
    granted: str
    uncovered: str
    withheld: str
    ineligible: str
    reasons: dict[Reason, str]
    by_year: dict[str, str]
    bound: list[Limit]


class Duplicate(Struct, frozen=True):
    """An id that `entry` accepted before, with equal content.

    `detail` names what of `run`, `state` and `final` differs: these decide nothing.
    """

    id: str
    status: Literal["duplicate"]
    entry: int
    detail: str | UnsetType = UNSET


class Conflict(Struct, frozen=True):
    """An id that `entry` accepted before, with other content; nothing is charged."""

    id: str
    status: Literal["conflict"]
    entry: int
    detail: str


class Rejected(Struct, frozen=True):
    """A record or void that breaks a rule; its id stays free."""

    id: str
    status: Literal["rejected"]
    code: RecordCode | VoidCode
    detail: str


Result = Accepted | Duplicate | Conflict | Rejected


class Receipt(Struct, frozen=True):
    """The service's response to a batch."""

    batch: str
    log: str
    provider: str
    stream: str
    seq: int
    before: Before
    entries: EntryRange
    voids: list[Result]
    results: list[Result]
    summary: SummaryResult | UnsetType = UNSET


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the bytes of a receipt, which are signed, stored and never made again."""
    return msgspec.json.encode(receipt)


class Place(Struct, frozen=True):
    """The tree and the entries that a receipt names as those of its batch."""

    before: Before
    entries: EntryRange


def place_of(receipt: bytes) -> Place:
    """Return the place of a receipt, without reading the rest. Raises `ValueError`."""
    return msgspec.json.decode(receipt, type=Place)


class WrongReceipt(ValueError):  # noqa: N818 - it says what is wrong
    """A receipt that cannot be read or belongs to another batch; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def receipt_for(payload: bytes, body: bytes) -> Receipt:
    """Return the receipt `body` of the batch `payload`. Raises `WrongReceipt`."""
    try:
        receipt = parse_receipt(body)
    except ValueError as error:
        raise WrongReceipt("bad_receipt", str(error)) from None
    batch = decode(payload, Batch)
    if (receipt.log, receipt.provider, receipt.stream, receipt.seq, receipt.batch) != (
        *(batch.log, batch.provider, batch.stream, batch.seq),
        sha256(payload).hexdigest(),
    ):
        raise WrongReceipt("other_batch", f"this is a receipt for batch {receipt.batch:.64}")
    if [result.id for result in receipt.voids + receipt.results] != batch.item_ids:
        detail = "not one result for each void, record and purchase, in their order"
        raise WrongReceipt("bad_receipt", detail)
    if (receipt.summary is UNSET) != (batch.summary is UNSET):
        raise WrongReceipt("bad_receipt", "not an answer to each summary, and to no other")
    return receipt


def parse_receipt(data: bytes) -> Receipt:
    """Return a receipt of any origin from its bytes. Raises `ValueError`."""
    try:
        fields = msgspec.json.decode(data, type=_ReceiptFields)
        check_unique_keys(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return Receipt(
        batch=fields.batch,
        log=fields.log,
        provider=fields.provider,
        stream=fields.stream,
        seq=fields.seq,
        before=fields.before,
        entries=fields.entries,
        voids=[_parse_result(result) for result in fields.voids],
        results=[_parse_result(result) for result in fields.results],
        summary=UNSET if fields.summary is UNSET else parse_summary_result(fields.summary),
    )


_Fields = dict[str, str | int | dict[str, str] | list[str]]


class _ReceiptFields(Struct, frozen=True):
    """A receipt whose results are plain fields; the `status` of each names its struct."""

    batch: str
    log: str
    provider: str
    stream: str
    seq: int
    before: Before
    entries: EntryRange
    voids: list[_Fields]
    results: list[_Fields]
    summary: dict[str, Any] | UnsetType = UNSET


_RESULT_OF: Final[dict[str, type[Result]]] = {
    "accepted": Accepted,
    "duplicate": Duplicate,
    "conflict": Conflict,
    "rejected": Rejected,
}


def _parse_result(fields: _Fields) -> Result:
    kind = _RESULT_OF.get(str(fields.get("status")))
    if kind is None:
        raise ValueError(f"no result has the status {fields.get('status')!r:.50}")
    result: Result = msgspec.convert(fields, kind)
    return result
