"""The signed report of an audit: what it says, that its picture shows it, and who changed it."""

import base64
import io
import json
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pypdf
import pytest

from ledger.errors import CannotCheck
from meter.auditor.papers import report as reporting
from meter.auditor.papers.log import verified
from meter.auditor.papers.report import FIGURES, REPORT_TYPE, asked_by, read_key, totals
from meter.auditor.papers.report_pdf import picture
from meter.languages import Speech
from meter.views.exceptions.table import RULES
from meter.wire import dsse
from tests.books import uscc_of
from tests.commands import good, kashi
from tests.histories import history
from tests.witnesses import WITNESS, cosigned
from tests.writer import Writer

AUDITOR = "审计局 张三 <script>&"


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> Path:
    """A key that openssl made, with its public half beside it."""
    secret = tmp_path_factory.mktemp("key") / "auditor.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", secret)
    openssl("pkey", "-in", secret, "-pubout", "-out", secret.with_suffix(".pub"))
    return secret


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def made(log: Path, writer: Writer, key: Path, target: Path, *options: object) -> Path:
    words = ["audit", "report", log, target, "--vkey", writer.verifier.format(), "--key", key]
    said = good(kashi(*words, "--auditor", AUDITOR, *options))
    size, root = writer.log.size, writer.log.root().hex()
    told = f"{size} 条，根哈希 {root}" if "zh" in options else f"{size} entries, root {root}"
    assert said == f"{target}: {told}\n"
    return target


@pytest.fixture(scope="module")
def folder(log, writer, key, tmp_path_factory) -> Path:
    return made(log, writer, key, tmp_path_factory.mktemp("report") / "report")


def payload_of(folder: Path) -> dict:
    return json.loads(dsse.parse((folder / "report.json").read_bytes(), REPORT_TYPE).payload)


def checked(folder: Path, key: Path, *options: object):
    return kashi("audit", "check", folder, "--auditor-key", key.with_suffix(".pub"), *options)


def text_of(folder: Path) -> str:
    """Return the words of the picture, without spaces: lines are broken anywhere."""
    pages = pypdf.PdfReader(io.BytesIO((folder / "report.pdf").read_bytes())).pages
    return re.sub(r"\s", "", "".join(page.extract_text() for page in pages))


OF_ACCOUNTS = {
    "treasury": "budget",
    "pool": "not_issued",
    "coupon": "not_granted",
    "accrued": "granted",
    "claims": "approved",
    "payable": "payable",
    "paid": "ordered",
}
DEBTS = ("budget", "approved")  # whose accounts are below zero


def test_the_report_says_what_the_ledger_holds(writer, folder):
    report = payload_of(folder)
    assert report["log"]["root"] == writer.log.root().hex()
    assert {each["name"] for each in report["checks"]} >= {"sums", "signatures", "postings"}
    held = dict.fromkeys(FIGURES, Decimal())
    for name, fen in writer.log.book.balances.items():
        if figure := OF_ACCOUNTS.get(name.partition(":")[0]):
            held[figure] += Decimal(-fen if figure in DEBTS else fen).scaleb(-2)
    assert held == {
        figure: sum(Decimal(each[figure]) for each in report["totals"]) for figure in FIGURES
    }
    granted = {
        (each["programme"], each["year"]): Decimal(each["granted"]) for each in report["totals"]
    }
    for (programme, year), yuan in granted.items():
        coupons = sum(
            fen for (_, p, y), fen in writer.state.granted.items() if (p, y) == (programme, year)
        )
        if programme == "training-coupon":
            assert yuan == Decimal(coupons).scaleb(-2) > -1
    assert [each["name"] for each in report["rules"]] == [rule.name for rule in RULES]
    assert {"late_void", "key_change", "two_persons"} <= {
        each["rule"] for each in report["exceptions"]
    }


def test_what_was_issued_and_not_granted_is_left_of_the_coupon(tmp_path):
    writer = Writer()
    writer.activate()
    writer.enterprise()
    writer.provider()
    writer.contract("A")
    writer.issue(2025, "100.00")
    export = str(writer.export(tmp_path))
    with verified(export, writer.verifier.format(), None, lambda *_: None) as held:
        found = [(each["not_granted"], each["granted"]) for each in totals(held)]
    assert ("100.00", "0.00") in found


