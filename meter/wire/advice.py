"""What a provider can do about each thing that was refused: one sentence per code, in one table."""

from typing import Final, Literal

Refusable = Literal["record", "void", "batch"]

ADVICE: Final[dict[tuple[Refusable, str], str]] = {
    ("record", "unknown_contract"): "Correct the contract's id, or have the authority register the"
    " contract, then send the record again under the same id.",
    ("record", "provider_mismatch"): "Name a contract that is with you: this one is another"
    " provider's.",
    ("record", "unknown_device"): "Name a device kind that the contract has a price for, and send"
    " the record again under the same id.",
    ("record", "bad_devices"): "Give the devices in thousandths, 8000 for 8 cards, and send the"
    " record again under the same id.",
    ("record", "bad_interval"): "Give an end after the start, and send the record again under the"
    " same id.",
    ("record", "too_long"): "Slice the record into parts of at most 31 days, each with an id of its"
    " own.",
    ("record", "in_future"): "Set your clock, or send the record again under the same id once its"
    " end has passed.",
    ("record", "too_late"): "Nothing more can be sent for this usage; post records within days of"
    " their end.",
    ("record", "contract_frozen"): "Ask the authority why the contract is frozen; once it is not,"
    " send the record again under the same id.",
    ("record", "conflict"): "Find out which of the two is right: void the accepted record and send"
    " the right one under a new id, or do nothing if the accepted one is right.",
    ("void", "unknown_record"): "Void only what you have a receipt for: no record of this id was"
    " accepted.",
    ("void", "already_voided"): "Do nothing: the record does not count any more.",
    ("void", "too_late"): "Ask the authority to void the record: it can at any age.",
    ("batch", "seq_conflict"): "Find out why one number was signed twice, then send what this batch"
    " holds under a new number of the stream.",
}
