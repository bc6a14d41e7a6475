"""The load: clients that post signed batches over HTTP/1.1, as cheaply as this process can.

Batches are signed before the clock starts. `closed_loop`: each client has one request open and
sends its next batch when the answer is there; what is open at the end is waited for and counted, so
nothing is lost at the edge. `open_loop`: batches are due at a constant rate whether answers come
or not, and a latency begins when its batch was due.
"""

import asyncio
import gc
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from math import ceil, inf

from tests.bench.servers import Service
from tests.bench.workload import PROVIDERS, Envelope, Slice, Stream, slices

RETRY_SECONDS = 0.1  # after a 503, which a client may meet under full load

_ACCEPTED = b'"status":"accepted"'
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_ENTRIES = re.compile(rb'"entries":{"first":([0-9]+),"count":([0-9]+)}')


@dataclass
class Window:
    """All answers within a stretch of time."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds, one a batch
    answers: list[tuple[float, int]] = field(default_factory=list)  # when, and entries durable then
    records: int = 0  # accepted
    busy: int = 0  # answers 503, each tried again
    cpu_seconds: float = 0.0  # of this process, the generator

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cpu_share(self) -> float:
        """The share of one core that the generator took."""
        return self.cpu_seconds / self.seconds

    @property
    def batch_rate(self) -> float:
        return len(self.latencies) / self.seconds


class Supply:
    """Endless batches of one size for some clients, each with a stream of its own.

    Clients of one provider share its slices, so together they move through its hours like one
    reporter. Batches that were signed and not sent stay for the next window.
    """

    def __init__(
        self, feeds: "Feeds", clients: int, records: int, providers: Sequence[str] = PROVIDERS
    ) -> None:
        self.records = records
        self.waiting: list[deque[Envelope]] = [deque() for _ in range(clients)]
        self._feeds = feeds
        self._streams = [feeds.stream(providers[n % len(providers)]) for n in range(clients)]

    def top_up(self, records: int) -> None:
        """Sign until this many records wait, the same number of batches for each client."""
        batches = -(-records // (self.records * len(self.waiting)))
        while any(len(waiting) < batches for waiting in self.waiting):
            for waiting, stream in zip(self.waiting, self._streams, strict=True):
                waiting.append(
                    stream.seal(islice(self._feeds.slices[stream.provider], self.records))
                )

    def take(self) -> Envelope:
        """Return the next batch of any client."""
        return max(self.waiting, key=len).popleft()


class Feeds:
    """The usage not yet posted to one ledger: slices by provider, and names of streams."""

    def __init__(self) -> None:
        self.slices: dict[str, Iterator[Slice]] = {each: slices(each) for each in PROVIDERS}
        self._names = count(1)

    def stream(self, provider: str) -> Stream:
        return Stream(provider, f"reporter-{next(self._names)}")


class Client(asyncio.Protocol):
    """A keep-alive connection with one request at a time; `answered(client, status, body)`."""

    def __init__(self, host: str, answered: Callable[["Client", int, bytes], None]) -> None:
        self.answered = answered
        self.lost: Callable[[Client], None] | None = None
        self.sent: Envelope | None = None
        self.began = 0.0
        self._head = f"POST /v1/usage HTTP/1.1\r\nHost: {host}\r\nContent-Length: ".encode()
        self._received = bytearray()
        self._wanted = 0  # bytes of the whole answer, once its head is there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        if self.lost is not None:
            self.lost(self)

    def post(self, envelope: Envelope, began: float) -> None:
        """Send a batch; its latency begins at `began`."""
        self.sent, self.began = envelope, began
        self.transport.writelines(
            (self._head, str(len(envelope.data)).encode(), _END_OF_HEAD, envelope.data)
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted and (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = bytes(self._received[:end]).lower()
            length = head.partition(_LENGTH)[2].partition(b"\r\n")[0]
            self._wanted = end + len(_END_OF_HEAD) + int(length)
        if self._wanted and len(self._received) >= self._wanted:
            answer, self._received, self._wanted = bytes(self._received), bytearray(), 0
            self.answered(self, int(answer[9:12]), answer.partition(_END_OF_HEAD)[2])


async def connect(service: Service, clients: int, answered: Callable[..., None]) -> list[Client]:
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Client(service.host, answered), service.host, service.port
        )
        for _ in range(clients)
    ]
    return [client for _, client in made]


class _Run:
    """One window in the making: counts answers, and refuses any that is not a good one."""

    def __init__(self) -> None:
        self.window = Window()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open = 0  # requests without an answer
        self._cpu_began = time.process_time()
        self.began = time.perf_counter()

    def post(self, client: Client, envelope: Envelope, began: float) -> None:
        self.open += 1
        client.post(envelope, began)

    def take(self, client: Client, status: int, body: bytes) -> bool:
        """Count an answer; False where the same batch was sent again."""
        if status == 503:
            self.window.busy += 1
            loop = asyncio.get_running_loop()
            loop.call_later(RETRY_SECONDS, client.post, client.sent, client.began)
            return False
        self.open -= 1
        accepted = body.count(_ACCEPTED)
        if status != 200 or accepted != client.sent.records:
            self.fail(f"{status}, {accepted} of {client.sent.records} accepted: {body[:300]!r}")
            return False
        now = time.perf_counter()
        self.window.latencies.append(now - client.began)
        self.window.answers.append((now, sum(map(int, _ENTRIES.search(body).groups()))))
        self.window.records += accepted
        return True

    def fail(self, what: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(f"the load was answered {what}"))

    def end_if(self, over: bool) -> None:
        if over and self.open == 0 and not self.ended.done():
            self.window.seconds = time.perf_counter() - self.began
            self.window.cpu_seconds = time.process_time() - self._cpu_began
            self.ended.set_result(None)


async def closed_loop(service: Service, supply: Supply, seconds: float = inf) -> Window:
    """Let each client post one batch after the other; ends early where one has none left."""
    over = False

    def answered(client: Client, status: int, body: bytes) -> None:
        nonlocal over
        if not run.take(client, status, body):
            return
        now = time.perf_counter()
        waiting = mine[client]
        over = over or now >= run.began + seconds or not waiting
        if not over:
            run.post(client, waiting.popleft(), now)
        run.end_if(over)

    clients = await connect(service, len(supply.waiting), answered)
    mine = dict(zip(clients, supply.waiting, strict=True))
    with _without_collections():
        run = _Run()
        for client, waiting in mine.items():
            run.post(client, waiting.popleft(), run.began)
        await _ending(run, clients)
    return run.window


async def open_loop(
    service: Service, supply: Supply, batches_per_second: float, seconds: float
) -> Window:
    """Post at a constant rate; a batch that finds no idle client waits, and that time counts."""
    total = max(1, round(batches_per_second * seconds))
    late: deque[float] = deque()
    idle: deque[Client] = deque()
    due = 0  # how many batches were due so far

    def answered(client: Client, status: int, body: bytes) -> None:
        if not run.take(client, status, body):
            return
        if late:
            run.post(client, supply.take(), late.popleft())
        else:
            idle.append(client)
        run.end_if(due == total and not late)

    clients = await connect(service, len(supply.waiting), answered)
    idle.extend(clients)
    with _without_collections():
        run = _Run()
        for due in range(1, total + 1):
            moment = run.began + (due - 1) / batches_per_second
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            if idle:
                run.post(idle.popleft(), supply.take(), moment)
            else:
                late.append(moment)
        await _ending(run, clients)
    return run.window


async def _ending(run: _Run, clients: list[Client]) -> None:
    for client in clients:
        client.lost = lambda _: run.fail("by a lost connection")
    try:
        await run.ended
    finally:
        for client in clients:
            client.lost = None
            client.transport.close()


class _without_collections:  # noqa: N801 - reads as the words it stands for
    """Collect garbage before a window and not within it."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of all lies (the nearest rank)."""
    ranked = sorted(values)
    return ranked[ceil(share * len(ranked)) - 1]
