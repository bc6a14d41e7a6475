"""Books for tests, built by real commands and real signed batches, without stand-ins.

    books = opened()
    books.contract("A")
    books.issue(2025, "500000.00")
    start, end = "2025-03-01T08:00:00+08:00", "2025-03-01T09:00:00+08:00"
    books.post([record("r1", "A", start, end, 64_000)])
    assert books.coupon(2025).granted == 14_400

`entries` keeps everything that was written, in order, `receipts` the answers. Money is yuan text
where it goes in and fen where it comes out, as in the core. The clock (`now`, microseconds) moves
only by `at`.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from datetime import date
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine

from ledger.note import Signer
from meter.client import registration
from meter.rules import commands
from meter.rules.capacity import QUARTERS_PER_DAY
from meter.rules.decide import decide
from meter.rules.decide_command import decide_command, entries_following
from meter.rules.entries import FLOORED_CLASSES, Entry, FirstPerson, Genesis, ReceiptKey
from meter.rules.evolve import evolve
from meter.rules.kinds.access_digests import SERVICE
from meter.rules.kinds.kind import Existing, Stamp
from meter.rules.state import AcceptedRecord, Contract, DeviceTimeId, Share, State, StoredBatch
from meter.rules.two_persons import ALONE
from meter.values.problems import Problem
from meter.values.strict import Number, decode_request
from meter.values.units import MICROSECONDS, format_instant, parse_instant
from meter.values.uscc import ALPHABET, check_character
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.receipt import REASONS, Accepted, Before, Conflict, Duplicate, Rejected, Result

ORIGIN = "kashi.test/books"
PROGRAMME = "training-coupon"
SHIPPED = files("meter").joinpath("policies/training-coupon-2024-12.toml").read_text("utf-8")
DEVICE = "ascend-910b"
HOUR = 3600
DAY = 24 * HOUR

# One profile for all property tests here: on a shared machine, deadlines show nothing.
properties = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])

_RESULTS = {
    "accepted": Accepted,
    "duplicate": Duplicate,
    "conflict": Conflict,
    "rejected": Rejected,
}
# What stands before a figure in the file: its section, or lines of it, then its key.
_POLICY_PLACES = {
    "version": ("", "version"),
    "programme": ("", "programme"),
    "meter": ("", "meter"),
    "applicants": ("", "applicants"),
    "starts": (r"\[validity\]", "from"),
    "ends": (r"\[validity\]", "until"),
    "standard": (r'\[\[class\]\]\nname = "standard"', "ratio"),
    "startup": (r'\[\[class\]\]\nname = "startup"', "ratio"),
    "combined": (r"\[combined_support\]", "ratio"),
    "cap": (r"\[cap\]", "amount"),
    "pool": (r"\[pool\]", "amount"),
    "threshold": (r"\[threshold\]", "amount"),
    "months": (r"\[startup\]", "months"),
    "uses": (r"\[use\]", "eligible"),
    "lateness": (r"\[lateness\]", "days"),
    "claim_months": (r"\[claims\]", "months"),
}
_COMBINED = {"standard": 5_000, "startup": 6_000}


def policy_text(**figures: str | int | list[str]) -> str:
    """Return the shipped policy file with other figures, e.g. `policy_text(threshold="0.00")`."""
    text = SHIPPED
    combined = {
        kind: figures.pop(f"combined_{kind}") for kind in _COMBINED if f"combined_{kind}" in figures
    }
    if combined:
        figures["combined"] = _COMBINED | combined
    for name, value in ({"version": "test"} | figures).items():
        section, key = _POLICY_PLACES[name]
        start = rf"{section}[^\[]*?" if section else ""
        line = _as_toml(value)
        text, found = re.subn(
            rf"({start}\n{key} = )[^\n]*", lambda match, line=line: match[1] + line, text, count=1
        )
        assert found == 1, name
    return text


def without_sections(text: str, *sections: str) -> str:
    """Return a policy file without some of its sections."""
    for section in sections:
        text, found = re.subn(rf"\n\[+{section}\](?:\n|.)*?(?=\n\n\[|\Z)", "", text)
        assert found, section
    return text


def _as_toml(value: Any) -> str:
    """Return a value as TOML: its texts, integers and lists are JSON's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_as_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def uscc_of(number: int) -> str:
    """Return a well-formed USCC, another for each number."""
    body = f"91440300{number:08d}"
    body += ALPHABET[number % 31]
    return body + check_character(body)


