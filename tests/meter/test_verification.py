"""The further checks of `kashi verify`: growth, witnesses; and the fetching of a log."""

import contextlib
import gzip
import http.server
import json
import random
import shutil
import threading
import time
from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner, Result

from ledger.bundle import Segment, encode_bundle
from ledger.cosign import Cosigner, add_cosignatures
from ledger.note import Checkpoint, Signer, claimed_checkpoint, sign
from ledger.publish import Publisher
from ledger.seen import Seen
from ledger.tlog import Frontier, leaf_hash
from meter.auditor import fetch
from meter.cli.main import main
from tests.books import record
from tests.conftest import memory_folder
from tests.sites import NOON, START, Site, web_server
from tests.writer import Writer


def verify(site: Site, *words: object, source: object = None) -> Result:
    vkey = site.writer.signer.verifier.format()
    command = ["verify", source or site.folder, "--vkey", vkey, *words]
    return CliRunner().invoke(main, [str(word) for word in command])


def codes(result: Result) -> list[str]:
    """Return the codes of a violated ledger, from its JSON."""
    assert result.exit_code == 1, (result.output, result.exception)
    return [problem["code"] for problem in json.loads(result.stdout)["findings"]]


def good(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def unread(result: Result) -> list[tuple[str, str]]:
    """The code and file of each thing that could not be checked, of a report as JSON."""
    assert result.exit_code == 2, (result.output, result.exception)
    report = json.loads(result.stdout)
    assert report["verdict"] == "not_checked"
    assert {problem["verdict"] for problem in report["findings"]} == {"not_checked"}
    return [(problem["code"], problem["file"]) for problem in report["findings"]]


def not_checked(result: Result) -> str:
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("could not check: ")
    return result.stderr


# Gaps


def test_a_gap_is_asked_about_only_in_a_ledger_that_is_good(site):
    site.writer.post([], seq=10_000)
    site.post(1)
    site.publish()
    verdict = json.loads(good(verify(site, "--json")))
    assert verdict["gaps"][-1]["last"] == 9_999
    bundle = next(path for path in site.folder.glob("tile/entries/000*/**/*") if path.is_file())
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"]")  # the last entry, after the gap
    damaged = verify(site, "--json")
    assert "bad_entry" in codes(damaged)
    assert json.loads(damaged.stdout)["gaps"] == []


# Questions


