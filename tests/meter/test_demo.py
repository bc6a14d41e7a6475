"""The demonstration, run whole; and its loud failure where a result is not as expected."""

import asyncio
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ledger.note import Verifier
from ledger.report import Finding, Report
from ledger.verify import verify
from meter import client
from meter.auditor.replay import Audit
from meter.demo import scenario, trace
from meter.demo import story as demo
from meter.host.data_folder import DATABASE_VARIABLE
from meter.values.units import DAY_SECONDS
from tests.conftest import memory_folder
from tests.traces import trace as trace_text

MONTH = 31 * DAY_SECONDS

# Two enterprises with enough room and one without. The tasks of its first contract are covered.
# When one of them is voided, the money that becomes free goes to the second contract.
SMALL = trace_text(
    *(f"ls-{i},1,1,1,460,,LS,Running,0,{i * 5_000 + 40_000},{i * 5_000}" for i in range(30)),
    f"long,1,1,8,1000,,LS,Running,0,{70 * DAY_SECONDS},0",
    "burst-0,1,1,8,1000,,Burstable,Failed,0,90000,3600",
    *(
        f"best-{i},1,1,2,1000,,BE,Succeeded,0,{(i + 3) * 86_400},{(i + 2) * 86_400}"
        for i in range(8)
    ),
    f"late,1,1,1,1000,,Guaranteed,Running,0,{150 * DAY_SECONDS},{140 * DAY_SECONDS}",
    "cpu,1,1,0,0,,BE,Running,0,900,0",
    "never,1,1,1,1000,,BE,Pending,0,,",
)

STEPS = (
    "A new ledger",
    "The authority sets the rules",
    "A simulated cluster works for three weeks",
    "A coupon runs out in the middle of a record",
    "A void gives money back",
    "An enterprise claims what it was granted, and the city pays",
    "A breach is found: a part is taken away and comes back",
    "Claims for 2025 are over: what coupons have left expires",
    "The ledger is exported, the service stops, and an auditor verifies",
    "Two forgeries",
    "Balances",
)


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.csv"
    file.write_text(SMALL)
    return file


def told(file: Path | None, folder: Path, **options) -> tuple[int, str]:
    """Run the demonstration; returns its exit code and its output on one line."""
    out = StringIO()
    code = asyncio.run(demo.demo(file, folder, Console(file=out, width=100), **options))
    return code, " ".join(out.getvalue().split())


def test_the_whole_story_comes_out(folder):
    code, text = told(None, folder, kept=True)
    assert code == 0, text
    titles = [text.index(f" {number} {title}") for number, title in enumerate(STEPS, 1)]
    assert titles == sorted(titles)
    assert "policy training-coupon 2024-12: 50 %, startups 60 %" in text
    assert "contract TC-2025-0001 of 甲机器人公司 over 20,000,000.00, standard" in text
    assert "contract TC-2025-0002 of 乙大模型公司 over 600,000.00, startup" in text
    assert "cap_exceeded: 10000000.01 is above 10000000.00" in text
    assert "sent again, as after a lost answer: the same receipt" in text
    check_that_most_records_were_plain(text)
    check_that_the_coupon_ran_out(text)
    check_that_the_void_gave_to_the_other_contract(text)
    check_the_payment(text)
    check_the_forgeries(text)
    assert "2025 startup 60,000.00" in text
    assert "60,000.00 14,435.40 0.00" in text, "granted, uncovered and remaining of the startup"
    assert "both sides agree in each figure" in text
    assert f"kashi verify {folder}/export --vkey {folder}/log.vkey" in text.replace("/ ", "/")
    check_what_is_left_behind(folder)


def check_that_most_records_were_plain(text: str) -> None:
    share = re.search(r"([\d.]+)% of them were judged by groups", text)
    assert float(share[1]) >= 95, text


