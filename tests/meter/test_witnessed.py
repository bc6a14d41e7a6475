"""A service with witnesses: it shows cosigned checkpoints, and waits for needed witnesses."""

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner, Result

from ledger.cosign import CosignatureVerifier
from ledger.errors import BadPolicy, NotWitnessed
from ledger.note import Checkpoint, Signer, Verifier, claimed_checkpoint, sign, split_note
from ledger.quorum import TrustPolicy, open_trusted
from ledger.tlog import Tree, leaf_hash
from ledger.witnessing import AddCheckpoint, monitoring_path
from meter.cli.main import main
from meter.host import logs
from meter.host.keys import new_log_key
from meter.publish.witnesses import NO_WITNESSES, read_policy
from meter.service.running import Witnessing
from meter.service.setup import SetupError
from meter.witness import server as witness_server
from meter.witness.witness import initialise, trust
from tests.books import record
from tests.services import HOUR, ORIGIN, Service, serving
from tests.test_readme import free_port

ANYWAY = Witnessing(without_quorum=True)
PATIENT = Witnessing(seconds=600.0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("meter.publish.folder.MISSING_SECONDS", 0.05)


@dataclass
class Witness:
    """A witness that may be started and stopped, and keeps its address."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def verifier(self) -> CosignatureVerifier:
        return CosignatureVerifier.parse((self.folder / "witness.vkey").read_text().strip())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        now = int(time.time())
        async with witness_server.serving(self.folder, "127.0.0.1", self.port, lambda: now):
            yield


@dataclass
class City:
    """A ledger that was made before it had witnesses, and the two that it has now."""

    database: str
    home: Path
    witnesses: list[Witness]

    @property
    def file(self) -> Path:
        return self.home / "kashi/witnesses.policy"

    @property
    def vkey(self) -> str:
        return (self.home / "kashi/log.vkey").read_text().strip()

    @property
    def policy(self) -> TrustPolicy:
        return TrustPolicy.parse(self.file.read_text())

    @property
    def note(self) -> bytes:
        return (self.home / "kashi/log/checkpoint").read_bytes()

    def needs(self, threshold: str) -> None:
        """Write a policy that asks for this many."""
        lines = [f"log {self.vkey}"]
        for number, witness in enumerate(self.witnesses):
            lines.append(f"witness w{number} {witness.verifier.format()} {witness.url}")
        lines += [f"group both {threshold} w0 w1", "quorum both"]
        self.file.write_text("\n".join(lines) + "\n")

    def trusts(self, vkey: str) -> None:
        """Add a key of the ledger to the policy."""
        self.file.write_text(f"log {vkey}\n{self.file.read_text()}")

    def serving(self, witnessing: Witnessing | None = None):
        settings = {} if witnessing is None else {"witnessing": witnessing}
        return serving(self.database, self.home, **settings)

    def cosigned(self) -> set[str]:
        """Return the cosigners of the shown checkpoint, whether they are enough or not."""
        text = self.policy.format().replace("quorum both", "quorum none")
        return set(open_trusted(self.note, TrustPolicy.parse(text)).times)


@pytest.fixture
async def city(database, tmp_path) -> City:
    """Both witnesses trust the ledger, and are not running; both are needed."""
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
    made = City(database, tmp_path, [Witness(tmp_path / f"w{n}", free_port()) for n in range(2)])
    for number, witness in enumerate(made.witnesses):
        initialise(witness.folder, f"w{number}.test/w")
        trust(witness.folder, made.vkey)
    made.needs("all")
    return made


@asynccontextmanager
async def all_of(witnesses: list[Witness]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for witness in witnesses:
            await stack.enter_async_context(witness.serving())
        yield


async def use(service: Service, seq: int) -> None:
    answer = await service.usage([record(f"r{seq}", "A", *HOUR, 1_000)], seq=seq)
    assert answer.status == 200


async def metric(service: Service, name: str) -> float:
    """Return the value of a sample, with its labels as in the text."""
    text = (await service.get("/metrics")).body.decode()
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(values[0]) if values else 0.0


async def until_counted(service: Service, name: str, count: float = 1) -> None:
    """Wait until a counter has risen by this much."""
    wanted = await metric(service, name) + count
    for _ in range(1_000):
        if await metric(service, name) >= wanted:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{name} does not rise")


async def until_cosigned(city: City) -> int:
    """Wait until both have cosigned what is shown; returns the number of its entries."""
    for _ in range(1_000):
        if city.cosigned() == {"w0", "w1"}:
            return claimed_checkpoint(city.note).size
        await asyncio.sleep(0.02)
    pytest.fail("not cosigned")


HELD = 'kashi_quorums_missed_total{outcome="held"}'


def verified(city: City, source: str, vkey: str = "") -> int:
    """Return the exit code of an auditor who asks for the quorum."""
    return verify(city, source, "--policy", str(city.file), vkey=vkey).exit_code


def verify(city: City, source: str, *words: str, vkey: str = "") -> Result:
    """Return the output for an auditor who trusts the ledger's first key, or another one."""
    token = (city.home / "kashi/authority.token").read_text().strip()
    known = ["--vkey", vkey or city.vkey, "--token", token]
    return CliRunner().invoke(main, ["verify", source, *known, *words])


async def test_what_is_shown_has_the_cosignatures_of_the_quorum_and_verifies(city):
    async with all_of(city.witnesses), city.serving() as service:
        for seq in range(1, 4):
            await use(service, seq)
            size = await service.published()
            found = open_trusted((await service.get("/log/checkpoint")).body, city.policy)
            assert found.checkpoint.size == size
            assert found.times.keys() == {"w0", "w1"}
        for source in (str(service.folder.log), f"{service.url}/log"):
            assert await asyncio.to_thread(verified, city, source) == 0
        for name in ("w0", "w1"):
            good = f'kashi_cosignatures_total{{outcome="cosigned",witness="{name}"}}'
            assert await metric(service, good) >= 3
        assert await metric(service, "kashi_cosignature_seconds_count") >= 3
        assert await metric(service, HELD) == 0


async def test_while_a_needed_witness_is_away_the_checkpoint_before_stays(city):
    first, second = city.witnesses
    async with first.serving():
        async with second.serving(), city.serving():
            shown = await until_cosigned(city)
        before = city.note
        async with city.serving() as service:
            await use(service, 1)
            waiting = asyncio.create_task(service.running.published.beyond(shown))
            await until_counted(service, HELD, 2)
            await use(service, 2)
            await until_counted(service, HELD, 2)
            assert (await service.get("/log/checkpoint")).body == city.note == before
            assert service.running.published.size == shown
            assert await metric(service, "kashi_published_entries") == shown
            assert await metric(service, "kashi_ledger_entries") == shown + 4
            assert not waiting.done()
            async with second.serving():
                assert await service.published() == shown + 4
                await asyncio.wait_for(waiting, 10)
                assert open_trusted(city.note, city.policy).checkpoint.size == shown + 4


async def test_a_service_that_ends_while_it_is_held_back_goes_on_after_its_restart(city):
    first, second = city.witnesses
    async with first.serving():
        async with city.serving() as service:
            await use(service, 1)
            await until_counted(service, HELD)
        assert city.cosigned() == set()
        assert (city.home / "kashi/log/tile/0/000.p/9").exists()  # is there, and not shown
        assert claimed_checkpoint(city.note).size == 7
        async with second.serving(), city.serving() as service:
            await use(service, 2)
            assert await service.published() == 11
            assert await asyncio.to_thread(verified, city, str(service.folder.log)) == 0


async def test_the_folder_of_what_is_held_back_has_files_beyond_its_checkpoint_and_the_url_has_none(
    city,
):
    first, second = city.witnesses
    async with all_of(city.witnesses), city.serving():
        shown = await until_cosigned(city)
    async with first.serving(), city.serving() as service:
        await use(service, 1)
        await until_counted(service, HELD, 2)
        told = await asyncio.to_thread(verify, city, str(service.folder.log), "--json")
        report = json.loads(told.stdout)
        assert (told.exit_code, report["size"]) == (0, shown)
        (notice,) = report["notices"]
        assert notice["code"] == "newer_files"
        for kind in ("tile/0", "tile/entries", "batches"):
            assert f"{kind}/000.p/{shown + 2}" in notice["detail"]
        assert await asyncio.to_thread(verified, city, f"{service.url}/log") == 0
        async with second.serving():
            assert await service.published() == shown + 2
        assert await asyncio.to_thread(verified, city, str(service.folder.log)) == 0


async def test_without_a_quorum_it_is_published_anyway_if_so_set_and_completed_later(city):
    first, second = city.witnesses
    missed = 'kashi_quorums_missed_total{outcome="published"}'
    async with first.serving(), city.serving(ANYWAY) as service:
        await use(service, 1)
        size = await service.published()
        assert city.cosigned() == {"w0"}
        with pytest.raises(NotWitnessed):
            open_trusted(city.note, city.policy)
        assert await metric(service, missed) >= 1
        gone = 'kashi_cosignatures_total{outcome="unreachable",witness="w1"}'
        assert await metric(service, gone) >= 1
        async with second.serving():  # nothing is new, and it is asked anyway
            back = 'kashi_cosignatures_total{outcome="cosigned",witness="w1"}'
            await until_counted(service, back)
            assert await service.published() == size
    found = open_trusted(city.note, city.policy)
    assert (found.checkpoint.size, found.times.keys()) == (size, {"w0", "w1"})


async def test_cosignatures_outlast_a_restart_without_witnesses(city):
    async with all_of(city.witnesses), city.serving() as service:
        await use(service, 1)
        size = await service.published()
    before = city.note
    async with city.serving(ANYWAY) as service:
        assert await service.published() == size
    assert city.note == before
    async with city.serving() as service:
        assert await service.published() == size
        await use(service, 2)
        await until_counted(service, HELD, 2)
        assert city.note == before
    assert open_trusted(city.note, city.policy).checkpoint.size == size


@asynccontextmanager
async def silent(port: int) -> AsyncIterator[None]:
    """Accept requests at a port and never answer."""
    never = asyncio.Event()

    async def wait(_, writer):
        with contextlib.closing(writer):
            await never.wait()

    server = await asyncio.start_server(wait, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        never.set()


async def test_a_silent_witness_that_is_not_needed_holds_up_nothing(city):
    first, second = city.witnesses
    city.needs("any")
    async with first.serving(), silent(second.port), city.serving(PATIENT) as service:
        for seq in range(1, 4):
            await use(service, seq)
            await service.published()
            assert open_trusted(city.note, city.policy).times.keys() == {"w0"}


async def test_a_silent_witness_that_is_needed_is_waited_for_up_to_the_limit(city):
    first, second = city.witnesses
    quick = Witnessing(seconds=0.2)
    async with first.serving(), silent(second.port), city.serving(quick) as service:
        await use(service, 1)
        late = 'kashi_cosignatures_total{outcome="too_late",witness="w1"}'
        await until_counted(service, late, 2)
        assert claimed_checkpoint(city.note).size == 7
        assert (await service.get("/readyz")).status == 200
        await use(service, 2)


def forked(city: City, size: int, file: str = "log.key", old: int = 0) -> bytes:
    """Return a request to cosign another tree, which only a thief of the log's key can make."""
    tree = Tree()
    for number in range(size):
        tree.append(leaf_hash(b"other %d" % number))
    key = Signer.parse((city.home / "kashi" / file).read_text().strip())
    note = sign(Checkpoint(ORIGIN, size, tree.root()).format(), key)
    return AddCheckpoint(old, (), note).format()


async def post(witness: Witness, request: bytes) -> int:
    """Return the status of the answer."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{witness.url}/add-checkpoint", data=request) as answer,
    ):
        return answer.status


async def shown_by(witness: Witness) -> Checkpoint:
    """Return the checkpoint that the witness says it signed last."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{witness.url}/{monitoring_path(ORIGIN)}") as answer,
    ):
        return claimed_checkpoint(await answer.read())


