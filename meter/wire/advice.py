"""Advice to a provider: what to do about each refusal, one sentence for each code."""

from typing import Final, Literal

Refusable = Literal["record", "void", "batch"]

ADVICE: Final[dict[tuple[Refusable, str], str]] = {
    ("record", "unknown_contract"): "Correct the contract's id, or have the authority register the"
    " contract, then send the record again under the same id.",
    ("record", "unknown_device"): "Name a device kind that the contract has a price for, and send"
    " the record again under the same id.",
    ("record", "bad_devices"): "State the devices in thousandths, 8000 for 8 cards, and send the"
    " record again under the same id.",
    ("record", "bad_interval"): "Set the end after the start, and send the record again under the"
    " same id.",
    ("record", "too_long"): "Slice the record into parts of at most 31 days, each with its own id.",
    ("record", "in_future"): "Set your clock, or send the record again under the same id once its"
    " end has passed.",
    ("record", "too_late"): "Nothing more can be sent for this usage; post records within days of"
    " their end.",
    ("record", "contract_frozen"): "Ask the authority why the contract is frozen; once it is not,"
    " send the record again under the same id.",
    ("record", "conflict"): "Find out which record is right: void the accepted one and send the"
    " other under a new id, or do nothing if the accepted one is right.",
    (
        "void",
        "unknown_record",
    ): "Void only records that a receipt names as accepted: none has this id.",
    ("void", "already_voided"): "Do nothing: the record does not count any more.",
    ("void", "too_late"): "Ask the authority, which can void a record of any age.",
    ("batch", "seq_conflict"): "Find out why one number was signed twice, then send the content of"
    " this batch under a new number of the stream.",
}
