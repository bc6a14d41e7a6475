"""What the types do not say of the API: what fields mean, examples, what to do about a problem.

`FIELDS` is by the field's name as JSON has it, or `Struct.field` where one name means two things;
its entries are laid over the schema that the type gives. Examples are those of the README: posted in
order they tell its story, which a test does. The example key was thrown away when it had signed.
"""

import base64
import json
from hashlib import sha256
from typing import Annotated, Any, Final

from msgspec import Meta

from meter.commands import (
    ActivatePolicy,
    Command,
    EnlistProvider,
    FreezeContract,
    IssueCoupon,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterProvider,
    ReleaseRecord,
    RevokeKey,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.dsse import BATCH_TYPE, Document
from meter.strict import SCHEMAS, Fen, Id, Uscc
from meter.wire import RECORD_CODES, VOID_CODES, Sha256Hex

EntryNumber = Annotated[str, Meta(pattern=r"^[0-9]{1,15}$")]

_ENTERPRISE: Final = "91440300708461136T"
_KEYID: Final = "pcl-2025a"

BATCH: Final[dict[str, Any]] = {
    "log": "kashi.example/shenzhen",
    "provider": "pcl",
    "stream": "cloudbrain-2",
    "seq": 1,
    "voids": [],
    "records": [
        {
            "id": "slurm:4211:0",
            "contract": "TC-2025-0001",
            "device": "ascend-910b",
            "milli_devices": 64000,
            "start": "2025-03-01T08:00:00+08:00",
            "end": "2025-03-01T09:00:00+08:00",
        }
    ],
}
_PAYLOAD: Final = json.dumps(BATCH, separators=(",", ":")).encode()

# In the order in which each can succeed.
BODIES: Final[dict[type[Command | Document], dict[str, Any]]] = {
    ActivatePolicy: {"programme": "training-coupon", "version": "2024-12"},
    RegisterProvider: {
        "id": "pcl",
        "uscc": "91350100M000100Y43",
        "name": "鹏城云脑",
        "devices": {"ascend-910b": 4096},
        "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
    },
    EnlistProvider: {
        "devices": {"ascend-910b": 1024},
        "enlisted": {"batch": "2025-2", "from": "2025-03-01", "until": "2027-01-01"},
    },
    RegisterKey: {
        "keyid": _KEYID,
        "algorithm": "ed25519",
        "public_key": "V0h1268aFAXvTZ2uxHEW/ZkT9BjAEP7YOGlD3dG4+AU=",
    },
    RegisterEnterprise: {
        "uscc": _ENTERPRISE,
        "name": "深圳某某科技有限公司",
        "kind": "enterprise",
        "founded_on": "2019-04-01",
    },
    RegisterContract: {
        "id": "TC-2025-0001",
        "programme": "training-coupon",
        "enterprise": _ENTERPRISE,
        "provider": "pcl",
        "amount": "1000000.00",
        "signed_on": "2025-01-15",
        "from": "2025-02-01",
        "until": "2026-02-01",
        "use": "training",
        "prices": {"ascend-910b": "4.50"},
        "max_devices": {"ascend-910b": 512},
        "related_party": False,
        "other_public_funds": "0.00",
    },
    IssueCoupon: {
        "programme": "training-coupon",
        "enterprise": _ENTERPRISE,
        "year": 2025,
        "amount": "500000.00",
    },
    WithdrawCoupon: {
        "programme": "training-coupon",
        "enterprise": _ENTERPRISE,
        "year": 2025,
        "amount": "1000.00",
        "reason": "returned by the enterprise",
    },
    Document: {
        "payloadType": BATCH_TYPE,
        "payload": base64.b64encode(_PAYLOAD).decode(),
        "signatures": [
            {
                "keyid": _KEYID,
                "sig": "MK51s1+yh8UCX+01DpLO/JEZ9xfBruwu5WwPN0cBsBQ7yWKWqX3xLfCGtWQCEYDb"
                "Urh1T6U227DY5iHB1UWOCQ==",
            }
        ],
    },
    FreezeContract: {"reason": "the provider reported a wrong price"},
    UnfreezeContract: {"reason": "the price was corrected"},
    ReleaseRecord: {
        "provider": "pcl",
        "id": "slurm:4211:0",
        "reason": "the extra cards were enlisted late; lease seen",
    },
    VoidRecord: {
        "provider": "pcl",
        "id": "slurm:4211:0",
        "reason": "found by the auditors",
    },
    RevokeKey: {"reason": "the key's holder left"},
}

# Parameters of paths: type, example, meaning.
PATHS: Final[dict[str, tuple[Any, str, str]]] = {
    "uscc": (Uscc, _ENTERPRISE, "The enterprise's Unified Social Credit Code."),
    "enterprise": (Uscc, _ENTERPRISE, "The enterprise's Unified Social Credit Code."),
    "provider": (Id, "pcl", "The provider's id."),
    "contract": (Id, "TC-2025-0001", "The contract's id."),
    "keyid": (Id, _KEYID, "The name under which the key is registered."),
    "stream": (Id, "cloudbrain-2", "One of the provider's streams of batches."),
    "digest": (Sha256Hex, sha256(_PAYLOAD).hexdigest(), "Hex sha256 of the batch's payload; the receipt's `batch`."),
    "entry": (EntryNumber, "0", "The number of the entry, from 0."),
}

_YUAN: Final = "Yuan with exactly two decimals"
_COUNT: Final = {"minimum": 0, "maximum": 2**53 - 1}
_FROM_BASE64: Final = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

FIELDS: Final[dict[str, dict[str, Any]]] = {
    # what the authority sends
    "reason": {"description": "Why, for the auditors who will read the entry."},
    "programme": {"description": "The measure of the city, e.g. `training-coupon`."},
    "version": {"description": "The version that the policy file names."},
    "content": {
        "description": "The text of a policy file (TOML) that Kashi does not ship; at most"
        " 256 KiB with the rest of the body."
    },
    "uscc": {"description": "The Unified Social Credit Code of the organisation."},
    "name": {"description": "The organisation's name."},
    "devices": {"description": "Whole devices by kind."},
    "enlisted": {"description": "The enlistment batch (入库批次) and its period."},
    "Enlisted.batch": {"description": "The name of the enlistment batch."},
    "from": {"description": "The first day."},
    "until": {"description": "The first day after the period: it is half-open."},
    "provider": {"description": "The provider's id."},
    "keyid": {"description": "The key's name, unique in the ledger."},
    "algorithm": {"description": "The algorithm belongs to the key, never to a header."},
    "public_key": {
        "description": "The 32 raw bytes of the key in base64.",
        "pattern": r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$",
    },
    "RegisterEnterprise.kind": {"description": "What the organisation is."},
    "founded_on": {"description": "The date of its founding, which decides the ratio class."},
    "enterprise": {"description": "The enterprise's Unified Social Credit Code."},
    "amount": {
        "description": f"{_YUAN}, above zero.",
        "pattern": SCHEMAS[Fen]["pattern"].replace("^", r"^(?!0\.00$)", 1),
    },
    "signed_on": {"description": "The date of the signing."},
    "use": {"description": "What is computed; the policy says which uses are eligible."},
    "prices": {"description": "Yuan per device-hour, with up to four decimals, by device kind."},
    "max_devices": {"description": "Rented devices by kind; a kind that is not named has no limit."},
    "related_party": {"description": "Whether enterprise and provider are related parties."},
    "other_public_funds": {"description": f"Other public money for this contract. {_YUAN}."},
    "contract": {"description": "The contract's id."},
    "year": {"description": "A calendar year in Shanghai."},
    "id": {"description": "The id, unique for ever."},
    "ReleaseRecord.id": {"description": "The id of the record."},
    "VoidRecord.id": {"description": "The id of the record."},
    # what a provider sends
    "payloadType": {"const": BATCH_TYPE, "description": "What the payload is."},
    "payload": {
        "pattern": _FROM_BASE64,
        "contentEncoding": "base64",
        "contentMediaType": BATCH_TYPE,
        "contentSchema": {"$ref": "#/components/schemas/Batch"},
        "description": "The batch's exact bytes in standard, padded base64.",
    },
    "signatures": {"minItems": 1, "maxItems": 1, "description": "Exactly one signature."},
    "sig": {
        "pattern": r"^[A-Za-z0-9+/]{85}[AQgw]==$",
        "description": "Ed25519 over `DSSEv1 SP LEN(type) SP type SP LEN(body) SP body`, in base64.",
    },
    "log": {"description": "The origin of the ledger for which the batch was signed."},
    "genesis": {"description": "Hex sha256 of entry 0, checked when it is sent."},
    "stream": {"description": "The provider's name for this sequence of batches."},
    "seq": {"description": "The number of the batch in its stream, from 1, unique for ever."},
    "voids": {"description": "Records to take back; they come before the records."},
    "records": {"description": "What worked for whom, for how long."},
    "Void.id": {"description": "The id of an accepted record."},
    "Record.id": {"description": "The provider's id of the record, unique for ever."},
    "device": {"description": "The kind of device."},
    "milli_devices": {"description": "Thousandths of devices: 8000 is 8 cards, 460 a 0.46 share."},
    "start": {"description": "When it began; the interval is half-open."},
    "end": {"description": "When it ended."},
    "run": {"description": "The job, for people."},
    "state": {"description": "The job's state as the scheduler tells it, for people."},
    "final": {"description": "Whether the job ended with this record, for people."},
    # what is answered
    "Receipt.batch": {"description": "Hex sha256 of the payload."},
    "before": {"description": "The tree on which the group of this batch was built."},
    "Receipt.entries": {"description": "Where the batch's entries are in the ledger."},
    "Receipt.voids": {"description": "What became of each void, in order."},
    "results": {"description": "What became of each record, in order."},
    "Before.size": {"description": "Number of entries.", **_COUNT},
    "Before.root": {"description": "The Merkle root over them (RFC 9162), in base64."},
    "first": {"description": "The number of the batch's own entry.", **_COUNT},
    "count": {"description": "How many entries.", **_COUNT},
    "status": {"description": "What became of it."},
    "entry": {"description": "The number of the entry.", **_COUNT},
    "cost": {"description": f"What the usage costs. {_YUAN}; signed where it is a change."},
    "entitled": {"description": f"What ratio and limits allow. {_YUAN}."},
    "granted": {"description": f"What the coupon pays. {_YUAN}."},
    "uncovered": {"description": f"Entitled, but not granted. {_YUAN}."},
    "withheld": {"description": f"Cost of usage beyond the capacity that is known. {_YUAN}."},
    "by_year": {"description": "The change of what is granted, by year of the coupon."},
    "bound": {"description": "What limits the contract after this entry."},
    "code": {"description": "The stable code of the reason; programs branch on it."},
    "Rejected.code": {
        "enum": list(dict.fromkeys((*RECORD_CODES, *VOID_CODES))),
        "description": "The first rule that said no.",
    },
    "detail": {"description": "The facts of this case, in a sentence."},
    "issued": {"description": f"What the coupon holds in all. {_YUAN}."},
    "remaining": {"description": f"Issued, but not granted. {_YUAN}."},
    "cap": {"description": f"What one enterprise may get in the year. {_YUAN}."},
    "contracts": {"description": "Each contract's share."},
    "as_of": {"description": "How much of the ledger this answer includes."},
    "BalanceQuery.as_of": {
        "anyOf": [
            {"type": "string", "pattern": r"^(?:[1-9][0-9]{0,15})?$"},
            {"type": "string", "format": "date-time"},
        ],
        "description": "A past size of the ledger, or an instant; without it, now.",
        "examples": ["2030-01-01T00:00:00+08:00"],
    },
    "AsOf.entries": {"description": "The number of entries that are included.", **_COUNT},
    "time": {"description": "The instant of the last of them.", "format": "date-time"},
    "policy": {"description": "The version of the policy that was in force."},
    "class": {"description": "The ratio class, fixed when the contract is registered."},
    "frozen": {"description": "Whether new records are refused."},
    "years": {"description": "What the contract has in each year."},
    "number": {"description": "The number of the entry, from 0.", **_COUNT},
    "leaf_hash": {
        "description": "Hex sha256 of 0x00 and the entry's bytes (RFC 9162 section 2.1.1).",
        "pattern": r"^[0-9a-f]{64}$",
    },
    "EntryView.entry": {"description": "The entry's canonical bytes (RFC 8785), as they are."},
    "EntryPage.entries": {"description": "Entries in order."},
    "EntryPage.next": {"description": "The `after` of the next page."},
    "EntriesQuery.after": {"description": "The number of the entry before the page; -1 begins."},
    "limit": {"description": "How many at most."},
}

# What a person or a program does about each problem.
REMEDIES: Final[dict[str, str]] = {
    "malformed": "Mend the request as `detail` says; sent again as it is, it fails again.",
    "bad_envelope": "Send one DSSE envelope with one signature, base64 in its canonical spelling.",
    "bad_batch": "Mend the payload as `detail` says, sign it anew; its number is still free.",
    "bad_policy": "Mend the policy file as `detail` says.",
    "unauthorized": "Send `Authorization: Bearer <token>` with a token that has neither expired nor"
    " been revoked.",
    "unknown_key": "Have the authority register the key, or use the `keyid` under which it is"
    " registered.",
    "bad_signature": "Sign the exact payload bytes, with type and lengths in front (DSSE), using the"
    " private half of the registered key.",
    "key_revoked": "Sign with another registered key. A batch that was taken before is still"
    " answered.",
    "forbidden": "Use a token of one of the roles that the operation names.",
    "provider_mismatch": "Sign with a key of the provider that the payload names.",
    "not_found": "Check the spelling. What belongs to another is not shown either.",
    "method_not_allowed": "Use a method that the `Allow` header names.",
    "too_large": "Send less at once: batches up to 8 MiB and 5,000 records and voids, commands up to"
    " 256 KiB.",
    "unsupported_encoding": "Send the body without `Content-Encoding`.",
    "wrong_log": "Sign for the `log` that this service's checkpoint names.",
    "wrong_genesis": "The ledger of this name was made anew: compare `genesis` with entry 0, and ask"
    " the authority.",
    "seq_conflict": "The number holds another batch: sign what is new under the next free number.",
    "idempotency_key_needed": "Send `Idempotency-Key`, a fresh one with each new command, the same"
    " one with each repetition.",
    "idempotency_conflict": "The key belongs to another request: use a fresh key for a new command.",
    "exists_differently": "Compare with the entry that `entry` or `detail` names; choose another id"
    " if both are meant.",
    "role_conflict": "One organisation cannot be both: check the USCC.",
    "unknown_policy": "Kashi ships no such file: check programme and version, or send `content`.",
    "unknown_programme": "Activate a policy of the programme first, or check the name.",
    "unknown_provider": "Register the provider first, or check the id.",
    "unknown_enterprise": "Register the enterprise first, or check the USCC.",
    "unknown_contract": "Register the contract first, or check the id.",
    "unknown_record": "Check the provider and the record's id; a rejected record has none.",
    "unknown_year": "Choose a year that the policy's validity touches.",
    "bad_dates": "Mend the dates as `detail` says: periods are half-open and not empty.",
    "too_many_contracts": "The enterprise's contracts of the programme have reached the limit; none"
    " can be added.",
    "already_revoked": "Nothing is left to do.",
    "already_frozen": "Nothing is left to do.",
    "not_frozen": "Nothing is left to do.",
    "already_voided": "Nothing is left to do.",
    "nothing_withheld": "Nothing is left to do: all of the record counts.",
    "already_released": "Nothing is left to do.",
    "below_threshold": "Register the enterprise's further contracts of the year first, if there are"
    " any.",
    "cap_exceeded": "Issue less: `detail` names the cap.",
    "pool_exceeded": "Issue less: `detail` names what is left in the pool.",
    "below_granted": "Withdraw less: what is granted stays.",
    "pool_below_issued": "Raise the pool in the policy file: more was issued from it.",
    "busy": "Send the same again after `Retry-After` seconds.",
    "unavailable": "Send the same again after `Retry-After` seconds; nothing is counted twice.",
    "internal": "The fault was logged: tell the operator the time. Sending the same again is safe.",
}