@pytest.mark.parametrize(("size", "code"), [(1_000, "ahead"), (4, "contradicted")])
async def test_a_witness_that_knows_of_another_history_raises_an_alarm(city, size, code):
    _, second = city.witnesses
    graver = f'kashi_cosignatures_total{{outcome="{code}",witness="w1"}}'
    async with all_of(city.witnesses):
        assert await post(second, forked(city, size)) == 200
        stream = io.StringIO()
        with logs.write_to(stream):
            async with city.serving() as service:
                await use(service, 1)
                await until_counted(service, graver, 2)
                assert claimed_checkpoint(city.note).size == 7
        events = [json.loads(line) for line in stream.getvalue().splitlines()]
        doubts = [each for each in events if each["event"] == "log_doubted"]
        told = [(each["level"], each["witness"], each["code"]) for each in doubts]
        assert told == [("error", "w1", code)]  # once, for it goes on saying so
        async with city.serving(ANYWAY) as service:
            assert await service.published() == 9
            assert city.cosigned() == {"w0"}
            assert await metric(service, graver) >= 1


async def test_a_start_is_refused_with_a_policy_that_is_anothers_or_cannot_be_met(city):
    good = city.file.read_text()
    other = Signer.from_seed(ORIGIN, bytes(32)).verifier.format()
    for text, told in [
        (good.replace(city.vkey, other), "no log line has a key that signs now"),
        (good.replace(city.witnesses[1].url, ""), "too few for the quorum both"),
        (good.replace("quorum both", "quorum three"), "line 5: no line above defines 'three'"),
        ("", "no quorum line"),
    ]:
        city.file.write_text(text)
        with pytest.raises(SetupError, match=told) as refusal:
            async with city.serving():
                pass
        assert refusal.value.code == "bad_trust_policy"
        assert str(city.file) in refusal.value.detail
    city.file.write_bytes(b"\xff")
    with pytest.raises(SetupError, match="UTF-8"):
        async with city.serving():
            pass