def test_the_checkpoint_is_named_with_who_signed_it(writer, folder):
    verifier = writer.verifier
    assert payload_of(folder)["signatures"] == [
        {"name": verifier.name, "key_id": verifier.key_id.hex()}
    ]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_picture_shows_what_was_signed(log, writer, key, tmp_path, language):
    folder = made(log, writer, key, tmp_path / "r", "--lang", language)
    shown, report = text_of(folder), payload_of(folder)
    title = {"zh": "账本审计报告", "en": "Auditreportonaledger"}[language]
    assert title in shown[:200]
    wanted = [AUDITOR, report["log"]["root"], report["made_at"]]
    wanted += [f"{Decimal(each[figure]):,}" for each in report["totals"] for figure in FIGURES]
    wanted += [each["detail"] for each in report["exceptions"]]
    wanted += [text for each in report["rules"] for text in (each["meaning"], each["source"])]
    for text in wanted:
        assert re.sub(r"\s", "", text) in shown, text


def test_a_chinese_report_says_what_was_found_in_chinese(log, writer, key, tmp_path):
    folder = made(log, writer, key, tmp_path / "r", "--lang", "zh")
    report, shown = payload_of(folder), text_of(folder)
    assert report["exceptions"]
    for each in report["exceptions"]:
        assert re.search("[\u4e00-\u9fff]|：", each["detail"]), each
    assert {each["unit"] for each in report["rules"]} >= {"天", "%", "次"}
    for each in report["checks"]:
        assert re.sub(r"\s", "", f"{Speech('zh').say(each['name'])}{each['count']:,}") in shown


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_rule_is_told_in_the_reports_language(log, writer, key, tmp_path, language):
    folder = made(log, writer, key, tmp_path / "r", "--lang", language)
    report = payload_of(folder)
    as_written = dsse.parse((folder / "report.json").read_bytes(), REPORT_TYPE).payload
    assert as_written.decode() == json.dumps(report, ensure_ascii=False, indent=1)
    told = {each["name"]: (each["meaning"], each["source"]) for each in report["rules"]}
    assert told == {
        rule.name: {"zh": (rule.meaning_zh, rule.source_zh), "en": (rule.meaning, rule.source)}[
            language
        ]
        for rule in RULES
    }


def test_one_payload_gives_one_picture(folder):
    report = payload_of(folder)
    assert picture(report) == picture(report) == (folder / "report.pdf").read_bytes()


def test_two_reports_differ_in_their_time_alone(log, writer, key, folder, tmp_path):
    other = payload_of(made(log, writer, key, tmp_path / "again"))
    assert other | {"made_at": ""} == payload_of(folder) | {"made_at": ""}


def test_a_report_is_good_alone_and_against_its_log(writer, log, key, folder):
    assert good(checked(folder, key)) == f"good: {folder} is as it was signed\n"
    against = ("--log", log, "--vkey", writer.verifier.format())
    assert good(checked(folder, key, *against)).endswith(
        "as it was signed, and it is as the log says\n"
    )


def test_a_copy_with_other_files_gives_the_same_report(writer, log, key, folder, tmp_path):
    copy = Path(shutil.copytree(log, tmp_path / "copy"))
    (copy / "note.txt").write_text("x")
    (copy / "tile/0/000.p/1").write_bytes((copy / "tile/0/000.p/198").read_bytes()[:32])
    against = ("--log", copy, "--vkey", writer.verifier.format())
    good(checked(folder, key, *against))


def test_a_report_of_a_cosigned_copy_is_that_of_one_without_cosignatures(
    writer, log, key, folder, tmp_path
):
    copy = cosigned(log, tmp_path / "copy")
    there = made(copy, writer, key, tmp_path / "r")
    report = payload_of(there)
    assert report["checkpoint"].encode() == (copy / "checkpoint").read_bytes()
    assert [each["name"] for each in report["signatures"]] == [writer.verifier.name, WITNESS.name]
    for each, other in ((there, log), (folder, copy)):
        good(checked(each, key, "--log", other, "--vkey", writer.verifier.format()))


def test_a_checkpoint_that_the_log_did_not_sign_is_found(writer, log, key, folder, tmp_path):
    against = ("--log", log, "--vkey", writer.verifier.format())
    text, _, _ = payload_of(folder)["checkpoint"].partition("\n\n")
    for number, note in enumerate(
        ("", "no note", f"{text}\n\n— {writer.verifier.name} AAAAAAA=\n")
    ):
        target = tmp_path / str(number)
        other = resigned(
            folder, target, key, lambda report, note=note: report.update(checkpoint=note)
        )
        assert '"checkpoint"' in violated(checked(other, key, *against), "wrong_report")