def test_a_question_is_listed_with_its_entries_and_is_no_violation(site):
    site.post(1)
    site.publish()
    pair = (site.size - 2, site.size - 1)
    told = good(verify(site))
    entries = ", ".join(map(str, pair))
    assert f"(repeated): pcl, contract A: entries {entries}\n" in told
    assert told.endswith(f"good: root {claimed_checkpoint(site.checkpoint).root.hex()}\n")
    assert json.loads(good(verify(site, "--json")))["questions"] == [
        {
            "kind": "repeated",
            "provider": "pcl",
            "contracts": ["A"],
            "count": 1,
            "entries": list(pair),
        }
    ]
    (bundle,) = (site.folder / "tile/entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"!")
    damaged = verify(site, "--json")
    assert "bad_entry" in codes(damaged)
    assert json.loads(damaged.stdout)["questions"] == []


# Findings


def test_a_finding_is_told_with_its_entry_and_its_file(site):
    (bundle,) = (site.folder / "tile/entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"!")
    damaged = json.loads(verify(site, "--json").stdout)["findings"]
    name, last = bundle.relative_to(site.folder).as_posix(), site.size - 1
    (finding,) = (each for each in damaged if (each["entry"], each["file"]) == (last, name))
    line = f"VIOLATED: entry {last}, {name}: {finding['code']}: {finding['detail']}"
    assert line in verify(site).output.splitlines()


# Since an earlier state


def test_a_state_is_written_and_the_log_must_have_grown_from_it(site, tmp_path):
    state = tmp_path / "log.state"
    good(verify(site, "--state", state))
    seen = Seen.parse(state.read_bytes())
    assert seen.checkpoint == claimed_checkpoint(site.checkpoint)
    assert seen.vkey == site.writer.signer.verifier.format()
    for _ in range(2):
        old_size = site.size
        site.post(150)
        site.publish()
        report = json.loads(good(verify(site, "--since", state, "--state", state, "--json")))
        counts = {check["name"]: check["count"] for check in report["checks"]}
        assert counts["entries as seen before"] == old_size
        assert Seen.parse(state.read_bytes()).checkpoint.size == site.size
    assert site.size > 512
    assert [path.name for path in tmp_path.iterdir()] == ["www", "log.state"]


def test_fewer_entries_or_other_ones_than_seen_are_a_violation_and_no_new_state(site, tmp_path):
    state = tmp_path / "log.state"
    shorter, twin = site.writer.twin(), site.writer.twin()
    site.post(200)
    site.publish()
    good(verify(site, "--state", state))
    before = state.read_bytes()
    site.publish(shorter)
    both = ("--since", state, "--state", state, "--json")
    assert codes(verify(site, *both)) == ["rolled_back"]
    site.writer = twin
    site.post(210)
    site.publish()
    assert codes(verify(site, *both)) == ["forked"]
    assert state.read_bytes() == before
    # The log itself is right; without its past, nobody can see the fault.
    good(verify(site))


def test_a_log_with_damage_before_what_was_seen_is_damaged_and_not_forked(site, tmp_path):
    state = tmp_path / "log.state"
    good(verify(site, "--state", state))
    (path,) = (site.folder / "tile/entries").rglob("*.p/*")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert codes(verify(site, "--since", state, "--json")) == ["bad_entry"]


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257])
def test_any_earlier_checkpoint_is_found_in_the_log(site, tmp_path, size):
    site.post(90)
    site.publish()
    state = tmp_path / "log.state"
    root = prefix_root(site, size)
    for changed, expected in ((False, 0), (True, 1)):
        told = bytes([root[0] ^ changed]) + root[1:]
        checkpoint = type(claimed_checkpoint(site.checkpoint))(site.writer.signer.name, size, told)
        state.write_bytes(Seen(checkpoint, "a key").format())
        assert verify(site, "--since", state).exit_code == expected


def prefix_root(site: Site, size: int) -> bytes:
    return Frontier.over(b"".join(map(leaf_hash, site.writer.leaves[:size]))).root()


def test_a_state_that_is_none_or_of_another_log_checks_nothing(site, tmp_path):
    state = tmp_path / "log.state"
    assert "cannot be read" in not_checked(verify(site, "--since", state))
    good(verify(site, "--state", state))
    honest = json.loads(state.read_bytes())
    for text in (
        "",
        "nonsense",
        "[]",
        json.dumps(honest | {"more": 1}),
        json.dumps(honest | {"size": -1}),
        json.dumps(honest | {"size": "1"}),
        json.dumps(honest | {"root": "AAAA"}),
        json.dumps(honest | {"root": "?"}),
        json.dumps(honest | {"origin": ""}),
    ):
        state.write_text(text)
        assert "not the state" in not_checked(verify(site, "--since", state))
    state.write_text(json.dumps(honest | {"origin": "kashi.test/other"}))
    assert "another log" in not_checked(verify(site, "--since", state))
    assert "could not check" in not_checked(verify(site, "--state", tmp_path / "no/where"))


# A quorum


def test_too_few_cosignatures_check_nothing_and_a_wrong_one_is_a_violation(site, tmp_path):
    witnesses = [Cosigner.from_seed(f"w{n}.test/w", bytes([n] * 32)) for n in range(3)]
    lines = [f"witness w{n} {each.verifier.format()}" for n, each in enumerate(witnesses)]
    policy = tmp_path / "policy"
    vkey = site.writer.signer.verifier.format()
    policy.write_text("\n".join([f"log {vkey}", *lines, "group g 2 w0 w1 w2", "quorum g", ""]))
    text = claimed_checkpoint(site.checkpoint).format()
    words = ("--policy", policy, "--json")
    honest = site.checkpoint
    for count in range(4):
        cosignatures = [each.cosign(text, NOON) for each in witnesses[:count]]
        note = add_cosignatures(honest, cosignatures)
        (site.folder / "checkpoint").write_bytes(note)
        if count < 2:
            assert unread(verify(site, *words)) == [("not_witnessed", "checkpoint")]
            continue
        checks = json.loads(good(verify(site, *words)))["checks"]
        assert {"cosignatures": count}.items() <= {c["name"]: c["count"] for c in checks}.items()
    wrong = witnesses[2].cosign(text.replace("\n", "\n1", 1), NOON)
    (site.folder / "checkpoint").write_bytes(add_cosignatures(honest, [wrong]))
    assert codes(verify(site, *words)) == ["bad_note"]