async def test_a_policy_names_at_least_one_of_the_keys_that_sign_now(city):
    added = Signer.from_seed(ORIGIN, bytes(32)).verifier.format()
    assert read_policy(city.file, [city.vkey, added]) == city.policy
    with pytest.raises(BadPolicy, match="no log line"):
        read_policy(city.file, [added])
    city.file.write_text(f"log {added}\n{city.file.read_text()}")
    assert read_policy(city.file, [added]) == city.policy
    city.file.unlink()
    assert read_policy(city.file, [added]) == NO_WITNESSES


async def change_key(service: Service) -> str:
    """Begin the overlap in which the old key and a new one sign; returns the new one."""
    added = new_log_key(service.folder, ORIGIN)
    assert (await service.post("/v1/log-keys", {"vkey": added}, "added")).status == 201
    return added


async def retire(service: Service, vkey: str) -> None:
    """End the overlap."""
    assert (await service.post("/v1/log-keys/retire", {"vkey": vkey}, "retired")).status == 201


def signers_of(note: bytes) -> set[bytes]:
    """Return the ids of the keys in the ledger's own lines."""
    return {each.key_id for each in split_note(note)[1] if each.name == ORIGIN}


def ids_of(*vkeys: str) -> set[bytes]:
    return {Verifier.parse(vkey).key_id for vkey in vkeys}


