"""A foreign witness cosigns our ledger as it grows, and refuses another history."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.cosign import CosignatureVerifier, cosigning_times, open_cosigned
from ledger.note import Checkpoint, Signer, sign
from ledger.quorum import TrustPolicy, open_trusted
from ledger.witnessing import AddCheckpoint, Witnessed, judge, monitoring_path
from tests import services
from tests.books import record
from tests.interop.ledgers import Ledger, checkpoint_of, tree_of
from tests.interop.programs import (
    HERE,
    INSTALLED,
    Refused,
    aics_environment,
    need,
    run,
    run_aics,
)

NAME = "witness.test/foreign"
KASHI = (sys.executable, "-c", "from meter.cli.main import main; main()")


class Answer(NamedTuple):
    status: int
    content_type: str
    body: str


@dataclass(frozen=True)
class Witness:
    """A running `aics-witness` that knows one log."""

    url: str
    verifier: CosignatureVerifier

    def add(self, request: AddCheckpoint) -> Answer:
        return self._answer(f"{self.url}/add-checkpoint", request.format())

    def shown(self, origin: str) -> Answer:
        """Return the checkpoint that it signed last."""
        return self._answer(f"{self.url}/{monitoring_path(origin)}", None)

    def _answer(self, url: str, body: bytes | None) -> Answer:
        try:
            response = urllib.request.urlopen(url, body, timeout=20)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Answer(
                response.status, response.headers["Content-Type"], response.read().decode()
            )


@pytest.fixture
def witness(ledger: Ledger, tmp_path: Path) -> Iterator[Witness]:
    with knowing(ledger.signer.name, ledger.vkey, tmp_path) as witness:
        yield witness


@contextmanager
def knowing(origin: str, vkey: str, folder: Path) -> Iterator[Witness]:
    """Run a foreign witness that knows this log."""
    config = ("--config", folder / "witness.json")
    made = run_aics("aics_witness", "init", *config, "--name", NAME)
    run_aics("aics_witness", "add-log", *config, "--origin", origin, "--vkey", vkey)
    vkey = re.search(rf"{NAME}\+\S+", made)
    with serving("-m", "aics_witness", "serve", *config, "--listen", "127.0.0.1:0") as url:
        yield Witness(url, CosignatureVerifier.parse(vkey[0]))


@contextmanager
def serving(*words: object) -> Iterator[str]:
    """Run a witness until the end of the block; yields the URL on which it listens."""
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=os.environ | aics_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            lines = iter(process.stdout.readline, "")
            found = (re.search(r"listen(?:s|ing) on (http\S+)", line) for line in lines)
            yield next(match[1] for match in found if match)
        finally:
            process.terminate()
            process.communicate(timeout=20)


def growth(ledger: Ledger, old: int, new: int) -> AddCheckpoint:
    """Return what our log asks of a witness that has signed size `old` last."""
    tree = tree_of(ledger.folders[new])
    hashes = tree.consistency_proof(old, new) if old else []
    return AddCheckpoint(old, tuple(hashes), (ledger.folders[new] / "checkpoint").read_bytes())


def test_a_foreign_witness_cosigns_our_ledger_as_it_grows(ledger, witness):
    for old, new in pairwise([0, 1, 2, 255, 256, 257, 65_536, 65_537]):
        request = growth(ledger, old, new)
        answer = witness.add(request)
        assert answer.status == 200, answer
        note = request.note + answer.body.encode()
        assert list(cosigning_times(note, [witness.verifier])) == [NAME]
    shown = witness.shown(ledger.signer.name)
    assert shown.status == 200
    cosigned = open_cosigned(shown.body.encode(), ledger.signer.verifier, [witness.verifier])
    assert cosigned.checkpoint == checkpoint_of(ledger.folders[65_537])
    assert list(cosigned.times) == [NAME]


async def test_a_foreign_witness_cosigns_what_our_service_publishes(database, tmp_path):
    async with services.serving(database, tmp_path) as service:
        await service.open_books()
        vkey = service.folder.log_vkey.read_text().strip()
    with knowing(services.ORIGIN, vkey, tmp_path) as witness:
        named = f"witness foreign {witness.verifier.format()} {witness.url}"
        text = f"log {vkey}\n{named}\nquorum foreign\n"
        service.folder.witnesses_policy.write_text(text)
        async with services.serving(database, tmp_path) as service:
            for seq in range(1, 4):
                records = [record(f"r{seq}:{n}", "A", *services.HOUR, 1) for n in range(100)]
                assert (await service.usage(records, seq=seq)).status == 200
                size = await service.published()
                note = (await service.get("/log/checkpoint")).body
                found = open_trusted(note, TrustPolicy.parse(text))
                assert (found.checkpoint.size, list(found.times)) == (size, ["foreign"])
        assert size > 256


# Requests to a witness that has signed its 256 entries last.


def the_next(ledger: Ledger) -> AddCheckpoint:
    return growth(ledger, 256, 257)


def the_same(ledger: Ledger) -> AddCheckpoint:
    return growth(ledger, 256, 256)


def a_hash_of_which_a_bit_is_changed(ledger: Ledger) -> AddCheckpoint:
    honest = the_next(ledger)
    *others, last = honest.hashes
    changed = bytes([last[0] ^ 1]) + last[1:]
    return AddCheckpoint(256, (*others, changed), honest.note)


def a_hash_left_out(ledger: Ledger) -> AddCheckpoint:
    honest = the_next(ledger)
    return AddCheckpoint(256, honest.hashes[1:], honest.note)


def another_root_of_the_same_size(ledger: Ledger) -> AddCheckpoint:
    checkpoint = Checkpoint(ledger.signer.name, 256, bytes(32))
    return AddCheckpoint(256, (), sign(checkpoint.format(), ledger.signer))


def the_signature_of_another_key(ledger: Ledger) -> AddCheckpoint:
    honest = the_next(ledger)
    other = Signer.from_seed(ledger.signer.name, bytes(32))
    note = sign(checkpoint_of(ledger.folders[257]).format(), other)
    return AddCheckpoint(256, honest.hashes, note)


def a_size_that_was_signed_before(ledger: Ledger) -> AddCheckpoint:
    return growth(ledger, 255, 257)


def a_size_beyond_the_checkpoint(ledger: Ledger) -> AddCheckpoint:
    return AddCheckpoint(257, (), the_same(ledger).note)


def a_log_that_nobody_knows(_: Ledger) -> AddCheckpoint:
    stranger = Signer.from_seed("kashi.test/stranger", bytes(32))
    checkpoint = Checkpoint(stranger.name, 256, bytes(32))
    return AddCheckpoint(0, (), sign(checkpoint.format(), stranger))


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (the_same, 200),
        (a_hash_of_which_a_bit_is_changed, 422),
        (a_hash_left_out, 422),
        (another_root_of_the_same_size, 422),
        (the_signature_of_another_key, 403),
        (a_size_that_was_signed_before, 409),
        (a_size_beyond_the_checkpoint, 400),
        (a_log_that_nobody_knows, 404),
        (the_next, 200),
    ],
)
def test_a_foreign_witness_and_ours_answer_alike(ledger, witness, ask, status):
    assert witness.add(growth(ledger, 0, 256)).status == 200
    request = ask(ledger)
    answer = witness.add(request)
    assert answer.status == status
    signed = Witnessed(256, checkpoint_of(ledger.folders[256]).root)
    keys = [ledger.signer.verifier] if request.origin == ledger.signer.name else []
    ours = judge(request, signed, keys)
    assert getattr(ours, "status", 200) == status
    if status == 409:
        assert (answer.content_type, answer.body) == (ours.content_type, ours.body)
        assert answer.body == "256\n"
    # After all refusals, it goes on with the true history.
    old = 257 if ask is the_next else 256
    assert witness.add(growth(ledger, old, 257)).status == 200


# Our witness, a foreign log


@pytest.fixture
def our_witness(ledger: Ledger, tmp_path: Path) -> Iterator[Witness]:
    """A running `kashi witness` that knows the log."""
    data = ("--data", tmp_path / "witness")
    made = run(*KASHI, "witness", "init", *data, "--name", "witness.test/ours")
    run(*KASHI, "witness", "trust", *data, ledger.vkey)
    vkey = re.search(r"witness\.test/ours\+\S+", made)
    with serving(*KASHI[1:], "witness", *data, "--port", "0") as url:
        yield Witness(url, CosignatureVerifier.parse(vkey[0]))


@pytest.mark.parametrize(
    ("ask", "status", "content_type"),
    [
        (the_same, 200, "text/plain; charset=utf-8"),
        (a_hash_left_out, 422, "text/plain; charset=utf-8"),
        (another_root_of_the_same_size, 422, "text/plain; charset=utf-8"),
        (the_signature_of_another_key, 403, "text/plain; charset=utf-8"),
        (a_size_that_was_signed_before, 409, "text/x.tlog.size"),
        (a_size_beyond_the_checkpoint, 400, "text/plain; charset=utf-8"),
        (a_log_that_nobody_knows, 404, "text/plain; charset=utf-8"),
    ],
)
def test_our_answers_have_the_exact_type_of_their_kind(
    ledger, our_witness, ask, status, content_type
):
    """Clients of others compare the header as a whole: a parameter more is another type."""
    assert our_witness.add(growth(ledger, 0, 256)).status == 200
    answer = our_witness.add(ask(ledger))
    assert (answer.status, answer.content_type) == (status, content_type)
    shown = our_witness.shown(ledger.signer.name)
    assert (shown.status, shown.content_type) == (200, "text/plain; charset=utf-8")


def feed(witness: Witness, request: AddCheckpoint, folder: Path) -> str:
    """Let the foreign client ask for a cosignature."""
    need("aics_witness", (INSTALLED / "python/aics_witness").is_dir())
    note = folder / "note"
    note.write_bytes(request.note)
    hashes = [b64encode(value).decode() for value in request.hashes]
    words = (witness.url, witness.verifier.format(), request.old, note, *hashes)
    return run(sys.executable, HERE / "feed.py", *words, environment=aics_environment())


def test_a_foreign_client_gets_the_cosignature_of_our_witness(ledger, our_witness, tmp_path):
    for old, new in pairwise([0, 1, 255, 256, 65_537]):
        request = growth(ledger, old, new)
        line = feed(our_witness, request, tmp_path)
        times = cosigning_times(request.note + line.encode(), [our_witness.verifier])
        assert list(times) == ["witness.test/ours"]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (a_hash_of_which_a_bit_is_changed, "422: the proof does not lead"),
        (another_root_of_the_same_size, "422: another root of 256"),
        (the_signature_of_another_key, "403: none of the known keys"),
        (a_log_that_nobody_knows, "404: "),
        (a_size_that_was_signed_before, "expects old size 256"),
    ],
)
def test_a_foreign_client_understands_what_our_witness_refuses(
    ledger, our_witness, tmp_path, ask, words
):
    feed(our_witness, growth(ledger, 0, 256), tmp_path)
    with pytest.raises(Refused, match=words):
        feed(our_witness, ask(ledger), tmp_path)