def test_a_policy_of_another_log_or_none_at_all_is_told_apart(site, tmp_path):
    policy = tmp_path / "policy"
    stranger = Signer.from_seed(site.writer.signer.name, bytes(32)).verifier.format()
    policy.write_text(f"log {stranger}\nquorum none\n")
    assert unread(verify(site, "--policy", policy, "--json")) == [("not_signed", "checkpoint")]
    for text in ("", "nonsense\n"):
        policy.write_text(text)
        assert "bad_trust_policy" in not_checked(verify(site, "--policy", policy))
    assert "cannot be read" in not_checked(verify(site, "--policy", tmp_path / "missing"))


# What was checked


def test_each_check_has_a_name_a_count_and_a_time(site, tmp_path):
    site.post(20)
    site.publish()
    good(verify(site, "--state", tmp_path / "state"))
    report = json.loads(good(verify(site, "--json", "--since", tmp_path / "state")))
    assert [check["name"] for check in report["checks"]] == [
        "checkpoint signature",
        "files",
        "entries in the signed root",
        "entries as seen before",
        "entries replayed",
        "postings",
        "sums",
        "signatures",
    ]
    counts = {check["name"]: check["count"] for check in report["checks"]}
    # A contract, its enterprise, the coupon of its year, and the pools of the policy's three years.
    assert counts["sums"] == 6
    assert counts["signatures"] == 20 * 2
    assert all(check["seconds"] > 0 for check in report["checks"])
    shown = good(verify(site))
    assert "seconds" in shown
    for name in counts.keys() - {"entries as seen before"}:
        assert name in shown
    assert f"{site.size}" in shown


# Fetching


def test_a_cache_keeps_what_was_fetched_and_only_the_rest_is_asked_for(site, tmp_path):
    cache = tmp_path / "cache"
    words = ("--cache", cache)
    site.post(100)
    site.publish()
    good(verify(site, *words, source=site.url))
    full = {"tile/entries/000", "tile/0/000", "batches/000"}
    assert full <= set(site.fetched())
    # As if it had been interrupted: a file is missing, another is a draft.
    (cache / "tile/0/000").unlink()
    (cache / "tile/0/000.tmp").write_bytes(b"half")
    site.post(100)
    site.publish()
    good(verify(site, *words, source=site.url))
    asked = site.fetched()
    assert asked["tile/0/000"] == 1
    assert not {"tile/entries/000", "batches/000"} & set(asked)
    assert not list(cache.rglob("*.tmp"))
    # A copy like any other.
    good(verify(site, source=cache))


def test_a_partial_tile_that_the_log_has_outgrown_is_cut_from_the_full_one(site, tmp_path):
    site.post(70)
    site.publish()
    old = site.checkpoint
    shutil.copytree(site.folder, tmp_path / "old")
    assert 200 < site.size < 256
    site.post(30)
    site.publish()
    (site.folder / "checkpoint").write_bytes(old)
    cache = tmp_path / "cache"
    good(verify(site, "--cache", cache, source=site.url))
    for path in files_below(tmp_path / "old"):
        assert (cache / path).read_bytes() == (tmp_path / "old" / path).read_bytes()
    assert files_below(cache) == files_below(tmp_path / "old")


@pytest.mark.parametrize("kind", ["tile/entries", "tile/0", "batches"])
def test_of_a_broken_full_tile_nothing_is_cut(site, kind):
    site.post(70)
    site.publish()
    old = site.checkpoint
    site.post(30)
    site.publish()
    (site.folder / "checkpoint").write_bytes(old)
    (site.folder / kind / "000").write_bytes(b"broken")
    found = {code for code, _ in unread(verify(site, "--json", source=site.url))}
    assert found <= {"missing_file", "incomplete_file", "missing_attachment"}