async def test_a_log_that_changes_its_key_keeps_its_witnesses(city):
    async with all_of(city.witnesses), city.serving() as service:
        await service.published()
        added = await change_key(service)
        await use(service, 1)
        size = await service.published()
        found = open_trusted(city.note, city.policy)
        assert (found.checkpoint.size, len(found.times)) == (size, 2)
        assert f"log {added}\n" not in city.file.read_text()


async def test_witnesses_follow_a_log_to_its_new_key_and_take_nothing_back(city):
    first = city.vkey
    async with city.serving() as service:
        async with all_of(city.witnesses):
            second = await change_key(service)
            await use(service, 1)
            await service.published()
            assert signers_of(city.note) == ids_of(first, second)
        for witness in city.witnesses:
            trust(witness.folder, second)
        city.trusts(second)
        async with all_of(city.witnesses):
            await use(service, 2)
            await service.published()
            await retire(service, first)
            await use(service, 3)
            await service.published()
        for witness in city.witnesses:
            (witness.folder / "logs").write_text(f"{second}\n")
        city.file.write_text(city.file.read_text().replace(f"log {first}\n", ""))
        async with all_of(city.witnesses):
            await use(service, 4)
            size = await service.published()
            found = open_trusted(city.note, city.policy)
            assert (found.checkpoint.size, len(found.times)) == (size, 2)
            assert signers_of(city.note) == ids_of(second)
            for witness in city.witnesses:
                assert await shown_by(witness) == found.checkpoint
    async with all_of(city.witnesses), city.serving() as service:  # all of it again from the files
        await use(service, 5)
        assert await service.published() == size + 2
        for vkey in (first, second):
            assert await asyncio.to_thread(verified, city, str(service.folder.log), vkey) == 0
        assert await asyncio.to_thread(verified, city, f"{service.url}/log", second) == 0
        for key, answers in (("log-2.key", (409, 422)), ("log.key", (403, 403))):
            smaller, same = forked(city, 4, key), forked(city, size + 2, key, old=size + 2)
            for witness in city.witnesses:
                assert (await post(witness, smaller), await post(witness, same)) == answers
                assert (await shown_by(witness)).size == size + 2


