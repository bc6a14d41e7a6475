r"""The report of an audit: what was verified, by whom, with which result, and what to ask about.

`report.json` is a DSSE envelope (`wire/dsse.py`) that the auditor signs; its payload is JSON:

    {"v":1,"auditor":"审计局 张三","made_at":"2026-01-10T09:00:00+08:00","language":"zh",
     "log":{"origin":…,"size":…,"root":…,"program":…},
     "checkpoint":"kashi.test/books\n198\n…","signatures":[{"name":…,"key_id":…}],
     "checks":[{"name":"leaves","count":198}],"totals":[{"programme":…,"year":2025,…}],
     "rules":[{"name":"late_void","threshold":35,"unit":"days",…}],
     "exceptions":[{"rule":…,"subject":…,"detail":…,"entries":[41]}],
     "questions":[…],"gaps":[…]}

All of it is of the log, and of the copy that was read only who had cosigned its checkpoint: not how
many files it has, nor which of them no log needs. So a report is checked against any copy of that
size.

`report.pdf` shows the same, and is made from the payload alone: the same payload, the same bytes.
So a report can be checked against its own picture, and against the log.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from msgspec import convert

from ledger import ed25519
from ledger.errors import BadNote, CannotCheck, Violation
from ledger.files import open_private
from ledger.note import Checkpoint, split_note
from meter.auditor.papers.accounts import Accounts
from meter.auditor.papers.log import WRONG_FORM, VerifiedLog, check_version
from meter.auditor.papers.target import new_folder
from meter.values.problems import Problem
from meter.values.units import format_money
from meter.values.worded import worded
from meter.views.exceptions.rule import AuditException, Rule
from meter.views.exceptions.table import exceptions, rules_with
from meter.views.movements import programme_of
from meter.wire import dsse

REPORT_TYPE: Final = "application/vnd.kashi.audit-report+json"
KEY_ID: Final = "auditor"  # the reader knows whose key it is
JSON_NAME: Final = "report.json"
PDF_NAME: Final = "report.pdf"
Language = Literal["zh", "en"]
# Figures of a programme and year: the class of accounts, and whether it is held as a debt.
FIGURES: Final[Mapping[str, tuple[str, bool]]] = {
    "budget": ("treasury", True),
    "not_issued": ("pool", False),
    "not_granted": ("coupon", False),
    "granted": ("accrued", False),
    "approved": ("claims", True),
    "payable": ("payable", False),
    "ordered": ("paid", False),
}
_OF_A_COPY: Final = "files"  # the check whose count is of the copy, and not of the log
_OF_ITEMS: Final = {"accrued", "claims", "payable", "paid"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who reports, when (an instant as text), in which language, with which thresholds."""

    auditor: str
    made_at: str
    language: Language
    thresholds: Mapping[str, int]


def read_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key: PEM, PKCS #8 (RFC 8410). Raises `ValueError`, which repeats nothing."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(
            worded(f"{path} holds no PEM of an Ed25519 key without a password")
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(worded(f"{path} holds a key that is not Ed25519"))  # noqa: TRY004
    return key