def check_the_payment(text: str) -> None:
    approved, paid = re.search(
        r"check and approve it ([\d,.]+) .* pays what is left after debts ([\d,.]+) ", text
    ).groups()
    assert approved == paid != "0.00"
    assert "same_person: wang acted on it before" in text
    assert "甲机器人公司 was paid all that TC-2025-0001 was granted" in text
    taken, back = re.search(
        r"([\d,.]+) of TC-2025-0001 are forfeited; .* 甲机器人公司 paid ([\d,.]+) back", text
    ).groups()
    assert fen(taken) == fen(back) == fen(paid) // 100
    expired = re.search(r"what they have left goes back to the pool ([\d,.]+) ", text)[1]
    assert fen(expired) > 0
    assert "2025 is closed: nothing carries over" in text


def fen(text: str) -> int:
    return int(text.replace(",", "").replace(".", ""))


def check_that_the_coupon_ran_out(text: str) -> None:
    money = r"([\d,]+\.\d\d)"
    match = re.search(
        rf"(slurm:\d+:\d+) {money} {money} {money} {money} coupon What it cannot", text
    )
    cost, entitled, granted, uncovered = (
        int(figure.replace(",", "").replace(".", "")) for figure in match.groups()[1:]
    )
    assert 0 < granted < entitled < cost
    assert uncovered == entitled - granted
    assert entitled == cost * 6000 // 10_000


def check_that_the_void_gave_to_the_other_contract(text: str) -> None:
    amount = re.search(r"of ([\d.]+) that come back, \1 go on to the contract that was short", text)
    account = r"coupon:training-coupon:2025:91440300MA5K\w{6}"
    assert re.search(rf"accrued:TC-2025-0002:2025 → {account} {amount[1]}", text)
    assert re.search(rf"{account} → accrued:TC-2025-0003:2025 {amount[1]}", text)
    assert "node failed, not charged" in text


def check_the_forgeries(text: str) -> None:
    number = re.search(r"one bit of entry (\d+) is another", text)[1]
    assert f"VIOLATED: entry {number}: bad_entry" in text
    assert f"VIOLATED: entry {number}: not_as_decided: postings[1] is" in text


def check_what_is_left_behind(folder: Path) -> None:
    verifier = Verifier.parse((folder / "log.vkey").read_text().strip())
    assert verify(folder / "export", verifier, Audit()).ok
    assert not verify(folder / "flipped", verifier, Audit()).ok
    assert verify(folder / "forged", verifier).ok, "its bytes, tree and signature are right"
    assert not verify(folder / "forged", verifier, Audit()).ok


def test_the_story_of_a_small_trace_comes_out(folder, small):
    code, text = told(small, folder)
    assert code == 0, text
    total = trace.Totals.of(SMALL)
    assert f"thousandths × seconds, voids too {total.device_time:,} {total.device_time:,}" in text
    assert "tasks metered 41 41" in text
    assert "records, long tasks sliced 43 43" in text
    assert "tasks skipped, without a GPU 1 1" in text
    assert "tasks skipped, never scheduled 1 1" in text
    assert "policy training-coupon 2024-12-trace" in text
    assert "second 0 is 2025-08-25T00:00:00+08:00" in text
    assert "go on to the contract that was short" in text
    check_the_forgeries(text)
    assert "kashi verify" not in text, "the folder is not kept"


def test_the_story_of_the_published_trace_comes_out(folder, real_data):
    code, text = told(real_data / "cluster-trace-gpu-2023-pods.csv", folder)
    assert code == 0, text
    assert "thousandths × seconds, voids too 185,294,426,970 185,294,426,970" in text
    assert "tasks metered 6,203 6,203" in text
    assert "records, long tasks sliced 6,245 6,245" in text
    assert "tasks skipped, without a GPU 1,088 1,088" in text
    assert "tasks skipped, never scheduled 861 861" in text
    assert "6,245 records accepted in 13 batches" in text
    check_the_forgeries(text)


def test_a_trace_of_which_nothing_is_short_says_so(folder, tmp_path):
    file = tmp_path / "one.csv"
    file.write_text(trace_text("a,1,1,1,1000,,LS,Running,0,90000,0"))
    code, text = told(file, folder)
    assert code == 0, text
    assert "Not here: the coupons cover all of this usage." in text
    assert "are free in the coupon again" in text
    assert "Not here: no coupon has granted anything that can be claimed." in text


# Where it must fail


