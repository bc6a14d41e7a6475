"""Examples of bodies, paths and queries of the API.

They are those of the README: posted in order they tell its story, which a test does. The example
key was thrown away when it had signed.
"""

import base64
import json
from hashlib import sha256
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from meter.api.alert_responses import AddTarget, ReplayAlert, TestTarget, TurnTarget
from meter.api.preview_responses import PreviewCommand
from meter.rules.commands import (
    ActivatePolicy,
    AddLogKey,
    AddReceiptKey,
    AllocatePool,
    AmendContract,
    AmendEnterprise,
    AmendProvider,
    ApproveClaim,
    AuditProject,
    ChangeAward,
    CheckClaim,
    CloseMonth,
    CloseYear,
    ConfirmMonth,
    ConfirmProposal,
    DismissDispute,
    DisputeRecord,
    EndClaim,
    EndPerson,
    EndProposal,
    EndToken,
    EnlistProvider,
    EnterClaim,
    EnterObjection,
    EnterRedInvoice,
    ExpireCoupons,
    ForfeitGrant,
    FreezeContract,
    FundContract,
    FundProject,
    IssueCoupon,
    MakeAward,
    MakeToken,
    NoticeClaim,
    OpenLateWindow,
    OrderClaim,
    PayClaim,
    Propose,
    RecoverDebt,
    RegisterContract,
    RegisterEnterprise,
    RegisterKey,
    RegisterPerson,
    RegisterProject,
    RegisterProvider,
    ReleaseRecord,
    ResolveObjection,
    RetireLogKey,
    RetireReceiptKey,
    ReturnPayment,
    RevokeClaim,
    RevokeKey,
    SetBudget,
    SucceedEnterprise,
    UnfreezeContract,
    VoidRecord,
    WithdrawCoupon,
)
from meter.values.strict import Id, MonthText, Number, Uscc
from meter.wire.batch import Sha256Hex
from meter.wire.dsse import BATCH_TYPE, Document

EntryNumber = Annotated[str, Meta(pattern=r"^[0-9]{1,15}$")]

_ENTERPRISE: Final = "91440300708461136T"
_SUCCESSOR: Final = "91440300000000022N"
_INVOICE: Final = "25442000000000000017"
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
        "contract_no": "深算租〔2025〕001号",
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
    },
    FundContract: {
        "reference": "深龙科创〔2025〕3号",
        "level": "district",
        "amount": "100000.00",
        "document": "区级资助拨付通知",
    },
    SetBudget: {
        "programme": "training-coupon",
        "year": 2025,
        "amount": "400000000.00",
        "document": "深科创〔2025〕12号",
    },
    RegisterProject: {
        "id": "PJ-2025-0001",
        "title": "大模型应用迁移适配",
        "audited_investment": "6000000.00",
    },
    AuditProject: {"amount": "5800000.00", "document": "审计报告 2025-031"},
    FundProject: {
        "reference": "深南工信〔2025〕7号",
        "level": "district",
        "amount": "1000000.00",
        "document": "区级资助拨付通知",
    },
    MakeAward: {
        "id": "AW-2025-0001",
        "programme": "adaptation",
        "enterprise": _ENTERPRISE,
        "project": "PJ-2025-0001",
        "year": 2025,
        "base": "5000000.00",
        "amount": "1500000.00",
        "document": "评审意见 2025-118",
    },
    ChangeAward: {"amount": "1200000.00", "reason": "the audit found a smaller cost"},
    IssueCoupon: {
        "programme": "training-coupon",
        "enterprise": _ENTERPRISE,
        "year": 2025,
        "amount": "400000.00",
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
    EnterClaim: {
        "id": "CL-2025-0001",
        "item": "TC-2025-0001",
        "year": 2025,
        "amount": "100.00",
        "invoices": [
            {
                "number": _INVOICE,
                "issued_on": "2025-03-01",
                "seller": "91350100M000100Y43",
                "buyer": _ENTERPRISE,
                "amount": "288.00",
                "tax": "16.30",
                "part": "288.00",
                "sha256": sha256(b"the invoice").hexdigest(),
            }
        ],
        "payments": [
            {
                "bank": "102584000002",
                "reference": "2025030100017",
                "paid_on": "2025-03-01",
                "amount": "288.00",
                "part": "288.00",
            }
        ],
        "delivery": sha256(b"the acceptance").hexdigest(),
    },
    CheckClaim: {"reason": "compared with the invoice and the bank's note"},
    ApproveClaim: {"amount": "100.00", "disallowed": [[_INVOICE, "8.00"]]},
    NoticeClaim: {
        "from": "2025-03-01",
        "until": "2025-03-08",
        "url": "https://city.example/notices/2025-17",
    },
    EnterObjection: {"sha256": sha256(b"the objection").hexdigest()},
    ResolveObjection: {"outcome": "dismissed", "reason": "the invoice was seen"},
    OrderClaim: {},
    PayClaim: {"bank_reference": "2025031000009", "paid_on": "2025-03-01"},
    ReturnPayment: {"returned_on": "2025-03-01", "reason": "the account was closed"},
    EnterRedInvoice: {
        "number": _INVOICE,
        "red_number": "25442000000000000018",
        "confirmation": "44010025030000000001",
        "year": 2025,
        "amount": "88.00",
        "refunded": "88.00",
        "issued_on": "2025-03-01",
    },
    ForfeitGrant: {"year": 2025, "amount": "4.00", "reason": "cards were sublet"},
    RecoverDebt: {
        "item": "TC-2025-0001",
        "year": 2025,
        "amount": "6.00",
        "bank_reference": "2025040100002",
    },
    RevokeClaim: {"reason": "the objection was right"},
    EndClaim: {"outcome": "withdrawn"},
    AmendEnterprise: {
        "name": "深圳某某智能",
        "document": "准予变更登记通知书",
        "reason": "the firm has another name",
    },
    AmendProvider: {
        "name": "鹏城国家实验室",
        "document": "更名批复",
        "reason": "the centre has another name",
    },
    AmendContract: {
        "mode": "supplement",
        "effective": "2025-03-01",
        "signed_on": "2025-02-20",
        "amount": "1200000.00",
        "prices": {"ascend-910b": "4.00"},
        "document": "补充协议 TC-2025-0001-1",
        "reason": "the parties agreed on a lower price",
    },
    AllocatePool: {
        "programme": "training-coupon",
        "year": 2025,
        "requests": [[_ENTERPRISE, "1000.00"]],
    },
    ExpireCoupons: {"programme": "training-coupon", "year": 2025},
    CloseYear: {"programme": "training-coupon", "year": 2025},
    CloseMonth: {
        "waiver": {"person": "clerk-a", "reason": "the stream was replaced, nothing ran"},
    },
    ConfirmMonth: {"enterprise": _ENTERPRISE},
    DisputeRecord: {
        "contract": "TC-2025-0001",
        "provider": "pcl",
        "id": "slurm:4211:0",
        "reason": "the job ran for half an hour only",
    },
    DismissDispute: {
        "provider": "pcl",
        "id": "slurm:4211:0",
        "reason": "the scheduler's own log shows the whole hour",
    },
    SucceedEnterprise: {
        "successor": _SUCCESSOR,
        "effective": "2025-02-28",
        "document": "工商变更通知书 2025-118",
    },
    FreezeContract: {"reason": "the provider reported a wrong price"},
    OpenLateWindow: {
        "from": "2025-02-01",
        "until": "2025-02-15",
        "open_until": "2025-04-01",
        "reason": "usage was booked on another contract",
    },
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
    PreviewCommand: {
        "command": "freeze",
        "body": {"contract": "TC-2025-0001", "reason": "usage was booked on another contract"},
    },
    AddTarget: {
        "means": "webhook",
        "address": "https://hooks.example/alerts",
        "language": "en",
        "kinds": ["used_80", "expiry"],
    },
    TestTarget: {},
    TurnTarget: {"on": True},
    ReplayAlert: {},
}

