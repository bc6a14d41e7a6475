"""The evidence of a firm, an item or a claim: all of it is there, and nothing of others."""

import base64
import json
import shutil
import subprocess
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.errors import Violation
from ledger.proof import Proof
from meter.auditor.papers.evidence import compare, subject_of
from meter.auditor.papers.log import verified
from meter.rules.entries import BatchAccepted
from meter.rules.items import item_enterprise
from meter.values.units import parse_instant
from meter.wire.dsse import BATCH_TYPE, pae
from tests.books import ALPHA, BETA, DEVICE, lifted, log_signer, record
from tests.commands import good, kashi
from tests.meter import test_two_years
from tests.witnesses import cosigned
from tests.writer import Writer

START = parse_instant("2025-03-01T08:00:00+08:00")
GAMMA = test_two_years.GAMMA


def packed(log: Path, writer: Writer, target: Path, *subject: str) -> Path:
    key = writer.verifier.format()
    said = good(kashi("audit", "evidence", log, target, "--vkey", key, *subject))
    count = len(list((target / "entries").glob("*.json")))
    root = writer.log.root().hex()
    assert said == f"{target}: {count} of {writer.log.size} entries, root {root}\n"
    return target


@pytest.fixture(scope="module")
def folder(log, writer, tmp_path_factory) -> Path:
    return packed(log, writer, tmp_path_factory.mktemp("e") / "claim", "--claim", "C-A")


def checked(folder: Path, writer: Writer, *options: object):
    return kashi("audit", "check", folder, "--vkey", writer.verifier.format(), *options)


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "entries").glob("*.json"))


def about(folder: Path) -> dict:
    return json.loads((folder / "about.json").read_text())


# What is in it


def test_a_package_is_good_alone_and_against_its_log(log, writer, folder):
    count = len(numbers(folder))
    assert good(checked(folder, writer)) == f"good: {folder}: {count} entries are in the log\n"
    said = good(checked(folder, writer, "--log", log))
    assert said == f"good: {folder}: {count} entries are in the log, and it is as the log says\n"


def test_the_entries_are_the_ledgers_own_bytes(writer, folder):
    for number in numbers(folder):
        name = folder / "entries" / f"{number:06d}"
        assert name.with_suffix(".json").read_bytes() == writer.leaves[number]
        assert Proof.parse(name.with_suffix(".tlog-proof").read_bytes()).index == number
    assert (folder / "checkpoint").read_text() == writer.checkpoint()


def test_a_claim_has_its_steps_its_contract_and_what_was_used(writer, folder):
    kinds = [writer.entries[number].kind for number in numbers(folder)]
    assert {"enterprise", "contract", "usage", "issue", "claim", "approval", "order"} <= set(kinds)
    named = {
        getattr(writer.entries[n], "claim", None) or getattr(writer.entries[n], "id", None)
        for n in numbers(folder)
        if writer.entries[n].kind in {"claim", "approval", "notice", "order", "payment"}
    }
    assert named == {"C-A"}
    contracts = {getattr(writer.entries[n], "contract", "A") for n in numbers(folder)}
    assert contracts == {"A"}
    steps = [n for n, each in enumerate(writer.entries) if getattr(each, "claim", "") == "C-A"]
    assert set(steps) <= set(numbers(folder))


def test_a_contract_has_all_of_its_records(log, writer, tmp_path):
    folder = packed(log, writer, tmp_path / "e", "--item", "A")
    records = {n for n, each in enumerate(writer.entries) if getattr(each, "contract", "") == "A"}
    assert records <= set(numbers(folder))
    good(checked(folder, writer, "--log", log))


def test_an_award_can_be_packed(log, writer, tmp_path):
    award = next(iter(writer.state.awards))
    folder = packed(log, writer, tmp_path / "e", "--item", award)
    assert "award" in {writer.entries[number].kind for number in numbers(folder)}
    good(checked(folder, writer, "--log", log))