def elsewhere(folder, verifier, *rest) -> Report:
    """Blame another entry."""
    report = verify(folder, verifier, *rest)
    findings = [Finding(each.code, each.detail, each.entry + 1) for each in report.findings]
    return Report(report.origin, report.size, report.root, findings, report.checks)


def suspicious(_, verifier, *__) -> Report:
    """Find something wrong in anything."""
    return Report(verifier.name, 0, b"", [Finding("bad_root", "it is not right")], [])


def only_the_bytes(folder, verifier, _, progress) -> Report:
    """Leave the rules out."""
    return verify(folder, verifier, None, progress)


@pytest.mark.parametrize(
    ("verification", "words"),
    [
        (elsewhere, "is blamed, but entry"),
        (suspicious, "the exported ledger does not verify: the ledger: bad_root"),
        (only_the_bytes, "verification found nothing wrong in forged"),
    ],
)
def test_a_verification_that_does_not_do_its_work_fails_the_story(
    folder, small, monkeypatch, verification, words
):
    monkeypatch.setattr(demo, "verify", verification)
    code, text = told(small, folder)
    assert (code, words in text) == (1, True), text
    assert "everything came out" not in text


async def with_a_fen_more(self, path, **query):
    answer = await ASK(self, path, **query)
    if "granted" in answer:
        answer["granted"] = "1" + answer["granted"]
    return answer


ASK = client.Service.ask


def test_a_balance_that_the_entries_do_not_give_fails_the_story(folder, small, monkeypatch):
    monkeypatch.setattr(client.Service, "ask", with_a_fen_more)
    code, text = told(small, folder)
    assert (code, "entries add up to" in text) == (1, True), text


def test_a_device_second_that_is_not_accounted_for_fails_the_story(folder, small, monkeypatch):
    counted = trace.Totals.of(SMALL)
    counted.device_time += 1
    monkeypatch.setattr(scenario.Totals, "of", lambda _: counted)
    code, text = told(small, folder)
    assert (code, "the two sides differ in thousandths" in text) == (1, True), text


def test_a_record_that_is_refused_fails_the_story(folder, small, monkeypatch):
    monkeypatch.setattr(scenario, "TRACE_LATENESS_DAYS", 100)
    monkeypatch.setattr(scenario, "TRACE_MAX_DAYS", 399)
    code, text = told(small, folder)
    assert (code, "was not accepted" in text, "too_late" in text) == (1, True, True), text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\n", "bad_trace: line 1: no column"),
        (trace_text("a,1,1,1,1000,,LS,Running,0,9,x"), "bad_trace: line 2: scheduled_time"),
        (
            trace_text(f"a,1,1,1,1000,,LS,Running,0,{400 * DAY_SECONDS},0"),
            "bad_trace: its tasks lie more than 399 days apart",
        ),
    ],
)
def test_a_trace_that_cannot_be_used_fails_the_story_before_it_begins(
    folder, tmp_path, text, words
):
    file = tmp_path / "bad.csv"
    file.write_text(text)
    code, printed = told(file, folder)
    assert (code, words in printed) == (1, True), printed
    assert list(folder.iterdir()) == []


def test_a_trace_that_is_not_there_fails_the_story(folder, tmp_path):
    code, text = told(tmp_path / "none.csv", folder)
    assert (code, "No such file" in text) == (1, True), text


def test_a_folder_that_holds_something_is_left_alone(folder):
    (folder / "mine").write_text("kept")
    code, text = told(None, folder)
    assert (code, "not_empty" in text) == (1, True), text
    assert [file.name for file in folder.iterdir()] == ["mine"]


def test_a_database_of_ones_own_is_left_alone(folder, monkeypatch):
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://example.test/production")
    code, text = told(None, folder)
    assert (code, f"{DATABASE_VARIABLE} is set" in text) == (1, True), text
    assert list(folder.iterdir()) == []


@pytest.mark.long
def test_of_a_real_cluster_nearly_all_is_judged_by_groups(folder, real_data):
    code, text = told(real_data / "cluster-trace-gpu-2023-pods.csv", folder)
    assert code == 0, text
    check_that_most_records_were_plain(text)