def test_a_signed_size_of_which_there_are_no_tiles_is_found_at_once(site):
    text = Checkpoint(site.writer.signer.name, 2**40, bytes(32)).format()
    (site.folder / "checkpoint").write_bytes(sign(text, site.writer.signer))
    found = unread(verify(site, "--json", source=site.url))
    assert {code for code, _ in found} == {"missing_file"}
    assert site.fetched().total() < 100


def test_no_more_of_a_file_is_read_than_its_place_allows(site, tmp_path):
    (path,) = (site.folder / "tile/0").rglob("*.p/*")
    path.write_bytes(bytes(50_000_000))
    result = verify(site, "--json", "--cache", tmp_path / "cache", source=site.url)
    assert unread(result) == [("bad_folder", path.relative_to(site.folder).as_posix())]
    held = tmp_path / "cache" / path.relative_to(site.folder)
    assert held.stat().st_size < 3_000_000


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["tile/entries", "tile/0", "batches"])
def test_a_flipped_bit_in_ones_own_cache_is_named_and_is_not_the_logs_fault(site, tmp_path, kind):
    cache = tmp_path / "cache"
    words = ("--cache", cache)
    site.post(100)
    site.publish()
    good(verify(site, *words, source=site.url))
    kept = cache / kind / "000"
    honest = kept.read_bytes()
    for damage in (honest[:100] + bytes([honest[100] ^ 1]) + honest[101:], honest[:-1]):
        kept.write_bytes(damage)
        told = not_checked(verify(site, *words, source=site.url))
        assert told == (
            f"could not check: bad_cache: {kept} is not what {site.url} serves:"
            " remove it, and verify again\n"
        )
    kept.unlink()
    good(verify(site, *words, source=site.url))


def test_what_the_log_itself_serves_wrong_is_its_fault_also_from_a_cache(site, tmp_path):
    words = ("--cache", tmp_path / "cache", "--json")
    (path,) = (site.folder / "tile/0").rglob("*.p/*")
    path.write_bytes(bytes(path.stat().st_size))
    for _ in range(2):
        assert "bad_tile" in codes(verify(site, *words, source=site.url))


# A network that answers for the log


class _Portal(http.server.BaseHTTPRequestHandler):
    """Answers all that is asked with its own page, until somebody signs in."""

    content_type = "text/html; charset=utf-8"

    def do_GET(self) -> None:
        page = b"<!doctype html><title>Welcome to the hotel</title>"
        self.send_response(200)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.mark.parametrize(
    ("content_type", "said"),
    [("text/html; charset=utf-8", "is a web page"), ("text/plain", "no_checkpoint")],
)
def test_a_captive_portal_accuses_nobody_and_spoils_no_cache(site, tmp_path, content_type, said):
    cache = tmp_path / "cache"
    good(verify(site, "--cache", cache, source=site.url))
    handler = type("Portal", (_Portal,), {"content_type": content_type})
    with web_server(handler) as url:
        assert said in not_checked(verify(site, "--cache", cache, source=f"{url}/log"))
        assert said in not_checked(verify(site, source=f"{url}/log"))
    assert (cache / "checkpoint").read_bytes() == site.checkpoint
    good(verify(site, source=cache))


def test_a_portal_that_begins_after_the_checkpoint_accuses_nobody(site):
    note = site.checkpoint

    class Late(_Portal):
        def do_GET(self) -> None:
            if not self.path.endswith("/checkpoint"):
                super().do_GET()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(note)

    with web_server(Late) as url:
        assert "is a web page" in not_checked(verify(site, source=f"{url}/log"))


# Bounds


def test_an_answer_that_was_compressed_is_not_unfolded(site):
    class Bomb(_Portal):
        def do_GET(self) -> None:
            body = gzip.compress(bytes(100_000_000))
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with web_server(Bomb) as url:
        told = not_checked(verify(site, source=f"{url}/log"))
    assert "the response is compressed: gzip" in told


def test_an_answer_that_never_ends_is_given_up(site, monkeypatch):
    limits = fetch.Limits(checkpoint_seconds=0.5, file_seconds=0.5, stall_seconds=0.5)
    monkeypatch.setattr(fetch.open_source.__wrapped__, "__defaults__", (limits,))

    class Drip(_Portal):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:  # a byte comes again and again, so no read is ever late
                    self.wfile.write(b"x")
                    time.sleep(0.05)

    with web_server(Drip) as url:
        assert "not all came within 0.5 s" in not_checked(verify(site, source=f"{url}/log"))