def test_a_package_names_its_subject(writer):
    state = writer.state
    item = state.claims.claim("C-A").entered.item
    firm = state.last_successor(item_enterprise(state, item))
    found = [subject_of(state, *each) for each in (("claim", "C-A"), ("item", item))]
    assert [astuple(each) for each in found] == [(firm, item, "C-A"), (firm, item, "")]
    assert astuple(subject_of(state, "enterprise", firm)) == (firm, "", "")
    for kind in ("claim", "item", "enterprise"):
        with pytest.raises(ValueError, match=r"no .* 'nobody'"):
            subject_of(state, kind, "nobody")


@pytest.mark.parametrize("firm", [ALPHA, BETA, GAMMA])
def test_a_package_holds_nothing_of_other_firms(log, writer, tmp_path, firm):
    folder = packed(log, writer, tmp_path / "e", "--enterprise", firm)
    own = writer.state.last_successor(firm)
    others = {code for code in writer.state.enterprises if writer.state.last_successor(code) != own}
    assert others
    contracts = writer.state.contracts.items()
    foreign = [name for name, each in contracts if each.agreed.enterprise in others]
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [code for code in others if code.encode() in data], path
            assert not [name for name in foreign if f'"contract":"{name}"'.encode() in data], path
    good(checked(folder, writer, "--log", log))


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> tuple[Writer, Path]:
    """A ledger in which one batch is of two firms, and one of ALPHA alone."""
    writer = Writer("2025-03-10T12:00:00+08:00")
    writer.activate(lifted())
    writer.provider(devices={DEVICE: 1_000})
    writer.key()
    writer.enterprise()
    writer.enterprise(BETA)
    writer.contract("A")
    writer.contract("B", enterprise=BETA)
    hour = (START, START + 3_600, 1_000)
    writer.post([record("both-a", "A", *hour), record("both-b", "B", *hour)])
    writer.post([record("alone", "A", START + 3_600, START + 7_200, 1_000)])
    writer.post([record("refused", "A", *hour), record("none", "nobody", *hour)])
    return writer, writer.export(tmp_path_factory.mktemp("shared"))


def test_a_batch_of_several_firms_is_named_and_not_shown(shared, tmp_path):
    writer, log = shared
    folder = packed(log, writer, tmp_path / "e", "--enterprise", ALPHA)
    batches = [n for n, each in enumerate(writer.entries) if isinstance(each, BatchAccepted)]
    both, alone, unknown = batches
    assert about(folder)["shared_batches"] == [both, unknown]
    assert [path.name for path in (folder / "batches").iterdir()] == [f"{alone:06d}.json"]
    assert {writer.entries[n].id for n in numbers(folder) if writer.entries[n].kind == "usage"} == {
        *("both-a", "alone", "refused"),
    }


def test_openssl_verifies_a_batch_by_hand(shared, tmp_path):
    writer, log = shared
    folder = packed(log, writer, tmp_path / "e", "--enterprise", ALPHA)
    (path,) = (folder / "batches").iterdir()
    envelope = json.loads(json.loads(path.read_bytes())["envelope"])
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "PAE").write_bytes(pae(BATCH_TYPE, payload))
    (signature,) = envelope["signatures"]
    (tmp_path / "SIGNATURE").write_bytes(base64.b64decode(signature["sig"]))
    key = folder / "keys" / f"{signature['keyid']}.pem"
    words = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key)]
    words += ["-in", str(tmp_path / "PAE"), "-sigfile", str(tmp_path / "SIGNATURE")]
    assert subprocess.run(words, capture_output=True).returncode == 0
    assert " ".join(words[1:6]) in (folder / "README.md").read_text()


def test_a_leaf_hash_is_made_by_hand(writer, folder):
    number = numbers(folder)[0]
    command = f"(printf '\\0'; cat entries/{number:06d}.json) | sha256sum"
    assert command.replace(f"{number:06d}", "000041") in (folder / "README.md").read_text()
    made = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    expected = sha256(b"\0" + writer.leaves[number]).hexdigest()
    assert made.stdout.split()[0] == expected