def test_a_cosigner_who_is_not_under_the_checkpoint_is_found(writer, log, key, folder, tmp_path):
    cosigner = {"name": "witness.test", "key_id": "00000000"}
    other = resigned(
        folder, tmp_path / "r", key, lambda report: report["signatures"].append(cosigner)
    )
    against = ("--log", log, "--vkey", writer.verifier.format())
    violated(checked(other, key, *against), "wrong_report")


def test_thresholds_stand_in_the_report_and_are_checked(writer, log, key, tmp_path):
    options = ("--threshold", "late_void=9999", "--threshold", "high_price=100")
    folder = made(log, writer, key, tmp_path / "r", *options)
    report = payload_of(folder)
    limits = {each["name"]: each["threshold"] for each in report["rules"]}
    assert (limits["late_void"], limits["high_price"]) == (9999, 100)
    rules = {each["rule"] for each in report["exceptions"]}
    assert "late_void" not in rules
    assert "high_price" in rules
    good(checked(folder, key, "--log", log, "--vkey", writer.verifier.format()))


def test_openssl_verifies_the_signature(folder, key, tmp_path):
    envelope = dsse.parse((folder / "report.json").read_bytes(), REPORT_TYPE)
    (tmp_path / "message").write_bytes(dsse.pae(REPORT_TYPE, envelope.payload))
    (tmp_path / "signature").write_bytes(envelope.signature)
    files = ("-in", tmp_path / "message", "-sigfile", tmp_path / "signature")
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", key.with_suffix(".pub"), "-rawin", *files)


# What is found


def violated(result, code: str) -> str:
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"VIOLATED: {code}: ")
    return result.stderr


def resigned(folder: Path, target: Path, key: Path, change) -> Path:
    """Let the auditor sign another payload, and draw it."""
    report = payload_of(folder)
    change(report)
    payload = json.dumps(report, ensure_ascii=False, indent=1).encode()
    reporting.write_report(payload, read_key(key), target)
    return target


def test_a_payload_that_was_changed_is_found(folder, key, tmp_path):
    bad = Path(shutil.copytree(folder, tmp_path / "bad"))
    envelope = json.loads((bad / "report.json").read_text())
    payload = base64.b64decode(envelope["payload"]).replace(b"checker", b"chooser", 1)
    envelope["payload"] = base64.b64encode(payload).decode()
    (bad / "report.json").write_text(json.dumps(envelope))
    violated(checked(bad, key), "wrong_signature")


def test_another_auditors_report_is_found(folder, tmp_path):
    other = tmp_path / "other.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", other)
    openssl("pkey", "-in", other, "-pubout", "-out", other.with_suffix(".pub"))
    violated(checked(folder, other), "wrong_signature")


def test_a_picture_of_something_else_is_found(log, writer, key, folder, tmp_path):
    bad = Path(shutil.copytree(folder, tmp_path / "bad"))
    other = made(log, writer, key, tmp_path / "en", "--lang", "en")
    shutil.copy(other / "report.pdf", bad / "report.pdf")
    violated(checked(bad, key), "wrong_picture")


def test_a_report_that_hides_an_exception_is_found(writer, log, key, folder, tmp_path):
    bad = resigned(folder, tmp_path / "bad", key, lambda report: report["exceptions"].pop(0))
    good(checked(bad, key))  # it is what the auditor signed
    against = ("--log", log, "--vkey", writer.verifier.format())
    violated(checked(bad, key, *against), "wrong_report")


def test_a_report_that_is_longer_is_found(writer, log, key, folder, tmp_path):
    bad = resigned(folder, tmp_path / "bad", key, lambda report: report.update(more=1))
    against = ("--log", log, "--vkey", writer.verifier.format())
    violated(checked(bad, key, *against), "wrong_report")


def test_a_report_that_ends_otherwise_is_found(writer, log, key, folder, tmp_path):
    payload = dsse.parse((folder / "report.json").read_bytes(), REPORT_TYPE).payload
    against = ("--log", log, "--vkey", writer.verifier.format())
    for number, end in enumerate((b"\n", b"\n\n", b" ")):
        bad = tmp_path / str(number)
        reporting.write_report(payload + end, read_key(key), bad)
        violated(checked(bad, key, *against), "wrong_report")


