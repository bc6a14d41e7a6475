"""The further checks of `kashi verify`: growth, witnesses; and the fetching of a log."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.cosign import Cosigner, add_cosignatures
from ledger.note import Checkpoint, Signer, claimed_checkpoint, sign
from ledger.seen import Seen
from ledger.tlog import Frontier, leaf_hash
from meter.cli.main import main
from tests.sites import NOON, Site, published


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    with published(tmp_path / "www") as site:
        yield site


def verify(site: Site, *words: object, source: object = None) -> Result:
    vkey = site.writer.signer.verifier.format()
    command = ["verify", source or site.folder, "--vkey", vkey, *words]
    return CliRunner().invoke(main, [str(word) for word in command])


def codes(result: Result) -> list[str]:
    """Return the codes of a violated ledger, from its JSON."""
    assert result.exit_code == 1, (result.output, result.exception)
    return [problem["code"] for problem in json.loads(result.stdout)["problems"]]


def good(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


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


def test_too_few_cosignatures_are_a_violation(site, tmp_path):
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
            assert codes(verify(site, *words)) == ["not_witnessed"]
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
    assert codes(verify(site, "--policy", policy, "--json")) == ["bad_note"]
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
    ]
    assert all(check["seconds"] > 0 for check in report["checks"])
    shown = good(verify(site))
    assert "seconds" in shown
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
    result = verify(site, "--json", source=site.url)
    assert set(codes(result)) <= {"missing_file", "missing_attachment", "bad_folder"}


def test_a_signed_size_of_which_there_are_no_tiles_is_found_at_once(site):
    text = Checkpoint(site.writer.signer.name, 2**40, bytes(32)).format()
    (site.folder / "checkpoint").write_bytes(sign(text, site.writer.signer))
    assert set(codes(verify(site, "--json", source=site.url))) == {"missing_file"}
    assert site.fetched().total() < 100


def test_no_more_of_a_file_is_read_than_its_place_allows(site, tmp_path):
    (path,) = (site.folder / "tile/0").rglob("*.p/*")
    path.write_bytes(bytes(50_000_000))
    result = verify(site, "--json", "--cache", tmp_path / "cache", source=site.url)
    assert codes(result) == ["bad_folder"]
    held = tmp_path / "cache" / path.relative_to(site.folder)
    assert held.stat().st_size < 3_000_000


def files_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
