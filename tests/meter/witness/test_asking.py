"""The log's side: it asks witnesses, dead, slow and lying ones too."""

import asyncio
import contextlib
import gzip
import socket
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from ledger.cosign import CosignatureVerifier, Cosigner
from ledger.quorum import TrustPolicy, open_trusted
from ledger.tlog import Tree
from ledger.witnessing import AddCheckpoint, monitoring_path
from meter.publish.witnesses import Held, Published, Witnesses
from meter.witness.witness import initialise, trust
from tests.ledger.example import TIME
from tests.witnesses import (
    FORK,
    LOG,
    NAME,
    TREE,
    Clock,
    evidence_in,
    fetch,
    note,
    served,
    text,
    verifier_of,
)


@dataclass
class Proofs:
    """The log as `Witnesses` sees it, and a list of what was asked."""

    tree: Tree = field(default_factory=lambda: TREE)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, old: int, new: int) -> list[bytes]:
        self.asked.append((old, new))
        return self.tree.consistency_proof(old, new)


def policy_of(quorum: str, *urls: tuple[CosignatureVerifier, str]) -> TrustPolicy:
    """Witnesses w0, w1, ..., the groups `two` and `all`, and a quorum."""
    names = [f"w{number}" for number in range(len(urls))]
    lines = [f"log {LOG.verifier.format()}"]
    lines += [f"witness {n} {v.format()} {u}" for n, (v, u) in zip(names, urls, strict=True)]
    if quorum not in ("none", *names):
        lines.append(f"group {quorum} {quorum} {' '.join(names)}")
    return TrustPolicy.parse("\n".join([*lines, f"quorum {quorum}", ""]))


def asking(policy: TrustPolicy, prove: Proofs | None = None, **settings) -> Witnesses:
    return Witnesses(policy, prove or Proofs(), **{"time_limit_seconds": 20, **settings})