def test_a_report_of_another_history_is_found(writer, log, key, tmp_path):
    other = history(3)
    assert other.log.size < writer.log.size
    folder = made(other.export(tmp_path / "log"), other, key, tmp_path / "report")
    against = ("--log", log, "--vkey", writer.verifier.format())
    assert "by the log" in violated(checked(folder, key, *against), "wrong_report")


# What cannot be checked, or written


def untold(result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_a_report_of_another_size_of_its_log_accuses_nobody(key, tmp_path):
    writer = history(3)
    short, size = writer.export(tmp_path / "short"), writer.log.size
    writer.enterprise(uscc_of(7))
    long, vkey = writer.export(tmp_path / "long"), writer.verifier.format()
    for number, (of, other) in enumerate(((short, long), (long, short))):
        words = ("audit", "report", of, tmp_path / str(number), "--vkey", vkey, "--key", key)
        good(kashi(*words, "--auditor", AUDITOR))
        said = untold(checked(tmp_path / str(number), key, "--log", other, "--vkey", vkey))
        assert f"made of {size + number} entries" in said


@pytest.mark.parametrize("name", ["report.json", "report.pdf"])
def test_half_a_report_is_none(folder, key, tmp_path, name):
    bad = Path(shutil.copytree(folder, tmp_path / "bad"))
    (bad / name).unlink()
    assert "holds no report" in untold(checked(bad, key))


@pytest.mark.parametrize(
    "payload", [b"{}", b"[]", b"no", b"[" * 100_000, b'{"language":"fr"}', b'{"log":[]}']
)
def test_what_was_signed_and_is_no_report_is_told(key, tmp_path, payload):
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    sealed = dsse.seal(REPORT_TYPE, payload, "auditor", read_key(key))
    (tmp_path / "report.json").write_bytes(sealed)
    assert "the payload is no report" in untold(checked(tmp_path, key))


def test_a_report_of_another_version_is_left_to_that(key, folder, tmp_path):
    told = {"program": "k 9"}
    other = resigned(folder, tmp_path / "r", key, lambda report: report["log"].update(told))
    assert "k 9 made it, and this is kashi " in untold(checked(other, key))


def test_a_key_that_is_none_is_told(writer, log, folder, tmp_path):
    (tmp_path / "key.pem").write_text("no")
    (tmp_path / "key.pub").write_text("no")
    assert "holds no PEM" in untold(checked(folder, tmp_path / "key.pem"))
    openssl("genpkey", "-algorithm", "x25519", "-out", tmp_path / "x.pem")
    vkey = writer.verifier.format()
    for name, said in (("key.pem", "holds no PEM"), ("x.pem", "is not Ed25519")):
        words = ["audit", "report", log, tmp_path / "r", "--vkey", vkey, "--auditor", "a"]
        assert said in untold(kashi(*words, "--key", tmp_path / name))


@pytest.mark.parametrize("text", ["late_void", "late_void=x", "nothing=1", "withheld=1"])
def test_a_bad_threshold_is_told(writer, log, key, tmp_path, text):
    words = ["audit", "report", log, tmp_path / "r", "--vkey", writer.verifier.format()]
    result = kashi(*words, "--key", key, "--auditor", "a", "--threshold", text)
    assert untold(result).startswith("could not write: no")


def test_a_log_needs_its_key(log, folder, key):
    result = checked(folder, key, "--log", log)
    assert (result.exit_code, "--log needs --vkey" in result.stderr) == (2, True)


@pytest.mark.parametrize("missing", ["rules", "auditor", "made_at", "language"])
def test_a_payload_that_is_no_report_cannot_be_made_again(folder, missing):
    payload = payload_of(folder)
    assert asked_by(json.dumps(payload).encode()).auditor == payload["auditor"]
    del payload[missing]
    for data in (json.dumps(payload).encode(), b"[]", b"no JSON"):
        with pytest.raises(CannotCheck, match="the payload is no report"):
            asked_by(data)


def test_a_line_of_a_report_is_told_by_its_first_characters():
    assert reporting._short(b"x" * 300) == "'" + "x" * 199
    assert reporting._short(b"  short ") == "'short'"