# Parameters of paths: type, example, meaning.
PATHS: Final[dict[str, tuple[Any, str, str]]] = {
    "uscc": (Uscc, _ENTERPRISE, "The enterprise's Unified Social Credit Code."),
    "enterprise": (Uscc, _ENTERPRISE, "The enterprise's Unified Social Credit Code."),
    "provider": (Id, "pcl", "The provider's id."),
    "contract": (Id, "TC-2025-0001", "The contract's id."),
    "month": (MonthText, "2025-02", "A month of Shanghai, `YYYY-MM`."),
    "award": (Id, "AW-2025-0001", "The award's id."),
    "project": (Id, "PJ-2025-0001", "The project's id."),
    "keyid": (Id, _KEYID, "The name under which the key is registered."),
    "id": (Id, "li", "The person's id."),
    "token": (Id, "li-2", "The token's id."),
    "claim": (Id, "CL-2025-0001", "The claim's id."),
    "item": (Id, "TC-2025-0001", "The id of a contract or an award."),
    "objection": (Number, "30", "The number of the objection's entry."),
    "proposal": (Number, "1", "The number of the proposal's entry."),
    "target": (Id, "tgt_5f0c1ab27d3e49668a90b1c2d3e4f506", "The target's id."),
    "alert": (Id, "msg_9d8e7f60415243a4b5c6d7e8f9010203", "The message's id."),
    "stream": (Id, "cloudbrain-2", "One of the provider's streams of batches."),
    "digest": (
        Sha256Hex,
        sha256(_PAYLOAD).hexdigest(),
        "Hex sha256 of the batch's payload; the receipt's `batch`.",
    ),
    "entry": (EntryNumber, "0", "The number of the entry, from 0."),
    "line": (EntryNumber, "41", "The number of the entry of a record, void or release."),
    "level": (str, "0", "The level of a tile of hashes, 0 over the entries."),
    "tile": (str, "000.p/1", "The path of the tile, e.g. `x001/234` or `000.p/7` (tlog-tiles)."),
}

# Of parameters in a query, where neither a default nor a schema has an example.
QUERIES: Final[dict[str, Any]] = {
    "amount": "100000.00",
    "delivery": sha256(b"delivered").hexdigest(),
    "invoices": "24442000000123456789:1000000.00",
    "payments": "102584000002:P-1:1000000.00",
    "disallowed": "24442000000123456789:1.00",
    "programme": "training-coupon",
    "year": 2025,
    "enterprise": _ENTERPRISE,
    "provider": "pcl",
    "contract": "TC-2025-0001",
    "award": "AW-2025-0001",
    "project": "PJ-2025-0001",
    "person": "clerk-a",
    "record": "slurm:4211:0",
    "run": "slurm:4211",
    "batch": sha256(_PAYLOAD).hexdigest(),
    "kind": "usage",
    "status": "accepted",
    "from": "2025-03-01",
    "until": "2025-04-01",
    "after": "",
    "wait": "published",
    "role": "authority",
    "state": "entered",
    "decision": "open",
    "q": "鹏城",
    "item": "TC-2025-0001",
    "bank_reference": "2025031000009",
    "device": "ascend-910b",
    "subject": f"enterprise:{_ENTERPRISE}",
    "route": "/v1/enterprises/{uscc}/balance",
    "token": "li-2",
}