@contextlib.asynccontextmanager
async def three(tmp_path, quorum: str = "2"):
    """Three witnesses that serve, and the policy that names them."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(3):
            folder = tmp_path / f"w{number}"
            initialise(folder, f"w{number}.test/w")
            trust(folder, LOG.verifier.format())
            url = await stack.enter_async_context(served(folder, Clock(TIME + number)))
            found.append((verifier_of(folder), url))
        yield policy_of(quorum, *found)


@contextlib.asynccontextmanager
async def answering(handler):
    """Run a server that answers `add-checkpoint` as it likes."""
    app = web.Application()
    app.router.add_post("/add-checkpoint", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = site._server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


LIAR = Cosigner.from_seed("liar.test/w", bytes(range(2, 34)))


async def answer_of(handler, size: int = 5, **settings) -> Published | Held:
    """Return how the log takes such an answer of one witness."""
    async with (
        answering(handler) as url,
        asking(policy_of("w0", (LIAR.verifier, url)), **settings) as log,
    ):
        return await log.ask(note(size))


def always(**answer):
    async def handler(_):
        return web.Response(**answer)

    return handler


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_log_that_grows_gets_all_cosignatures_and_an_auditor_opens_them(tmp_path):
    prove = Proofs()
    async with three(tmp_path, "all") as policy, asking(policy, prove) as log:
        for size in (3, 7, 20):
            answer = await log.ask(note(size))
            assert isinstance(answer, Published)
            assert answer.has_quorum
            assert answer.failures == ()
            assert answer.times == {"w0": TIME, "w1": TIME + 1, "w2": TIME + 2}
            assert answer.note.startswith(note(size))
            assert open_trusted(answer.note, policy).times == answer.times
        metrics = [await fetch(f"{each.url}/metrics") for each in policy.witnesses]
    assert prove.asked == [(3, 7)] * 3 + [(7, 20)] * 3
    # The size of each witness was remembered, so none was asked twice.
    assert all('{answer="cosigned"} 3\n' in each.text for each in metrics)
    assert not any("size_conflict" in each.text for each in metrics)


async def test_a_log_that_was_started_anew_learns_from_each_witness_what_it_has_signed(tmp_path):
    async with three(tmp_path, "all") as policy:
        async with asking(policy) as log:
            await log.ask(note(7))
        prove = Proofs()
        async with asking(policy, prove) as log:
            answer = await log.ask(note(9))
            assert isinstance(answer, Published)
            assert answer.failures == ()
            await log.ask(note(11))
        assert prove.asked == [(7, 9)] * 3 + [(9, 11)] * 3


async def test_one_dead_and_one_lying_witness_do_not_spoil_the_third_ones_cosignature(tmp_path):
    async def lie(_):
        """Cosign another tree than was asked for."""
        return web.Response(text=LIAR.cosign(text(5, FORK), TIME))

    initialise(tmp_path / "w", NAME)
    trust(tmp_path / "w", LOG.verifier.format())
    honest = verifier_of(tmp_path / "w")
    dead = Cosigner.from_seed("dead.test/w", bytes(32)).verifier
    async with served(tmp_path / "w") as url, answering(lie) as lying:
        urls = (honest, url), (dead, closed_port()), (LIAR.verifier, lying)
        async with asking(policy_of("any", *urls)) as log:
            answer = await log.ask(note(5))
        assert isinstance(answer, Published)
        assert answer.times == {"w0": TIME}
        assert [(each.witness, each.code) for each in answer.failures] == [
            ("w1", "unreachable"),
            ("w2", "bad_answer"),
        ]
        assert answer.note == note(5) + (await signature_of(url)).encode()
        async with asking(policy_of("2", *urls)) as log:
            held = await log.ask(note(5))
        assert isinstance(held, Held)
        assert (held.note, held.times) == (answer.note, answer.times)
        async with asking(policy_of("2", *urls), publish_without_quorum=True) as log:
            anyway = await log.ask(note(5))
        assert isinstance(anyway, Published)
        assert not anyway.has_quorum


async def signature_of(url: str) -> str:
    shown = await fetch(f"{url}/{monitoring_path(LOG.name)}")
    return shown.text.splitlines(keepends=True)[-1]


async def test_a_slow_witness_is_left_out_at_the_time_limit():
    never = asyncio.Event()

    async def sleep(_):
        await never.wait()

    async def drip(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write("— w".encode())
        await never.wait()

    for handler in (sleep, drip):
        answer = await answer_of(handler, time_limit_seconds=0.1)
        assert isinstance(answer, Held)
        assert [each.code for each in answer.failures] == ["too_late"]


BAD = ("bad_answer", "has not cosigned this checkpoint")
GZIP = {"Content-Encoding": "gzip"}
LARGER = {"body": b"9\n", "status": 409, "headers": {"Content-Type": "text/x.tlog.size"}}
PLAIN_CONFLICT = {"status": 409, "content_type": "text/plain"}


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (LARGER, "ahead", "has signed a tree of 9 entries, this is of 5"),
        (LARGER | {"body": b"4\n"}, "refused", "409 text/x.tlog.size: 4"),
        (LARGER | {"body": b"04\n"}, "refused", "409"),
        (LARGER | {"body": b"9" * 20}, "refused", "409"),
        (LARGER | {"body": b"-1\n"}, "refused", "409"),
        # C2SP has one spelling of the type; a parameter is another.
        (
            {"text": "9\n", "status": 409, "content_type": "text/x.tlog.size"},
            "refused",
            "409 text/x.tlog.size; charset=utf-8: 9",
        ),
        (PLAIN_CONFLICT | {"text": "9\n"}, "refused", "409 text/plain; charset=utf-8: 9"),
        (PLAIN_CONFLICT | {"text": "try later\n"}, "refused", "try later"),
        (PLAIN_CONFLICT | {"text": "uprooted\n"}, "refused", "uprooted"),
        (PLAIN_CONFLICT | {"text": "Root hash\nmismatch\n"}, "contradicted", "Root hash mismatch"),
        (PLAIN_CONFLICT | {"text": "the roots differ"}, "contradicted", "the roots differ"),
        (PLAIN_CONFLICT | {"text": "inconsistent tree"}, "contradicted", "inconsistent"),
        (LARGER | {"body": b"another root\n"}, "refused", "another root"),
        (
            {"text": "a fork\n", "status": 422},
            "contradicted",
            "422 text/plain; charset=utf-8: a fork",
        ),
        (
            {"text": "\x1b[2Jgone", "status": 403},
            "refused",
            r"403 text/plain; charset=utf-8: \x1b[2Jgone",
        ),
        ({"body": b"", "status": 500}, "refused", "500 of no type: "),
        ({"status": 307, "headers": {"Location": "/add-checkpoint"}}, "refused", "307"),
        ({"text": "x" * 70_000}, "unreachable", "too long"),
        ({"text": ""}, *BAD),
        ({"body": b"\xff\x00"}, *BAD),
        ({"text": Cosigner.from_seed(NAME, bytes(32)).cosign(text(5), TIME)}, *BAD),
        ({"body": gzip.compress(LIAR.cosign(text(5), TIME).encode()), "headers": GZIP}, *BAD),
    ],
)
async def test_an_answer_that_is_no_cosignature_is_a_failure_that_says_why(answer, code, told):
    asked_of = await answer_of(always(**answer))
    assert isinstance(asked_of, Held)
    (failure,) = asked_of.failures
    assert (failure.witness, failure.code) == ("w0", code)
    assert told in failure.detail
    assert asked_of.note == note(5)


async def test_lines_of_other_keys_beside_a_good_one_are_left_out():
    stranger = Cosigner.from_seed("stranger.test/w", bytes(32)).cosign(text(5), TIME)
    answer = await answer_of(always(text=f"{stranger}nonsense\n{LIAR.cosign(text(5), TIME)}"))
    assert isinstance(answer, Published)
    assert answer.note == note(5) + LIAR.cosign(text(5), TIME).encode()


async def test_what_is_no_http_and_no_address_is_unreachable():
    async def garbage(_, writer):
        writer.write(b"HTTP/9 what\r\n\x00\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for url in (f"http://127.0.0.1:{port}", "http://127.0.0.1:99999", "ftp://x", "nowhere"):
            async with asking(policy_of("w0", (LIAR.verifier, url))) as log:
                (failure,) = (await log.ask(note(5))).failures
                assert failure.code == "unreachable", url


async def test_a_log_that_has_forked_hears_of_it_from_every_witness(tmp_path):
    async with three(tmp_path) as policy:
        async with asking(policy) as log:
            await log.ask(note(9))
        for size in (9, 12):
            async with asking(policy, Proofs(FORK)) as log:
                answer = await log.ask(note(size, FORK))
            assert isinstance(answer, Held)
            assert [each.code for each in answer.failures] == ["contradicted"] * 3
            assert all(each.is_grave for each in answer.failures)
        async with asking(policy) as log:
            for _ in range(2):
                answer = await log.ask(note(8))
                assert [each.code for each in answer.failures] == ["ahead"] * 3
    assert all(len(evidence_in(tmp_path / f"w{number}")) == 2 for number in range(3))


async def test_a_witness_whose_cosignature_is_there_is_not_asked_again(tmp_path):
    async with three(tmp_path, "all") as policy:
        dead = policy_of("all", *[(each.verifier, closed_port()) for each in policy.witnesses])
        async with asking(policy) as log:
            answer = await log.ask(note(5))
            assert answer.asked == ("w0", "w1", "w2")
            again = await log.ask(note(5))  # what was answered is remembered
            assert (again.note, again.asked) == (answer.note, answer.asked)
            metrics = await fetch(f"{policy.witnesses[0].url}/metrics")
            assert '{answer="cosigned"} 1\n' in metrics.text
        async with asking(dead) as log:
            later = await log.ask(answer.note)
            assert isinstance(later, Published)
            assert (later.note, later.asked, later.failures) == (answer.note, (), ())


class Slow:
    """A witness that answers when a test lets it."""

    def __init__(self):
        self.may_answer = asyncio.Event()
        self.asked = 0

    async def answer(self, request):
        self.asked += 1
        signed = AddCheckpoint.parse(await request.read()).note
        await self.may_answer.wait()
        return web.Response(text=LIAR.cosign(signed.decode().partition("\n\n")[0] + "\n", TIME))


async def test_a_slow_witness_holds_up_no_quorum_and_what_it_answers_late_is_not_lost(tmp_path):
    initialise(tmp_path / "w", NAME)
    trust(tmp_path / "w", LOG.verifier.format())
    slow = Slow()
    async with served(tmp_path / "w") as url, answering(slow.answer) as late:
        policy = policy_of("w0", (verifier_of(tmp_path / "w"), url), (LIAR.verifier, late))
        async with asking(policy) as log:
            for size in (3, 5):
                answer = await log.ask(note(size))
                assert isinstance(answer, Published)
                assert answer.times.keys() == {"w0"}
                assert [(each.witness, each.code) for each in answer.failures] == [
                    ("w1", "too_late")
                ]
            assert slow.asked == 1  # for 3; while it is at work, it is not asked for 5
            slow.may_answer.set()
            answered = await last_of(log, 5)
            assert answered.times.keys() == {"w0", "w1"}
            assert open_trusted(answered.note, policy).checkpoint.size == 5
            assert slow.asked == 2


async def last_of(log: Witnesses, size: int) -> Published | Held:
    """Ask for a checkpoint until no witness is missing."""
    for _ in range(1_000):
        answer = await log.ask(note(size))
        if not answer.failures:
            break
        await asyncio.sleep(0.01)
    return answer


async def test_a_late_answer_counts_when_the_same_checkpoint_is_asked_for_again():
    slow = Slow()
    async with (
        answering(slow.answer) as url,
        asking(policy_of("none", (LIAR.verifier, url))) as log,
    ):
        assert [each.code for each in (await log.ask(note(5))).failures] == ["too_late"]
        slow.may_answer.set()
        answer = await last_of(log, 5)
        assert answer.times == {"w0": TIME}
        assert slow.asked == 1


async def test_a_witness_without_an_address_is_not_asked_and_its_line_counts_all_the_same():
    by_mail = note(5) + LIAR.cosign(text(5), TIME).encode()
    async with asking(policy_of("w0", (LIAR.verifier, ""))) as log:
        answer = await log.ask(by_mail)
        assert isinstance(answer, Published)
        assert (answer.note, answer.times, answer.failures) == (by_mail, {"w0": TIME}, ())
        assert isinstance(await log.ask(note(5)), Held)


async def test_a_bug_of_the_caller_is_not_taken_for_a_witness_that_is_away():
    def broken(_old, _new):
        raise OSError("the tile cannot be read")

    async def conflict(_):
        return web.Response(**(LARGER | {"body": b"4\n"}))

    async with (
        answering(conflict) as url,
        asking(policy_of("w0", (LIAR.verifier, url)), broken) as log,
    ):
        with pytest.raises(OSError, match="tile"):
            await log.ask(note(5))
