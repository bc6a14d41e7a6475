"""When a record is refused, and what the records of one batch share."""

from dataclasses import dataclass, field
from typing import Final, final

from meter.rules.salts import Salts
from meter.rules.state import Contract
from meter.values.units import MICROSECONDS, day_of
from meter.wire.batch import MAX_AHEAD_SECONDS, MAX_RECORD_SECONDS, Record
from meter.wire.receipt import RecordCode

MAX_MILLI_DEVICES: Final = 10**9


@final
@dataclass
class Context:
    """What the records of one batch share: `now` in microseconds, `number` and `salt` of its entry.

    `judged` counts its voids, records and purchases so far, refused ones too.
    """

    provider: str
    stream: str
    by: str
    now: int
    number: int
    salt: bytes
    judged: int = 0
    salts: Salts = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the salts once: each entry has one."""
        self.salts = Salts(self.salt)

    def next_salt(self) -> str:
        """Return the salt of the entry of what is judged now."""
        return self.salts.of(self.judged)


def refuse_record(  # noqa: PLR0911 - one rule after the other, in the order of the wire
    contract: Contract | None, record: Record, context: Context
) -> tuple[RecordCode, str] | None:
    """Return the code and detail of the first rule that the record breaks."""
    if contract is None or contract.registered.provider != context.provider:
        return "unknown_contract", f"{context.provider} has no contract {record.contract}"
    terms = contract.agreed
    if not contract.has_price(record.device, day_of(record.start)):
        if contract.policy.meter == "purchase":
            return "wrong_meter", f"{terms.id} takes purchases, not records of usage"
        return "unknown_device", f"{terms.id} has no price for {record.device}"
    if not 1 <= record.milli_devices <= MAX_MILLI_DEVICES:
        return "bad_devices", f"milli_devices is not in 1 to {MAX_MILLI_DEVICES}"
    if record.end <= record.start:
        return "bad_interval", "end is not after start"
    if record.end - record.start > MAX_RECORD_SECONDS:
        return "too_long", f"longer than {MAX_RECORD_SECONDS} s: slice it"
    if record.end * MICROSECONDS > context.now + MAX_AHEAD_SECONDS * MICROSECONDS:
        return "in_future", f"ends more than {MAX_AHEAD_SECONDS} s ahead of this ledger's clock"
    if contract.is_too_late(record.start, record.end, context.now):
        return "too_late", f"more than {contract.policy.lateness_seconds} s after its end"
    if contract.frozen:
        return "contract_frozen", f"{terms.id} takes no new records"
    return None