ALPHA = "91440300708461136T"  # an enterprise that is long past its first year
BETA = uscc_of(2)
PROVIDER_USCC = uscc_of(9)


def micros(text: str) -> int:
    return parse_instant(text) * MICROSECONDS


def attempt(ask: Callable[[], Any]) -> Any:
    """Return the answer, or the refusal as a value where both are right."""
    try:
        return ask()
    except Problem as problem:
        return problem


def salt_of(data: bytes) -> str:
    """Return the salt that a writer in a test draws for what it was sent."""
    return sha256(data).hexdigest()[:32]


def signer(keyid: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(keyid.encode()).digest())


def log_signer(name: str) -> Signer:
    return Signer.from_seed(ORIGIN, sha256(name.encode()).digest())


def public_text(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def record(
    id_: str, contract: str, start: str | int, end: str | int, milli_devices: int, **more: Any
) -> dict[str, Any]:
    """Return a record as JSON; instants as text or as seconds since 1970 UTC."""
    return {
        "id": id_,
        "contract": contract,
        "device": DEVICE,
        "milli_devices": milli_devices,
        "start": start if isinstance(start, str) else format_instant(start),
        "end": end if isinstance(end, str) else format_instant(end),
    } | more


def purchase(id_: str, contract: str, amount: str, delivered_on: str, **more: Any) -> dict:
    """Return a purchase as JSON."""
    names = {"id": id_, "contract": contract, "amount": amount}
    return names | {"delivered_on": delivered_on} | more


def day_number(day: str) -> int:
    """Return the number of a Shanghai date in entries, which count from 1970-01-01."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days


def void(id_: str, reason: str = "node failed, not charged") -> dict[str, Any]:
    return {"id": id_, "reason": reason}


def line(contract: str, records: int, device_seconds: str, device: str = DEVICE) -> dict[str, Any]:
    """Return a line of a summary as JSON."""
    figures = {"records": records, "device_seconds": device_seconds}
    return {"contract": contract, "device": device} | figures


def runs(*counts: int) -> dict[str, Any]:
    """Return what a scheduler knows: so many runs of each standing, of an hour each."""
    names = ("reported", "refused", "quarantined", "doubtful", "ignored")
    told = [*counts, *[0] * (len(names) - len(counts))]
    parts = {name: {"runs": n, "seconds": n * HOUR} for name, n in zip(names, told, strict=True)}
    return parts | {"total": {"runs": sum(told), "seconds": sum(told) * HOUR}}


def summary(day: str, *lines: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a day as JSON."""
    return {"day": day, "usage": list(lines), "scheduler": runs(len(lines))}


def quarters(start: int, end: int, milli_devices: int) -> Iterator[tuple[int, int]]:
    """Yield the quarters of `[start, end)` (seconds), counted from 1970, with their device-time."""
    for quarter in range(start // 900, -(-end // 900)):
        begin = quarter * 900
        yield quarter, (min(end, begin + 900) - max(start, begin)) * milli_devices


def slices(whole: dict[str, Any], seconds: int) -> list[dict[str, Any]]:
    """Cut a record into contiguous ones of one length; the last may be shorter."""
    start, end = parse_instant(whole["start"]), parse_instant(whole["end"])
    return [
        whole
        | {
            "id": f"{whole['id']}/{begin}",
            "start": format_instant(begin),
            "end": format_instant(min(begin + seconds, end)),
        }
        for begin in range(start, end, seconds)
    ]


class Coupon(NamedTuple):
    """What the books say of one coupon (enterprise, programme, year), in fen."""

    issued: int
    entitled: int
    granted: int

    @property
    def uncovered(self) -> int:
        return self.entitled - self.granted


class Books:
    """The state of a ledger and all of its entries, at first only the genesis.

    Each of its `persons` has a token `<person>-1`; one alone does all.
    """

    def __init__(
        self, now: str = "2025-03-01T12:00:00+08:00", persons: Sequence[str] = ("op",)
    ) -> None:
        self.state = State()
        self.entries: list[Entry] = []
        self.receipts: list[bytes] = []
        self.by_groups = False  # whether plain records are judged together
        self.now = micros(now)
        key = public_text(signer("ledger"))
        vkey = log_signer("log").verifier.format()
        self._append(
            Genesis(
                at=self.now,
                by=f"{persons[0]}-1",
                person=persons[0],
                request="genesis",
                salt="00" * 16,
                postings=[],
                origin=ORIGIN,
                floors=list(FLOORED_CLASSES),
                log_key=vkey,
                receipt_key=ReceiptKey("receipt-1", "ed25519", key),
                persons=[FirstPerson(person, f"{person}-1") for person in persons],
                one_person=len(persons) == 1,
                alone=ALONE,
                contract_limit=100_000_000,
            )
        )

    # The authority

    def at(self, instant: str | int) -> "Books":
        """Move the clock, to a text or to microseconds."""
        self.now = micros(instant) if isinstance(instant, str) else instant
        return self

    def ask(self, kind: type[commands.Command], /, **body: Any) -> int:
        """Ask for a command by its JSON body; returns the number of its entry, new or old."""
        data = json.dumps(_renamed(body), ensure_ascii=False).encode()
        return self.do(decode_request(data, kind, {}))

    def do(self, command: commands.Asked, by: str | None = None, request: str | None = None) -> int:
        """Decide a command, by default of the first person, and apply its entry."""
        by = by or self.entries[0].by
        request = request or f"request-{len(self.entries)}"
        salt = salt_of(f"request-{len(self.entries)}".encode())
        ends = isinstance(command, commands.RetireLogKey)
        stamp = Stamp(self.now, by, request, salt, self.checkpoint() if ends else "")
        answer = decide_command(self.state, command, stamp)
        if isinstance(answer, Existing):
            return answer.entry
        number = self._append(answer)
        for made in entries_following(self.state, number, answer):
            self._append(made)
        return number

    def propose(self, command: str, by: str | None = None, /, **body: Any) -> int:
        """Propose a command by the name of its kind; returns the number of the proposal."""
        return self.do(commands.Propose(command=command, body=_renamed(body)), by)

    def confirm(self, proposal: int, by: str) -> int:
        """Confirm a proposal with a token; returns the number of the command's entry."""
        return self.do(commands.ConfirmProposal(proposal=Number(proposal)), by)

    def end_proposal(self, proposal: int, by: str | None = None) -> int:
        return self.do(commands.EndProposal(proposal=Number(proposal)), by)

    def person(self, id_: str) -> int:
        return self.ask(commands.RegisterPerson, id=id_)

    def token(self, id_: str, holder: str) -> int:
        return self.ask(commands.MakeToken, id=id_, holder=holder)

    def recover_person(self, id_: str, token: str) -> int:
        """Do what an operator does offline."""
        return self.do(commands.RecoverPerson(id=id_, token=token), token)

    def digest_accesses(self, day: str, rows: int = 2, sha256: str = "0d" * 32) -> int:
        """Do what the service does by itself."""
        return self.do(commands.DigestAccesses(day=day, rows=rows, sha256=sha256), SERVICE)

    def digest_state(self) -> int:
        """Do what the service does by itself."""
        return self.do(commands.DigestState(), SERVICE)

    def activate(self, text: str = SHIPPED, **more: Any) -> int:
        fields = {
            name: re.search(rf'^{name} = "(.*)"$', text, re.MULTILINE)[1]
            for name in ("programme", "version")
        }
        return self.ask(commands.ActivatePolicy, **(fields | {"content": text} | more))

    def provider(self, id_: str = "pcl", **changes: Any) -> int:
        enlisted = {"batch": "2025-1", "from": "2020-01-01", "until": "2030-01-01"}
        body = {
            "id": id_,
            "uscc": PROVIDER_USCC,
            "name": "鹏城实验室",
            "devices": {DEVICE: 10_000_000},
            "enlisted": enlisted,
        }
        return self.ask(commands.RegisterProvider, **(body | changes))

    def vendor(self, id_: str, uscc: str, *serves: str) -> int:
        """Register who sells what some programmes fund, with its key `<id>-1`."""
        names = {"id": id_, "uscc": uscc, "name": "深圳数据交易所"}
        number = self.ask(commands.RegisterProvider, **names, serves=list(serves))
        self.key(f"{id_}-1", id_)
        return number

    def key(self, keyid: str = "pcl-1", provider: str = "pcl", **changes: Any) -> int:
        body = registration(signer(keyid), ORIGIN, provider, keyid)
        return self.ask(commands.RegisterKey, **({"provider": provider} | body | changes))

    def revoke(self, keyid: str = "pcl-1", **changes: Any) -> int:
        return self.ask(commands.RevokeKey, keyid=keyid, **changes)

    def checkpoint(self) -> str:
        """Return the last checkpoint of a log key; no test here reads it."""
        return "a checkpoint\n"

    def add_log_key(self, name: str = "log-2") -> int:
        return self.ask(commands.AddLogKey, vkey=log_signer(name).verifier.format())

    def retire_log_key(self, name: str = "log") -> int:
        return self.ask(commands.RetireLogKey, vkey=log_signer(name).verifier.format())

    def add_receipt_key(self, keyid: str = "receipt-2", **changes: Any) -> int:
        public_key = public_text(signer(keyid))
        body = {"keyid": keyid, "algorithm": "ed25519", "public_key": public_key}
        return self.ask(commands.AddReceiptKey, **(body | changes))

    def retire_receipt_key(self, keyid: str = "receipt-1") -> int:
        return self.ask(commands.RetireReceiptKey, keyid=keyid)

    def enterprise(self, uscc: str = ALPHA, founded_on: str = "2019-04-01", **changes: Any) -> int:
        body = {"uscc": uscc, "name": "深圳某某科技", "applicant": "enterprise"}
        return self.ask(
            commands.RegisterEnterprise, **(body | {"founded_on": founded_on} | changes)
        )

    def succeed(self, uscc: str, successor: str, **changes: Any) -> int:
        body = {"effective": "2025-01-01", "document": "变更通知书"}
        names = {"uscc": uscc, "successor": successor}
        return self.ask(commands.SucceedEnterprise, **(names | body | changes))

    def contract(self, id_: str = "A", **changes: Any) -> int:
        body = {
            "id": id_,
            "contract_no": f"HT-{id_}",
            "programme": PROGRAMME,
            "enterprise": ALPHA,
            "provider": "pcl",
            "amount": "1000000.00",
            "signed_on": "2024-12-01",
            "starts": "2024-12-01",
            "ends": "2027-01-01",
            "use": "training",
            "prices": {DEVICE: "4.50"},
            "max_devices": {DEVICE: 10_000_000},
            "related_party": False,
        }
        return self.ask(commands.RegisterContract, **(body | changes))

    def shop(self, id_: str, programme: str, provider: str, **changes: Any) -> int:
        """Register a contract of purchases."""
        terms = {"programme": programme, "provider": provider, "prices": {}, "max_devices": {}}
        return self.contract(id_, **(terms | changes))

    def fund_contract(self, contract: str, amount: str, **changes: Any) -> int:
        body = {"reference": "1号", "level": "district", "document": "拨付通知"}
        return self.ask(
            commands.FundContract, **({"contract": contract, "amount": amount} | body | changes)
        )

    def supplement(self, effective: str, contract: str = "A", **changes: Any) -> int:
        """Amend a contract from a day on, as its parties signed it the day before."""
        return self._amend("supplement", contract, {"effective": effective} | changes)

    def correct(self, contract: str = "A", **changes: Any) -> int:
        """Correct what was registered by mistake."""
        return self._amend("correction", contract, changes)

    def _amend(self, mode: str, contract: str, changes: dict[str, Any]) -> int:
        body = {"contract": contract, "mode": mode, "document": "补充协议", "reason": "as signed"}
        if mode == "supplement":
            body["signed_on"] = "2024-12-01"
        return self.ask(commands.AmendContract, **(body | changes))

    def amend_enterprise(self, uscc: str = ALPHA, **changes: Any) -> int:
        body = {"uscc": uscc, "document": "变更登记通知书", "reason": "as registered there"}
        return self.ask(commands.AmendEnterprise, **(body | changes))

    def amend_provider(self, name: str, provider: str = "pcl", **changes: Any) -> int:
        body = {"provider": provider, "document": "更名批复", "reason": "as decided"}
        return self.ask(commands.AmendProvider, **(body | {"name": name} | changes))

    def late_window(
        self, starts: str, ends: str, open_until: str, contract: str = "A", **changes: Any
    ) -> int:
        """Take records of a period whatever their age, before a day."""
        days = {"starts": starts, "ends": ends, "open_until": open_until}
        body = {"contract": contract, "reason": "booked on the wrong contract"} | days
        return self.ask(commands.OpenLateWindow, **(body | changes))

    def project(self, id_: str = "P", **changes: Any) -> int:
        return self.ask(commands.RegisterProject, **({"id": id_, "title": "示范项目"} | changes))

    def audit(self, amount: str, project: str = "P") -> int:
        return self.ask(commands.AuditProject, project=project, amount=amount, document="审计报告")

    def fund(self, amount: str, project: str = "P", **changes: Any) -> int:
        body = {"reference": "1号", "level": "district", "document": "拨付通知"}
        return self.ask(
            commands.FundProject, **({"project": project, "amount": amount} | body | changes)
        )

    def award(self, id_: str, programme: str, amount: str, **changes: Any) -> int:
        body = {
            "id": id_,
            "programme": programme,
            "enterprise": ALPHA,
            "year": 2025,
            "amount": amount,
            "document": "评审意见",
        }
        return self.ask(commands.MakeAward, **(body | changes))

    def allocate(self, year: int, *requests: tuple[str, str], **changes: Any) -> int:
        """Divide a pool; each request is a USCC and yuan."""
        body = {"programme": PROGRAMME, "year": year, "requests": requests}
        return self.ask(commands.AllocatePool, **(body | changes))

    def expire(self, year: int, programme: str = PROGRAMME, **more: Any) -> int:
        return self.ask(commands.ExpireCoupons, programme=programme, year=year, **more)

    def close(self, year: int, programme: str = PROGRAMME, **more: Any) -> int:
        return self.ask(commands.CloseYear, programme=programme, year=year, **more)

    def close_month(self, month: str, waiver: str = "", **more: Any) -> int:
        """Close a month of the ledger; a `waiver` is the person who answers for its gaps."""
        if waiver:
            more["waiver"] = {"person": waiver, "reason": "the stream was replaced"}
        return self.ask(commands.CloseMonth, month=month, **more)

    def confirm_month(self, month: str, enterprise: str = ALPHA) -> int:
        return self.ask(commands.ConfirmMonth, month=month, enterprise=enterprise)

    def dispute(self, id_: str, contract: str = "A", provider: str = "pcl", **more: Any) -> int:
        """Dispute a record of a contract."""
        body = {"contract": contract, "provider": provider, "id": id_, "reason": "it never ran"}
        return self.ask(commands.DisputeRecord, **(body | more))

    def dismiss(self, id_: str, provider: str = "pcl") -> int:
        """Let a disputed record stand."""
        return self.ask(commands.DismissDispute, provider=provider, id=id_, reason="it ran")

    def change_award(self, award: str, amount: str, reason: str = "found by the audit") -> int:
        return self.ask(commands.ChangeAward, award=award, amount=amount, reason=reason)

    def freeze(self, contract: str) -> int:
        return self.ask(commands.FreezeContract, contract=contract)

    def unfreeze(self, contract: str) -> int:
        return self.ask(commands.UnfreezeContract, contract=contract)

    def budget(self, year: int, amount: str, **changes: Any) -> int:
        body = {"programme": PROGRAMME, "year": year, "amount": amount, "document": "12号"}
        return self.ask(commands.SetBudget, **(body | changes))

    def issue(self, year: int, amount: str, enterprise: str = ALPHA, **changes: Any) -> int:
        body = {"programme": PROGRAMME, "enterprise": enterprise, "year": year, "amount": amount}
        return self.ask(commands.IssueCoupon, **(body | changes))

    def withdraw(self, year: int, amount: str, enterprise: str = ALPHA, **changes: Any) -> int:
        body = {"programme": PROGRAMME, "enterprise": enterprise, "year": year, "amount": amount}
        return self.ask(commands.WithdrawCoupon, **(body | changes))

    def void(self, id_: str, provider: str = "pcl", reason: str = "found by the auditors") -> int:
        return self.ask(commands.VoidRecord, provider=provider, id=id_, reason=reason)

    def release(self, id_: str, provider: str = "pcl", reason: str = "a clock was wrong") -> int:
        return self.ask(commands.ReleaseRecord, provider=provider, id=id_, reason=reason)

    def enlist(
        self,
        batch: str,
        devices: int | dict[str, int],
        starts: str,
        ends: str,
        provider: str = "pcl",
        **changes: Any,
    ) -> int:
        """Enlist devices in a batch, or move the end of one; a number alone counts `DEVICE`."""
        body = {
            "provider": provider,
            "devices": devices if isinstance(devices, dict) else {DEVICE: devices},
            "enlisted": {"batch": batch, "from": starts, "until": ends},
        }
        return self.ask(commands.EnlistProvider, **(body | changes))

    # The providers

    def payload(
        self, records: Iterable[Any] = (), voids: Iterable[Any] = (), **changes: Any
    ) -> bytes:
        """Write a batch as JSON; without a `seq` it takes the stream's next free number."""
        body = {
            "log": ORIGIN,
            "provider": "pcl",
            "stream": "main",
            "voids": list(voids),
            "records": list(records),
        } | changes
        used = {seq for *stream, seq in self.state.batches if stream == [*_stream(body)]}
        body.setdefault("seq", max(used, default=0) + 1)
        return json.dumps(body, ensure_ascii=False).encode()

    def post(
        self,
        records: Iterable[Any] = (),
        voids: Iterable[Any] = (),
        keyid: str = "pcl-1",
        **changes: Any,
    ) -> list[Result]:
        """Sign a batch and post it; returns the results of its voids and records."""
        payload = self.payload(records, voids, **changes)
        self.send(dsse.seal(dsse.BATCH_TYPE, payload, keyid, signer(keyid)))
        receipt = self.receipt()
        return [_RESULTS[each["status"]](**each) for each in receipt["voids"] + receipt["results"]]

    def sell(
        self, *purchases: dict[str, Any], vendor: str = "szdex", voids: Iterable[Any] = ()
    ) -> list[Result]:
        """Sign a vendor's batch and post it; returns the results of its voids and purchases."""
        body = {"provider": vendor, "purchases": list(purchases)}
        return self.post((), voids, f"{vendor}-1", **body)

    def send(self, data: bytes) -> bytes:
        """Take an envelope as the service does, and return the receipt's bytes."""
        envelope = dsse.parse(data, dsse.BATCH_TYPE)
        key = self.state.keys.get(envelope.keyid)
        if key is None:
            raise Problem("bad_signature", envelope.keyid)
        if not dsse.is_signed_by(
            key.public_key, envelope.payload_type, envelope.payload, envelope.signature
        ):
            raise Problem("bad_signature", envelope.keyid)
        signed = parse_batch(envelope, data)
        before = Before(self.state.size, base64.b64encode(bytes(32)).decode())
        salt = salt_of(data)
        decided = decide(self.state, signed, self.now, before, salt, by_groups=self.by_groups)
        if not isinstance(decided, StoredBatch):
            self.entries += decided.entries
            batch = signed.batch
            stored = StoredBatch(decided.place, signed.payload_sha256, decided.receipt, "signature")
            self.state.batches[batch.provider, batch.stream, batch.seq] = stored
        self.receipts.append(decided.receipt)
        return decided.receipt

    def receipt(self) -> dict[str, Any]:
        """Read the last receipt."""
        return json.loads(self.receipts[-1])

    # What it adds up to

    def coupon(self, year: int, enterprise: str = ALPHA, programme: str = PROGRAMME) -> Coupon:
        return coupon_of(self.state, (enterprise, programme, year))

    def share(self, contract: str, year: int) -> Share:
        return self.state.contracts[contract].shares.get(year, Share())

    def eligible(self, contract: str, year: int) -> int:
        """Return the eligible numerator of a year, not rounded."""
        segments = self.state.contracts[contract].segments
        return sum(segment.eligible for segment in segments if segment.year == year)

    def ineligible(self, contract: str) -> dict[str, int]:
        """Return the numerators that count for nothing, by reason, not rounded."""
        numerators = zip(REASONS, self.state.contracts[contract].ineligible, strict=True)
        return {reason: numerator for reason, numerator in numerators if numerator}

    def cost(self, contract: str) -> int:
        held = self.state.contracts[contract]
        return held.used // held.terms.denominator

    def granted(self, contract: str) -> int:
        return sum(share.granted for share in self.state.contracts[contract].shares.values())

    def _append(self, entry: Entry) -> int:
        evolve(self.state, entry)
        self.entries.append(entry)
        return len(self.entries) - 1


def opened(policy: str = SHIPPED, now: str = "2025-03-01T12:00:00+08:00") -> Books:
    """Return books with a policy, the provider `pcl`, its key `pcl-1` and the enterprise ALPHA."""
    books = Books(now)
    books.activate(policy)
    books.provider()
    books.key()
    books.enterprise()
    return books


def lifted(**figures: str | int | list[str]) -> str:
    """Return a policy without a threshold, or a limit for late records and issues."""
    lifting: dict[str, Any] = {"threshold": "0.00", "lateness": 3_660, "claim_months": 60}
    return policy_text(**(lifting | figures))


def _renamed(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body with the names of JSON: `from` is a keyword of Python, `kind` an argument."""
    names = {"starts": "from", "ends": "until", "applicant": "kind", "named": "class"}
    return {names.get(name, name): value for name, value in body.items()}


def coupon_of(state: State, coupon: tuple[str, str, int]) -> Coupon:
    enterprise, programme, year = coupon
    shares = [
        contract.shares.get(year, Share()) for contract in state.contracts_of(enterprise, programme)
    ]
    awarded = sum(
        each.amount
        for each in state.awards.values()
        if (each.made.enterprise, each.made.programme, each.made.year) == coupon
    )
    return Coupon(
        issued=state.coupons.get(coupon, 0),
        entitled=sum(share.entitled for share in shares) + awarded,
        granted=sum(share.granted for share in shares) + awarded,
    )


def coupon_ids(state: State) -> set[tuple[str, str, int]]:
    """Return every (enterprise, programme, year) that was issued money or has usage."""
    used = {
        contract.coupon_id(year)
        for contract in state.contracts.values()
        for year in contract.shares
    }
    return used | state.coupons.keys()


def figures(state: State) -> dict[str, Any]:
    """Return all that a state says, as plain values that can be compared."""
    return {
        "size": state.size,
        "last_at": state.last_at,
        "contracts": {id_: _contract_figures(each) for id_, each in state.contracts.items()},
        "coupons": dict(state.coupons),
        "granted": {id_: fen for id_, fen in state.granted.items() if fen},
        "pools": {id_: (pool.amount, pool.issued) for id_, pool in state.pools.items()},
        "budgets": {id_: pool.budget for id_, pool in state.pools.items()},
        "awards": {id_: (each.made, tuple(each.amounts)) for id_, each in state.awards.items()},
        "closed": dict(state.closed),
        "projects": {
            id_: (each.registered, tuple(each.funds), tuple(each.audits))
            for id_, each in state.projects.items()
        },
        # A running service holds only those of these that its last groups named.
        "records": {
            "by_id": {id_: _record_figures(each) for id_, each in state.records.items()},
            "in_use": _in_use(state),
        },
        "keys": {id_: (each.entry, each.revoked) for id_, each in state.keys.items()},
        "people": deepcopy(state.people),
        "claims": deepcopy(state.claims),
        "providers": {
            id_: (each.registered, dict(each.enlistments)) for id_, each in state.providers.items()
        },
        "enterprises": {
            id_: (each.registered, each.succession, tuple(each.succeeded))
            for id_, each in state.enterprises.items()
        },
        "active": state.active,
    }


def balances(entries: Iterable[Entry]) -> Iterator[dict[str, int]]:
    """Yield plain books of the postings after each entry: the accounts that are not zero."""
    accounts: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        for debtor, creditor, fen in entry.postings:
            assert fen > 0
            assert debtor != creditor
            accounts[debtor] -= fen
            accounts[creditor] += fen
        yield {account: fen for account, fen in accounts.items() if fen}


def expected_balances(state: State) -> dict[str, int]:
    """Return the balance that each account should have by the state."""
    accounts: defaultdict[str, int] = defaultdict(int)
    for (programme, year), pool in state.pools.items():
        accounts[f"treasury:{programme}:{year}"] = -pool.amount
        accounts[f"pool:{programme}:{year}"] = pool.amount - pool.issued
    for enterprise, programme, year in coupon_ids(state):
        coupon = coupon_of(state, (enterprise, programme, year))
        accounts[f"coupon:{programme}:{year}:{enterprise}"] = coupon.issued - coupon.granted
    for award in state.awards.values():
        accounts[f"accrued:{award.made.id}:{award.made.year}"] = award.amount
    for contract in state.contracts.values():
        cost = contract.used // contract.terms.denominator
        accounts[f"due:{contract.registered.id}"] = cost
        accounts[f"enterprise:{contract.agreed.enterprise}"] -= cost
        for year, share in contract.shares.items():
            accounts[f"accrued:{contract.registered.id}:{year}"] = share.granted
    for (item, year), versions in state.claims.accounts.items():
        account = versions[-1]
        accounts[f"payable:{item}:{year}"] = account.payable
        accounts[f"paid:{item}:{year}"] = account.paid
        accounts[f"claims:{item}:{year}"] = -account.payable - account.paid
    return {account: fen for account, fen in accounts.items() if fen}


def bounded(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> type:
    """Return the test case of a state machine with a bounded search."""
    machine.TestCase.settings = settings(
        properties, max_examples=examples, stateful_step_count=steps
    )
    return machine.TestCase


def _contract_figures(contract: Contract) -> Any:
    entitlement = contract.entitlement
    return (
        contract.entry,
        contract.registered,
        contract.agreed,
        contract.steps,
        contract.counted_since,
        contract.used,
        contract.frozen,
        contract.segments,
        contract.ineligible,
        {
            year: (share.withheld, share.entitled, share.granted)
            for year, share in contract.shares.items()
            if share != Share()
        },
        {year: fen for year, fen in entitlement.by_year.items() if fen},
        (entitlement.amount_bound, entitlement.support_bound),
    )


def _record_figures(held: AcceptedRecord) -> Any:
    return held.entry, held.fits, held.withheld, held.voided, held.released


def _in_use(state: State) -> dict[DeviceTimeId, dict[int, int]]:
    """Return the device-time in use by quarter, where there is any."""
    counts = {
        name: {
            day * QUARTERS_PER_DAY + place: time
            for day, times in count.days.items()
            for place, time in enumerate(times)
            if time
        }
        for name, count in state.in_use.items()
    }
    return {name: count for name, count in counts.items() if count}


def _stream(body: dict[str, Any]) -> tuple[str, str]:
    return body["provider"], body["stream"]


def usage_by_day(state: State) -> dict[tuple[str, int, str], list[int]]:
    """Return device-time by contract, day and device kind: all, what fits, what is withheld."""
    return {
        (contract, *day): times
        for contract in state.touched.usage
        for day, times in state.usage_of(contract).items()
        if any(times)
    }


def usage_by_stream(state: State) -> dict[tuple[str, int, str, str], list[int]]:
    """Return the same by stream too, with the number of records."""
    return {
        (contract, *day): times
        for contract, days in state.touched.usage.items()
        for day, times in days.items()
        if any(times)
    }