# Beside a writer


class Writing:
    """A thread that publishes a ledger batch by batch, until it is told to stop."""

    def __init__(self, folder: Path, records: int) -> None:
        self.folder, self.records = folder, records
        self.writer = Writer()
        self.writer.activate()
        self.writer.provider()
        self.writer.key()
        self.writer.enterprise()
        self.writer.contract("A")
        self.published = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._publisher = Publisher.open(self.folder, self._sign, claimed_checkpoint, lambda _: b"")
        self._publish()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._publisher.close()

    def wait_for_more(self) -> int:
        """Return how many times was published, after the next time."""
        before = self.published
        while self.published == before:
            time.sleep(0.001)
        return self.published

    def _run(self) -> None:
        while not self._ended.is_set():
            number = self.published
            names = [f"r{number}-{each}" for each in range(self.records)]
            self.writer.post([record(name, "A", START, START + 60, 1) for name in names])
            self._publish()
            time.sleep(0.004 + self.records / 2_000)  # or replays would take most of the time

    def _publish(self) -> None:
        writer = self.writer
        first = self._publisher.size
        entries = writer.leaves[first:]
        beside = [
            (number - first, files) for number, files in writer.files.items() if number >= first
        ]
        segment = Segment(len(entries), encode_bundle(entries), beside)
        self._publisher.publish([segment], writer.log.root())
        self.published += 1

    def _sign(self, size: int, root: bytes) -> bytes:
        assert size == len(self.writer.leaves)
        return sign(Checkpoint(self.writer.signer.name, size, root).format(), self.writer.signer)


@pytest.mark.long
@pytest.mark.parametrize("records", [1, 500])
def test_twenty_runs_beside_a_writer_are_twenty_good(records):
    sizes, moved = [], 0
    # In memory, where writing keeps up with reading however slow a disk is.
    with memory_folder() as folder, Writing(folder / "log", records) as writing:
        vkey = writing.writer.signer.verifier.format()
        for _ in range(20):
            before = writing.wait_for_more()
            result = CliRunner().invoke(
                main, ["verify", str(folder / "log"), "--vkey", vkey, "--json"]
            )
            report = json.loads(good(result))
            assert report["findings"] == []
            assert {n["code"] for n in report["notices"]} <= {"newer_files"}
            sizes.append(report["size"])
            moved += writing.published > before
    assert sizes == sorted(set(sizes))
    assert moved > 0, "nobody wrote meanwhile"


@pytest.mark.long
@pytest.mark.parametrize("records", [1, 500])
def test_a_slow_copy_of_a_growing_folder_accuses_nobody_and_more_copying_makes_it_good(
    tmp_path, records
):
    chance = random.Random(records)
    with Writing(tmp_path / "log", records) as writing:
        vkey = writing.writer.signer.verifier.format()
        for number in range(6):
            out = tmp_path / f"copy-{number}"
            if number % 2:  # the checkpoint is of more entries than were copied
                copy_slowly(tmp_path / "log", out, chance)
                writing.wait_for_more()
                shutil.copy(tmp_path / "log/checkpoint", out / "checkpoint")
                result = CliRunner().invoke(main, ["verify", str(out), "--vkey", vkey])
                assert (result.exit_code, "missing_file" in result.stdout) == (2, True)
            for _ in range(10):
                copy_slowly(tmp_path / "log", out, chance)
                result = CliRunner().invoke(main, ["verify", str(out), "--vkey", vkey])
                assert result.exit_code in (0, 2), result.output
                assert "VIOLATED" not in result.output
                if result.exit_code == 0:
                    break
            else:
                pytest.fail("it never becomes good")


def copy_slowly(folder: Path, out: Path, chance: random.Random) -> None:
    """Copy as `cp -r` does, which lists first and leaves out what has gone; keep a checkpoint."""
    paths = sorted(files_below(folder))
    chance.shuffle(paths)
    for path in paths:
        if path.name == "checkpoint" and (out / path).exists():
            continue
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(folder / path, out / path)
        time.sleep(0.005)