def read_public_key(path: Path) -> bytes:
    """Read a public key: PEM, SubjectPublicKeyInfo (RFC 8410). Raises `ValueError`, `BadKey`."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(worded(f"{path} holds no PEM of a public key")) from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(worded(f"{path} holds a key that is not Ed25519"))  # noqa: TRY004
    raw = key.public_bytes_raw()
    ed25519.check(raw)
    return raw


def payload_of(log: VerifiedLog, asked: Asked, note: bytes) -> bytes:
    """Return the payload of a report; `note` is the log's checkpoint, cosigned or not.

    Raises `ValueError` for a threshold that cannot be.
    """
    rules = rules_with(asked.thresholds, log.state)
    found = exceptions(rules, ((kept.number, kept.entry) for kept in log.entries()))
    verdict = log.verdict.as_json()
    report = {
        "v": 1,
        "auditor": asked.auditor,
        "made_at": asked.made_at,
        "language": asked.language,
        "log": log.about(),
        "checkpoint": note.decode(),
        "signatures": _signatures(note),
        # Times differ from run to run, and the number of files from copy to copy.
        "checks": [
            {"name": each.name, "count": each.count}
            for each in log.verdict.report.checks
            if each.name != _OF_A_COPY
        ],
        "totals": totals(log),
        "rules": [_rule(each, asked.language) for each in rules],
        "exceptions": [_exception(each, asked.language) for each in found],
        **{name: verdict[name] for name in ("questions", "gaps")},
    }
    return json.dumps(report, ensure_ascii=False, indent=1).encode()


def write_report(payload: bytes, key: Ed25519PrivateKey, target: Path) -> None:
    """Sign a report, and write it into a new folder. Raises `BadTarget`."""
    from meter.auditor.papers.report_pdf import picture  # noqa: PLC0415 - needs kashi[audit]

    files = {
        JSON_NAME: dsse.seal(REPORT_TYPE, payload, KEY_ID, key),
        PDF_NAME: picture(json.loads(payload)),
    }
    with new_folder(target) as draft:
        for name, data in files.items():
            with open_private(draft / name, new=True) as file:
                file.write(data)


def read_report(folder: Path, public_key: bytes) -> bytes:
    """Return the payload of a report that an auditor's key signed and its PDF shows.

    Raises `Violation` `wrong_signature` and `wrong_picture`, and `CannotCheck`.
    """
    try:
        envelope = dsse.parse((folder / JSON_NAME).read_bytes(), REPORT_TYPE)
        shown = (folder / PDF_NAME).read_bytes()
    except (OSError, Problem) as error:
        raise CannotCheck(f"{folder} holds no report: {error}") from None
    if not dsse.is_signed_by(public_key, REPORT_TYPE, envelope.payload, envelope.signature):
        raise Violation("wrong_signature", f"{JSON_NAME} was not signed by this key as it is")
    check_version(_log_of(envelope.payload).get("program"))
    if _drawn(envelope.payload) != shown:
        raise Violation("wrong_picture", f"{PDF_NAME} does not show what was signed")
    return envelope.payload


def _drawn(payload: bytes) -> bytes:
    """Return the picture of a payload. Raises `CannotCheck`."""
    from meter.auditor.papers.report_pdf import picture  # noqa: PLC0415 - needs kashi[audit]

    try:
        return picture(json.loads(payload))
    except WRONG_FORM as error:
        raise CannotCheck(f"the payload is no report: {error!r:.200}") from None


def asked_by(payload: bytes) -> Asked:
    """Return how a report was asked for, to make it again. Raises `CannotCheck`."""
    try:
        report = json.loads(payload)
        thresholds = {each["name"]: each["threshold"] for each in report["rules"] if each["unit"]}
        asked = report["auditor"], report["made_at"], convert(report["language"], Language)
        return Asked(*asked, thresholds)
    except WRONG_FORM as error:
        raise CannotCheck(f"the payload is no report: {error!r:.200}") from None


def _log_of(payload: bytes) -> dict[str, Any]:
    """Return what a report says of its log. Raises `CannotCheck`."""
    try:
        return convert(json.loads(payload)["log"], dict[str, Any])
    except WRONG_FORM as error:
        raise CannotCheck(f"the payload is no report: {error!r:.200}") from None


def _told_note(payload: bytes) -> bytes:
    """Return the signed checkpoint that a report shows, or what it has in its place."""
    return str(json.loads(payload).get("checkpoint")).encode()


def _checkpoint_of(payload: bytes) -> Checkpoint:
    """Return of which log a report was made. Raises `CannotCheck`."""
    told = _log_of(payload)
    try:
        return Checkpoint(str(told["origin"]), int(told["size"]), bytes.fromhex(told["root"]))
    except (*WRONG_FORM, BadNote) as error:
        raise CannotCheck(f"the payload is no report: {error!r:.200}") from None


def compare(payload: bytes, log: VerifiedLog) -> None:
    """Raise `Violation` `wrong_report` where a log gives another report, and `CannotCheck`."""
    log.check_comparable(_checkpoint_of(payload))
    told = _told_note(payload)
    note = told if log.has_signed(told) else log.verdict.note
    made = payload_of(log, asked_by(payload), note)
    if payload == made:
        return
    lines = zip_longest(payload.split(b"\n"), made.split(b"\n"), fillvalue=b"")
    for number, (said, right) in enumerate(lines, 1):
        if said != right:
            detail = f"line {number} is {_short(said)}, and by the log {_short(right)}"
            raise Violation("wrong_report", detail)
    raise Violation("wrong_report", "it has another line at its end")


def totals(log: VerifiedLog) -> list[dict[str, Any]]:
    """Return what accounts hold by programme and year, in yuan as text."""
    accounts = Accounts()
    for kept in log.entries():
        accounts.add(kept.entry.postings)
    held: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, balance in accounts.by_name.items():
        kind, _, rest = name.partition(":")
        for figure, (account_class, is_debt) in FIGURES.items():
            if kind == account_class:
                owner, year, *_ = rest.split(":")
                programme = programme_of(log.state, owner) if kind in _OF_ITEMS else owner
                held[programme, year][figure] += -balance.closing if is_debt else balance.closing
    return [
        {"programme": programme, "year": int(year)}
        | {figure: format_money(figures[figure]) for figure in FIGURES}
        for (programme, year), figures in sorted(held.items())
    ]


def _rule(rule: Rule, language: Language) -> dict[str, Any]:
    is_chinese = language == "zh"
    return {
        "name": rule.name,
        "threshold": rule.threshold,
        "unit": rule.unit_zh if is_chinese else rule.unit,
        "meaning": rule.meaning_zh if is_chinese else rule.meaning,
        "source": rule.source_zh if is_chinese else rule.source,
    }


def _exception(found: AuditException, language: Language) -> dict[str, Any]:
    return {
        "rule": found.rule,
        "subject": found.subject,
        "detail": found.detail_zh if language == "zh" else found.detail,
        "entries": found.entries,
    }


def _signatures(note: bytes) -> list[dict[str, str]]:
    """Return who signed the checkpoint by its own words, the log first."""
    _, signatures = split_note(note)
    return [{"name": each.name, "key_id": each.key_id.hex()} for each in signatures]


def _short(line: bytes) -> str:
    return repr(line.decode(errors="replace").strip())[:200]
