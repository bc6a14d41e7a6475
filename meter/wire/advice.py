"""Advice to a provider: what to do about each refusal, one sentence for each code."""

from typing import Final, Literal

Refusable = Literal["record", "purchase", "void", "batch"]

ADVICE: Final[dict[tuple[Refusable, str], str]] = {
    ("record", "unknown_contract"): "Correct the contract's id, or have the authority register the"
    " contract, then send the record again under the same id.",
    ("record", "wrong_meter"): "Name a contract of device-time: this one takes purchases.",
    ("record", "unknown_device"): "Name a device kind that the contract has a price for, and send"
    " the record again under the same id.",
    ("record", "bad_devices"): "State the devices in thousandths, 8000 for 8 cards, and send the"
    " record again under the same id.",
    ("record", "bad_interval"): "Set the end after the start, and send the record again under the"
    " same id.",
    ("record", "too_long"): "Slice the record into parts of at most 31 days, each with its own id.",
    ("record", "in_future"): "Set your clock, or send the record again under the same id once its"
    " end has passed.",
    ("record", "too_late"): "Ask the authority, which can open a late window; post records within"
    " the policy's days of their end.",
    ("record", "contract_frozen"): "Ask the authority why the contract is frozen; once it is not,"
    " send the record again under the same id.",
    ("record", "conflict"): "Find out which record is right: void the accepted one and send the"
    " other under a new id, or do nothing if the accepted one is right.",
    ("purchase", "unknown_contract"): "Correct the contract's id, or have the authority register"
    " the contract, then send the purchase again under the same id.",
    ("purchase", "wrong_meter"): "Name a contract of purchases: this one takes records of usage.",
    ("purchase", "bad_amount"): "State the amount in yuan, above 0.00, and send the purchase again"
    " under the same id.",
    ("purchase", "bad_interval"): "State both dates of the service, the start within 1461 days of"
    " the delivery and the end after it, or none, and send the purchase again under the same id.",
    ("purchase", "too_long"): "Divide the service into purchases of at most 1461 days, each with"
    " its own id.",
    ("purchase", "in_future"): "Send the purchase again under the same id once the day of its"
    " delivery has begun.",
    ("purchase", "too_late"): "Ask the authority, which can open a late window; post purchases"
    " within the policy's days of their delivery.",
    ("purchase", "contract_frozen"): "Ask the authority why the contract is frozen; once it is not,"
    " send the purchase again under the same id.",
    ("purchase", "second_purchase"): "Void the contract's purchase first if it is wrong: under this"
    " programme a contract has one.",
    ("purchase", "conflict"): "Find out which purchase is right: void the accepted one and send the"
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