async def test_a_witness_that_hears_late_of_a_new_key_goes_on_from_what_it_has_signed(city):
    prompt, late = city.witnesses
    refused = 'kashi_cosignatures_total{outcome="refused",witness="w1"}'
    async with city.serving() as service:
        async with all_of(city.witnesses):
            second = await change_key(service)
            await service.published()
        trust(prompt.folder, second)
        async with prompt.serving():
            async with late.serving():
                await retire(service, city.vkey)
                await use(service, 1)
                await until_counted(service, refused, 2)
                before = claimed_checkpoint(city.note)
                assert await shown_by(late) == before  # it has signed nothing since the overlap
            (late.folder / "logs").write_text(f"{second}\n")
            async with late.serving():
                size = await service.published()
                assert size > before.size
                for witness in (prompt, late):
                    assert await shown_by(witness) == claimed_checkpoint(city.note)
    city.trusts(second)
    assert city.cosigned() == {"w0", "w1"}


async def test_the_command_says_how_long_it_waits_and_whether_it_holds_back(city):
    words = ["serve", "--data", str(city.home / "kashi"), "--witness-seconds", "0"]
    result = await asyncio.to_thread(CliRunner().invoke, main, words)
    assert (result.exit_code, "--witness-seconds" in result.output) == (2, True)
    text = (await asyncio.to_thread(CliRunner().invoke, main, ["serve", "--help"])).output
    assert "--without-quorum" in text


async def test_a_service_that_ends_does_not_wait_for_a_silent_witness(city, monkeypatch):
    monkeypatch.setattr("meter.publish.folder.STOP_SECONDS", 0.1)
    first, second = city.witnesses
    async with asyncio.timeout(60), first.serving(), silent(second.port):
        async with city.serving(PATIENT) as service:
            await use(service, 1)
        assert claimed_checkpoint(city.note).size == 7
    async with all_of(city.witnesses), city.serving() as service:
        assert await service.published() == 9
