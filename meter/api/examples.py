"""What the types of the API cannot say: meanings of fields, examples, what to do on a problem.

Examples are those of the README: posted in order they tell its story, which a test does. The
example key was thrown away when it had signed.
"""

import base64
import json
from hashlib import sha256
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from meter.rules.commands import (
    ActivatePolicy,
    AddLogKey,
    AddReceiptKey,
    ConfirmProposal,
    EndPerson,
    EndProposal,
    EndToken,
    EnlistProvider,
    FreezeContract,
    IssueCoupon,
    MakeToken,
    Propose,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterPerson,
    RegisterProvider,
    ReleaseRecord,
    RetireLogKey,
    RetireReceiptKey,
    RevokeKey,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.rules.two_persons import PROPOSABLE
from meter.values.strict import SCHEMAS, Fen, Id, Lines, Number, Uscc
from meter.wire.batch import Sha256Hex
from meter.wire.dsse import BATCH_TYPE, Document

EntryNumber = Annotated[str, Meta(pattern=r"^[0-9]{1,15}$")]

_ENTERPRISE: Final = "91440300708461136T"
_KEYID: Final = "pcl-2025a"
_VKEY: Final = "kashi.example/shenzhen+66f54c2a+Aexmc8I8Ouv5dKeNg2zsGNI55/rN5ItC696XYSLENCsI"

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
BODIES: Final[dict[type[Struct], dict[str, Any]]] = {
    Propose: {"command": "person", "body": {"id": "li"}},
    ConfirmProposal: {},
    EndProposal: {},
    RegisterPerson: {"id": "zhao"},
    MakeToken: {"id": "li-2", "holder": "li"},
    EndToken: {"reason": "the phone was lost"},
    EndPerson: {"reason": "li has left the office"},
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
        "public_key": "F0f51xJwKaBhlW03swOzHY7sfjUcfxbqA+eWordWbvI=",
        "proof": "JtrFSmjm15FPFRUi9PnppfvN6nOkowBWt7/3YrxDBjQVZvPLX1RNS4OZiECz1yOi"
        "80Zd8yxbApp74ZZvHlIMAQ==",
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
                "sig": "Hh8P7BRXq+HyyWAD0vBEH30XtA7ltfW/g/N0jRZtSLqJNT/1h+GWsHyjqwTLBvKg"
                "u/6lp+Vs5QlNH9eE8hP8Ag==",
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
    RevokeKey: {
        "suspected_since": "2025-02-20T00:00:00+08:00",
        "reason": "the key's holder left",
    },
    AddLogKey: {"vkey": _VKEY},
    RetireLogKey: {"vkey": _VKEY, "reason": "the yearly rotation"},
    AddReceiptKey: {
        "keyid": "receipt-2",
        "algorithm": "ed25519",
        "public_key": "bWdzNLMuCp3SWSaE1UH3AyQYfTcGojvdMrp3L7PnWsc=",
    },
    RetireReceiptKey: {"keyid": "receipt-2", "reason": "the yearly rotation"},
}

# Parameters of paths: type, example, meaning.
PATHS: Final[dict[str, tuple[Any, str, str]]] = {
    "uscc": (Uscc, _ENTERPRISE, "The enterprise's Unified Social Credit Code."),
    "enterprise": (Uscc, _ENTERPRISE, "The enterprise's Unified Social Credit Code."),
    "provider": (Id, "pcl", "The provider's id."),
    "contract": (Id, "TC-2025-0001", "The contract's id."),
    "keyid": (Id, _KEYID, "The name under which the key is registered."),
    "id": (Id, "li", "The person's id."),
    "token": (Id, "li-2", "The token's id."),
    "proposal": (Number, "1", "The number of the proposal's entry."),
    "stream": (Id, "cloudbrain-2", "One of the provider's streams of batches."),
    "digest": (
        Sha256Hex,
        sha256(_PAYLOAD).hexdigest(),
        "Hex sha256 of the batch's payload; the receipt's `batch`.",
    ),
    "entry": (EntryNumber, "0", "The number of the entry, from 0."),
    "level": (str, "0", "The level of a tile of hashes, 0 over the entries."),
    "tile": (str, "000.p/1", "The path of the tile, e.g. `x001/234` or `000.p/7` (tlog-tiles)."),
}

_YUAN: Final = "Yuan with exactly two decimals"
_COUNT: Final = {"minimum": 0, "maximum": 2**53 - 1}
_FROM_BASE64: Final = (
    r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
)

# By the field's name as JSON has it, or `Struct.field` where one name means two things.
MEANINGS: Final[dict[str, str]] = {
    # commands of the authority
    "reason": "Why, for the auditors who will read the entry.",
    "programme": "The measure of the city, e.g. `training-coupon`.",
    "version": "The version that the policy file names.",
    "content": (
        "The text of a policy file (TOML) that Kashi does not ship; at most"
        " 256 KiB with the rest of the body."
    ),
    "uscc": "The Unified Social Credit Code of the organisation.",
    "name": "The organisation's name.",
    "devices": "Whole devices by kind.",
    "enlisted": "The enlistment batch (入库批次) and its period.",
    "Enlisted.batch": "The name of the enlistment batch.",
    "from": "The first day.",
    "until": "The first day after the period: it is half-open.",
    "provider": "The provider's id.",
    "keyid": "The key's name, unique in the ledger.",
    "algorithm": "The algorithm belongs to the key, never to a header.",
    "public_key": "The 32 raw bytes of the key in base64.",
    "RegisterKey.proof": "The key's own signature over `kashi key possession`, log, provider and"
    " keyid, each ended by a line feed, in base64.",
    "vkey": "The log's key as `signed-note` writes it: name, id and base64, joined by `+`.",
    "suspected_since": "The instant since which others may have the key; not in the future.",
    "RegisterEnterprise.kind": "What the organisation is.",
    "founded_on": "The date of its founding, which decides the ratio class.",
    "enterprise": "The enterprise's Unified Social Credit Code.",
    "amount": f"{_YUAN}, above zero.",
    "signed_on": "The date of the signing.",
    "use": "What is computed; the policy says which of these uses are eligible.",
    "programmes": "The programmes that draw on the pool: its owner's and those that share it.",
    "prices": "Yuan per device-hour, with up to four decimals, by device kind.",
    "max_devices": "Rented devices by kind; a kind that is not named has no limit.",
    "related_party": "Whether enterprise and provider are related parties.",
    "other_public_funds": f"Other public money for this contract. {_YUAN}.",
    "contract": "The contract's id.",
    "year": "A calendar year in Shanghai.",
    "id": "The id, unique for ever.",
    "RegisterPerson.id": "An id of the person; it need not be the name.",
    "MakeToken.id": "The token's id, which stands in the entries that are made with it.",
    "ReleaseRecord.id": "The id of the record.",
    "VoidRecord.id": "The id of the record.",
    "holder": "The person who holds the token.",
    "command": "The kind of the entry that the command makes.",
    "body": "The JSON of the command's own POST, with what stands in its URL.",
    # batches of a provider
    "payloadType": "What the payload is.",
    "payload": "The batch's exact bytes in standard, padded base64.",
    "signatures": "Exactly one signature.",
    "Signature": "A signature and the name of its key.",
    "sig": "Ed25519 over `DSSEv1 SP LEN(type) SP type SP LEN(body) SP body`, in base64.",
    "log": "The origin of the ledger for which the batch was signed.",
    "genesis": "Hex sha256 of entry 0, checked when it is sent.",
    "stream": "The provider's name for this sequence of batches.",
    "seq": "The number of the batch in its stream, from 1, unique for ever.",
    "voids": "Records to take back; they come before the records.",
    "records": "Usage: a device, a contract, a period.",
    "Void.id": "The id of an accepted record.",
    "Record.id": "The provider's id of the record, unique for ever.",
    "device": "The kind of device.",
    "milli_devices": "Thousandths of devices: 8000 is 8 cards, 460 a 0.46 share.",
    "start": "When it began; the interval is half-open.",
    "end": "When it ended.",
    "run": "The job, for people.",
    "state": "The job's state as the scheduler tells it, for people.",
    "final": "Whether the job ended with this record, for people.",
    # responses
    "Receipt.batch": "Hex sha256 of the payload.",
    "before": "The tree on which the group of this batch was built.",
    "Receipt.entries": "Where the batch's entries are in the ledger.",
    "Receipt.voids": "The result of each void, in order.",
    "results": "The result of each record, in order.",
    "Before.size": "Number of entries.",
    "Before.root": "The Merkle root over them (RFC 9162), in base64.",
    "first": "The number of the batch's own entry.",
    "count": "How many entries.",
    "status": "The result.",
    "entry": "The number of the entry.",
    "cost": f"What the usage costs. {_YUAN}; signed where it is a change.",
    "entitled": f"What ratio and limits allow. {_YUAN}.",
    "granted": f"What the coupon pays. {_YUAN}.",
    "uncovered": f"Entitled, but not granted. {_YUAN}.",
    "withheld": f"Cost of usage beyond the capacity that is known. {_YUAN}.",
    "by_year": "The change of what is granted, by year of the coupon.",
    "bound": "What limits the contract after this entry.",
    "code": "The stable code of the reason; programs branch on it.",
    "Rejected.code": "The first rule that said no.",
    "detail": "The facts of this case, in a sentence.",
    "issued": f"What the coupon holds in all. {_YUAN}.",
    "remaining": f"Issued, but not granted. {_YUAN}.",
    "cap": f"What one enterprise may get in the year, where there is a limit. {_YUAN}.",
    "contracts": "Each contract's share.",
    "as_of": "How much of the ledger this response includes.",
    "BalanceQuery.as_of": "A past size of the ledger, or an instant; without it, now.",
    "AsOf.entries": "The number of entries that are included.",
    "time": "The instant of the last of them.",
    "policy": "The version of the policy that was in force.",
    "class": "The ratio class, fixed when the contract is registered.",
    "MadeEntry.until": "The instant from which the proposal cannot be confirmed.",
    "warnings": "Terms that are lawful and fund nothing, each after the name of its field.",
    "frozen": "Whether new records are refused.",
    "years": "What the contract has in each year.",
    "number": "The number of the entry, from 0.",
    "leaf_hash": "Hex sha256 of 0x00 and the entry's bytes (RFC 9162 section 2.1.1).",
    "EntryView.entry": "The entry's canonical bytes (RFC 8785), as they are.",
    "EntryPage.entries": "Entries in order.",
    "questions": "The questions of the entries that were searched.",
    "QuestionView.kind": "What was found.",
    "QuestionView.contracts": "The contracts concerned; none where any may be.",
    "QuestionView.count": "How often it was found.",
    "QuestionView.entries": "The numbers of the first entries that show it.",
    "QuestionPage.next": "The `after` of what follows: the number of an entry.",
    "QuestionsQuery.after": "The number of the entry before those that are searched; -1 begins.",
    "EntryPage.next": "The `after` of the next page: the number of an entry.",
    # pages
    "next": "The `after` of the next page; to a client it means nothing else.",
    "more": "Whether the next page holds anything now.",
    "after": "The `next` of the page before; empty for the first page.",
    "EntriesQuery.after": "The number of the entry before the page; -1 begins.",
    "EventsQuery.after": "The id of the event that was seen last, as in `Last-Event-ID`; -1 is"
    " before all. Without either the stream begins with what comes next.",
    "limit": "How many at most.",
    "coupons": "The coupons of the page.",
    "enterprises": "The enterprises of the page.",
    "gaps": "The gaps of the page.",
    "pools": "The pools of the page.",
    "providers": "The providers of the page.",
    "refused": "The refused or withheld records of the page.",
    "rejected": "The refusals of the page.",
    "streams": "The streams of the page.",
    "usage": "Days and device kinds of the page.",
    "total": "The totals of the whole list; present on its last page.",
    "rounding": "Total less the sum of all lines, which are rounded each for itself.",
    "line": "What the line is: a record, or what voided or released it.",
    "RecordView.record": "The number of the record's entry, where the line is another one.",
    "UsagePage.total": "Of the whole list; on its last page.",
    "UsagePage.rounding": "Device-hours of the total, less those of all lines.",
    # filters, and what is shown
    "kind": "The kind of the entry.",
    "EnterpriseView.kind": "What the organisation is.",
    "record": "The provider's id of a record.",
    "batch": "Hex sha256 of the batch's payload.",
    "EnlistmentView.batch": "The name of the enlistment batch (入库批次).",
    "enlistments": "Its enlistments, batch by batch.",
    "keys": "Its signing keys.",
    "revoked": "Whether new batches under the key are refused.",
    "suspects": "The batches of the page.",
    "persons": "The persons of the page.",
    "PersonView.id": "The person's id; the name stays outside the ledger.",
    "PersonView.tokens": "The ids of the tokens that have not ended.",
    "ended": "The number of the entry that ended the person.",
    "proposals": "The proposals of the page.",
    "ProposalView.time": "When it was made.",
    "ProposalView.until": "The instant from which it cannot be confirmed.",
    "ProposalView.reason": "Why it was proposed.",
    "ProposalView.status": "What became of it.",
    "ProposalsQuery.status": "What became of them.",
    "closed": "The number of the entry that confirmed or ended it.",
    "person": "The person of the authority.",
    "tokens": "The tokens of the page.",
    "TokenView.id": "The token's id, which the entries name that were made with it.",
    "role": "For whom the token is.",
    "subject": "A provider's id, an enterprise's USCC, else empty.",
    "made_at": "When it was made.",
    "expires_at": "From when it opens nothing.",
    "used_at": "When it was last used, to about a minute.",
    "revoked_at": "When it was revoked.",
    "SuspectView.seq": "The number of the batch in its stream.",
    "SuspectView.time": "When it was taken.",
    "counting": "How many of its records still count: they were accepted and are not voided.",
    "left": f"What can still be issued. {_YUAN}.",
    "PoolView.amount": f"The money of the year. {_YUAN}.",
    "StreamView.last": "The highest number of the stream.",
    "GapPage.last": "The highest number of the stream.",
    "Gap.first": "The first number that is missing.",
    "Gap.last": "The last number that is missing.",
    "batches": "How many batches are there.",
    "missing": "How many numbers below the highest have no batch.",
    "what": "What was refused: a record, a void, or the whole batch.",
    "retry": "Whether time alone can mend it: send the same record again later.",
    "advice": "What to do about it.",
    "voided": "The number of the entry that took it back.",
    "released": "The number of the entry that let its withheld part count.",
    "date": "A day in Shanghai.",
    "milli_device_seconds": "Thousandths of a device × seconds, exact, as text.",
    "device_hours": "Device-hours with four decimals.",
    "WithheldView.amount": f"What the withheld part costs. {_YUAN}.",
    "evidence": "Which limit had no room, and when.",
    # what proves a batch
    "wait": "`published`: respond only when a published checkpoint covers the batch.",
    "StoredReceipt.kind": "The form of this file.",
    "envelope": "The batch as it was posted: a text whose UTF-8 are the very bytes.",
    "receipt": "The answer to it, as a text like the envelope.",
    "signature": "The `Kashi-Signature` of the receipt.",
    "proof": "What a published checkpoint proves.",
    "checkpoint": "The signed note, as it was published.",
    "ReceiptProof.before": "Hashes from the receipt's `before` to the checkpoint's root, in base64"
    " (RFC 9162 section 2.1.4).",
    "ReceiptProof.entries": "The batch's own entry, then those that name the keys of receipt and"
    " batch.",
    "ProvedEntry.index": "The number of the entry.",
    "ProvedEntry.entry": "The entry's canonical bytes, as a text.",
    "hashes": "Hashes from the entry to the checkpoint's root, in base64 (RFC 9162 section 2.1.3).",
}

# Limits beyond the type, by the same names.
NARROWED: Final[dict[str, dict[str, Any]]] = {
    "public_key": {"pattern": r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$"},
    "RegisterKey.proof": {"pattern": r"^[A-Za-z0-9+/]{85}[AQgw]==$"},
    "amount": {"pattern": SCHEMAS[Fen]["pattern"].replace("^", r"^(?!0\.00$)", 1)},
    "Propose.command": {"enum": list(PROPOSABLE)},
    "ProposalsQuery.status": {"examples": ["open"]},
    "payloadType": {"const": BATCH_TYPE},
    "payload": {
        "pattern": _FROM_BASE64,
        "contentEncoding": "base64",
        "contentMediaType": BATCH_TYPE,
        "contentSchema": {"$ref": "#/components/schemas/Batch"},
    },
    "signatures": {"minItems": 1, "maxItems": 1},
    "sig": {"pattern": r"^[A-Za-z0-9+/]{85}[AQgw]==$"},
    "Before.size": _COUNT,
    "first": _COUNT,
    "count": _COUNT,
    "entry": _COUNT,
    "BalanceQuery.as_of": {
        "anyOf": [
            {"type": "string", "pattern": r"^(?:[1-9][0-9]{0,15})?$"},
            {"type": "string", "format": "date-time"},
        ],
        "examples": ["2030-01-01T00:00:00+08:00"],
    },
    "AsOf.entries": _COUNT,
    "time": {"format": "date-time"},
    "number": _COUNT,
    "leaf_hash": {"pattern": r"^[0-9a-f]{64}$"},
    "ProvedEntry.index": _COUNT,
    "ReceiptProof.checkpoint": {"pattern": SCHEMAS[Lines]["pattern"]},
}

# Of parameters in a query, where neither a default nor a schema has an example.
QUERIES: Final[dict[str, Any]] = {
    "programme": "training-coupon",
    "year": 2025,
    "enterprise": _ENTERPRISE,
    "provider": "pcl",
    "contract": "TC-2025-0001",
    "record": "slurm:4211:0",
    "batch": sha256(_PAYLOAD).hexdigest(),
    "kind": "usage",
    "status": "accepted",
    "from": "2025-03-01",
    "until": "2025-04-01",
    "after": "",
    "wait": "published",
    "role": "authority",
}

# What a person or a program does about each problem.
REMEDIES: Final[dict[str, str]] = {
    "malformed": "Mend the request as `detail` says; sent again as it is, it fails again.",
    "bad_envelope": "Send one DSSE envelope with one signature, base64 in its canonical spelling.",
    "bad_batch": "Mend the payload as `detail` says, sign it anew; its number is still free.",
    "bad_policy": "Mend the policy file as `detail` says.",
    "unauthorized": "Send `Authorization: Bearer <token>` with a token that has neither expired nor"
    " been revoked.",
    "bad_signature": "Sign the exact payload bytes, with type and lengths in front (DSSE), with"
    " the private half of the key that the authority has registered under this `keyid`.",
    "key_revoked": "Sign with another registered key. A batch that was taken before is still"
    " answered.",
    "forbidden": "Use a token of one of the roles that the operation names.",
    "provider_mismatch": "Sign with a key of the provider that the payload names.",
    "not_found": "Check the spelling. What belongs to another is not shown either.",
    "method_not_allowed": "Use a method that the `Allow` header names.",
    "request_timeout": "Send the same again, or less at once: `detail` names the time that a body"
    " may take.",
    "too_large": "Send less at once: batches up to 8 MiB and 5,000 records and voids, commands"
    " up to 256 KiB.",
    "unsupported_encoding": "Send the body without `Content-Encoding`, and with no other"
    " `Transfer-Encoding` than `chunked`.",
    "expectation_failed": "Send the request without `Expect`, or with `Expect: 100-continue`.",
    "wrong_log": "Sign for the `log` that this service's checkpoint names.",
    "wrong_genesis": "The ledger of this name was made anew: compare `genesis` with entry 0, and"
    " ask the authority.",
    "seq_conflict": "The number holds another batch: sign new records under the next free number.",
    "moved": "Begin again with the first page; a larger `limit`, or a filter, needs fewer pages.",
    "idempotency_key_needed": "Send `Idempotency-Key`, a fresh one with each new command, the same"
    " one with each repetition.",
    "idempotency_conflict": "The key is another request's: use a fresh key for a new command.",
    "weak_key": "Make a key with an Ed25519 program and send its public half: 32 bytes, in base64.",
    "bad_proof": "Sign the text that `detail` shows with the private half of the key that is"
    " registered, as `kashi provider keygen` does.",
    "exists_differently": "Compare with the entry that `entry` or `detail` names; choose another id"
    " if both are meant.",
    "looks_alike": "Use the spelling that `detail` names if that one is meant; else choose an id"
    " that nobody takes for it.",
    "unsupported_section": "Leave out the section that `section` names, or wait for a version that"
    " carries it out.",
    "pool_owner": "Name the pool's owner, which stays the same in all versions of a programme.",
    "not_applicant": "Check the programme and the enterprise's `kind`: `detail` names those that it"
    " funds.",
    "wrong_meter": "Check the programme: `detail` says what it funds.",
    "role_conflict": "One organisation cannot be both: check the USCC.",
    "unknown_policy": "Kashi ships no such file: check programme and version, or send `content`.",
    "unknown_programme": "Activate a policy of the programme first, or check the name.",
    "unknown_provider": "Register the provider first, or check the id.",
    "unknown_enterprise": "Register the enterprise first, or check the USCC.",
    "unknown_contract": "Register the contract first, or check the id.",
    "unknown_record": "Check the provider and the record's id; a rejected record has none.",
    "unknown_year": "Choose a year that the policy's validity touches.",
    "bad_dates": "Mend the date that `field` names as `detail` says: periods are half-open and not"
    " empty, and a signing or a founding lies in the past.",
    "too_many_contracts": "The enterprise's contracts of the programme have reached the limit; none"
    " can be added.",
    "already_revoked": "Nothing is left to do.",
    "already_retired": "Nothing is left to do.",
    "last_key": "Add another key first, then retire this one.",
    "overlap_open": "Retire the key that `detail` names first.",
    "key_not_here": "Make the key with `kashi key new` in the service's data folder, and name the"
    " public half that it prints.",
    "two_persons_needed": "Send it to /v1/proposals as the `body` of `command`; another person then"
    " confirms it.",
    "same_person": "Let another person confirm it, with a token of that person.",
    "not_its_maker": "Let the person who made it end it, or leave it: it ends after 30 days.",
    "unknown_person": "Register the person first, or check the id.",
    "unknown_token": "Check the id; `GET /v1/persons` lists the tokens.",
    "unknown_proposal": "Check the number; `GET /v1/proposals` lists them.",
    "proposal_closed": "Nothing is left to do if it was confirmed; else propose it again.",
    "already_ended": "Nothing is left to do; an id that has ended does not come back.",
    "last_person": "Register another person first.",
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
    "no_budget": "Set the year's budget first: the policy states no sum.",
    "busy": "Send the same again after `Retry-After` seconds.",
    "not_published": "Ask again after `Retry-After` seconds; usually it takes a quarter of one. A"
    " batch is committed all the same, and posting it again gives its stored receipt.",
    "unavailable": "Send the same again after `Retry-After` seconds; nothing is counted twice.",
    "internal": "The fault was logged: report its time to the operator. Sending again is safe.",
}