def test_the_same_log_and_subject_give_the_same_bytes(log, writer, folder, tmp_path):
    again = packed(log, writer, tmp_path / "again", "--claim", "C-A")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [(again / name).read_bytes() for name in files] == [
        (folder / name).read_bytes() for name in files
    ]


def test_what_a_package_says_of_itself_has_one_spelling(log, writer, folder):
    with verified(str(log), writer.verifier.format(), None, lambda *_: None) as held:
        told = {
            "kind": "kashi-evidence/v1",
            **held.about(),
            "subject": {"enterprise": ALPHA, "item": about(folder)["subject"]["item"]},
            "shared_batches": about(folder)["shared_batches"],
            "files": about(folder)["files"],
        }
    told["subject"]["claim"] = "C-A"
    spelt = json.dumps(told, ensure_ascii=False, indent=1) + "\n"
    assert (folder / "about.json").read_text() == spelt


# What is found


def violated(result) -> str:
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert result.stderr.startswith("VIOLATED: wrong_package: ")
    return result.stderr


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_an_entry_that_was_changed_is_found(writer, copy):
    path = next((copy / "entries").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b'"v":1', b'"v":2'))
    assert path.with_suffix(".tlog-proof").name in violated(checked(copy, writer))


def test_an_entry_under_another_number_is_found(writer, copy):
    one, other, *_ = sorted((copy / "entries").glob("*.json"))
    for suffix in (".json", ".tlog-proof"):
        shutil.copy(one.with_suffix(suffix), other.with_suffix(suffix))
    assert "another checkpoint or entry" in violated(checked(copy, writer))


@pytest.mark.parametrize("name", ["README.md", "checkpoint"])
def test_what_is_no_entry_is_compared_with_the_log(log, writer, copy, name):
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    violated(checked(copy, writer, "--log", log))


def test_a_file_more_or_less_is_found(writer, copy):
    (copy / "more.txt").write_text("x")
    assert "about.json names" in violated(checked(copy, writer))
    (copy / "more.txt").unlink()
    next((copy / "entries").glob("*.json")).unlink()
    assert "about.json names" in violated(checked(copy, writer))


def test_a_package_that_leaves_an_entry_out_is_found_by_the_log(log, writer, copy):
    gone = max((copy / "entries").glob("*.json"))
    names = {f"entries/{gone.stem}{suffix}" for suffix in (".json", ".tlog-proof")}
    told = about(copy)
    told["files"] = [name for name in told["files"] if name not in names]
    for name in names:
        (copy / name).unlink()
    (copy / "about.json").write_text(json.dumps(told))
    good(checked(copy, writer))  # what is there is right
    violated(checked(copy, writer, "--log", log))


def test_a_receipt_that_was_changed_is_found(shared, tmp_path):
    writer, log = shared
    folder = packed(log, writer, tmp_path / "e", "--enterprise", ALPHA)
    (path,) = (folder / "batches").iterdir()
    accepted, rejected = (f'status\\":\\"{word}'.encode() for word in ("accepted", "rejected"))
    assert accepted in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(accepted, rejected, 1))
    assert path.name in violated(checked(folder, writer))


def test_a_proof_or_a_batch_of_an_older_checkpoint_is_found(tmp_path):
    writer = Writer("2025-03-10T12:00:00+08:00")
    writer.activate(lifted())
    writer.provider(devices={DEVICE: 1_000})
    writer.key()
    writer.enterprise()
    writer.contract("A")
    folders = []
    for number in range(2):
        start = START + number * 3_600
        writer.post([record(f"r{number}", "A", start, start + 3_600, 1_000)])
        log = writer.export(tmp_path / f"log{number}")
        folders.append(packed(log, writer, tmp_path / f"e{number}", "--enterprise", ALPHA))
    old, new = folders
    for pattern in ("entries/*.tlog-proof", "batches/*.json"):
        name = next(old.glob(pattern)).relative_to(old)
        kept = (new / name).read_bytes()
        shutil.copy(old / name, new / name)
        assert "another checkpoint" in violated(checked(new, writer))
        (new / name).write_bytes(kept)
    good(checked(new, writer))


def test_a_package_of_another_size_of_its_log_accuses_nobody(tmp_path):
    writer = Writer("2025-03-10T12:00:00+08:00")
    writer.enterprise()
    logs, packages = [], []
    for number in range(2):
        logs.append(writer.export(tmp_path / f"log{number}"))
        packages.append(
            packed(logs[number], writer, tmp_path / f"e{number}", "--enterprise", ALPHA)
        )
        writer.enterprise(BETA)
    for number in range(2):
        good(checked(packages[number], writer, "--log", logs[number]))
        result = checked(packages[number], writer, "--log", logs[1 - number])
        said = f"made of {2 + number} entries, and this copy of the log has {3 - number}"
        assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_package_of_a_cosigned_copy_is_that_of_one_without_cosignatures(
    log, writer, folder, tmp_path
):
    copy = cosigned(log, tmp_path / "copy")
    there = packed(copy, writer, tmp_path / "e", "--claim", "C-A")
    assert (there / "checkpoint").read_bytes() == (copy / "checkpoint").read_bytes()
    for each, other in ((there, log), (folder, copy)):
        good(checked(each, writer, "--log", other))


def test_a_package_under_another_key_is_found(folder):
    key = log_signer("other").verifier.format()
    violated(kashi("audit", "check", folder, "--vkey", key))


# What cannot be packed or checked


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (("--claim", "none"), "no claim 'none'"),
        (("--item", "none"), "no contract or award 'none'"),
        (("--enterprise", "none"), "no enterprise 'none'"),
    ],
)
def test_what_is_not_in_the_ledger_is_told(log, writer, tmp_path, subject, said):
    key = writer.verifier.format()
    result = kashi("audit", "evidence", log, tmp_path / "e", "--vkey", key, *subject)
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("subject", [(), ("--item", "A", "--claim", "C-A")])
def test_one_subject_is_named(log, writer, tmp_path, subject):
    key = writer.verifier.format()
    result = kashi("audit", "evidence", log, tmp_path / "e", "--vkey", key, *subject)
    assert "name one of" in result.stderr


def test_a_package_of_another_version_is_left_to_that(log, writer, copy):
    (copy / "about.json").write_text(json.dumps(about(copy) | {"program": "k 9"}))
    result = checked(copy, writer, "--log", log)
    assert (result.exit_code, "k 9 made it" in result.stderr) == (2, True)


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", DEEP, b'{"kind":"kashi-evidence/v1","files":[1]}']
)
def test_a_folder_that_is_no_package_is_told(writer, copy, data):
    (copy / "about.json").write_bytes(data)
    result = checked(copy, writer)
    assert (result.exit_code, "no evidence package" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "subject", [None, [], "C-A", {}, {"enterprise": ALPHA, "item": ""}, {"item": "", "claim": ""}]
)
def test_a_package_that_names_no_subject_is_told(log, writer, copy, subject):
    told = about(copy)
    told["subject"] = subject
    (copy / "about.json").write_text(json.dumps(told))
    result = checked(copy, writer, "--log", log)
    assert (result.exit_code, "about.json names no subject" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["note.txt", "entries/999999.json", "other/one"])
def test_a_file_that_the_log_does_not_give_is_found(writer, log, copy, name):
    with verified(str(log), writer.verifier.format(), None, lambda *_: None) as held:
        compare(copy, held)
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(b"{}")
        with pytest.raises(Violation, match="there are files that the log does not give"):
            compare(copy, held)
    assert "about.json names" in violated(checked(copy, writer, "--log", log))


def test_what_cannot_be_read_is_told_and_is_no_violation(writer, copy):
    (copy / "checkpoint").unlink()
    result = checked(copy, writer)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "checkpoint cannot be read" in result.stderr
