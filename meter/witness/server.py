"""The witness over HTTP: what C2SP tlog-witness asks for, and two pages for its operator.

POST /add-checkpoint       a cosignature line, or a refusal (`ledger.witnessing`)
GET  /<hash>/checkpoint    what was signed last of the log whose origin has this hex SHA-256
GET  /metrics, /healthz    Prometheus' text format; that the process answers

All responses are text. Nobody logs in: only the log's signature counts. The base packages are
enough to run it.
"""

import asyncio
import logging
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from ledger.witnessing import MAX_REQUEST_BYTES, Refused
from meter.http.bodies import Bodies
from meter.http.listener import listener
from meter.values.problems import Problem
from meter.witness.witness import Clock, Witness

MAX_CONNECTIONS: Final = 500  # by default a process may open 1,024 files
HEAD_SECONDS: Final = 75.0  # to the end of a head, also of the next request on a connection
DRAIN_SECONDS: Final = 5  # for open requests when the witness stops

_log: Final = logging.getLogger(__name__)


@asynccontextmanager
async def serving(folder: Path, host: str, port: int, clock: Clock) -> AsyncIterator[str]:
    """Serve the witness of a folder; yield its URL. `port` 0 takes a free one."""
    with Witness.open(folder, clock) as witness:
        # Compressed bodies are not decompressed, so they are malformed.
        runner = web.AppRunner(
            make_app(witness),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=HEAD_SECONDS,
            shutdown_timeout=DRAIN_SECONDS,
        )
        async with listener(runner, host, port, MAX_CONNECTIONS, lambda server: server()) as url:
            yield url


async def until_interrupted() -> None:
    """Wait for SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    await interrupted.wait()


def make_app(witness: Witness) -> web.Application:
    """Build the application around an open witness."""
    handlers = _Handlers(witness)
    app = web.Application(middlewares=[_faults])
    app.add_routes(
        [
            web.post("/add-checkpoint", handlers.add_checkpoint),
            web.get("/{hash:[0-9a-f]{64}}/checkpoint", handlers.checkpoint),
            web.get("/metrics", handlers.metrics),
            web.get("/healthz", handlers.health),
        ]
    )
    return app


class _Handlers:
    """Owns the counts of answers; only the loop's thread changes them."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._bodies = Bodies()
        self._answers: Counter[str] = Counter()

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        body = await self._bodies.read(request, MAX_REQUEST_BYTES)
        # A thread finishes what it began, also when this task is cancelled.
        answer = await asyncio.to_thread(self._witness.add_checkpoint, body)
        if isinstance(answer, Refused):
            self._answers[answer.reason] += 1
            _log.info("refused: %s", answer.reason)
            return web.Response(
                body=answer.body.encode(),
                status=answer.status,
                headers={"Content-Type": answer.content_type},
            )
        self._answers["cosigned"] += 1
        return web.Response(text=answer)

    async def checkpoint(self, request: web.Request) -> web.Response:
        signed = self._witness.signed_at(request.path.removeprefix("/"))
        if signed is None:
            raise web.HTTPNotFound
        return web.Response(text=signed.note.decode(), headers={"Cache-Control": "no-cache"})

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="".join(_metrics(self._witness, self._answers)))

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")


@web.middleware
async def _faults(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn each fault into one line of text, which holds no details of a fault of ours."""
    try:
        response: web.StreamResponse = await handler(request)
    except Problem as problem:
        _log.info("refused: %s", problem.code)
        return web.Response(text=f"{problem.detail}\n", status=problem.status)
    except (web.HTTPException, ConnectionError):
        raise
    except OSError as error:
        _log.exception("not signed: %s", error.strerror)
        return web.Response(text="the witness cannot write; try again\n", status=503)
    except Exception:  # noqa: BLE001 - no client sees a traceback
        _log.exception("fault")
        return web.Response(text="a fault of the witness\n", status=500)
    return response


def _metrics(witness: Witness, answers: Counter[str]) -> Iterator[str]:
    yield "# HELP kashi_witness_answers_total Requests to cosign, by answer.\n"
    yield "# TYPE kashi_witness_answers_total counter\n"
    for answer, count in sorted(answers.items()):
        yield f'kashi_witness_answers_total{{answer="{answer}"}} {count}\n'
    yield "# HELP kashi_witness_evidence Contradictions that a log has signed.\n"
    yield "# TYPE kashi_witness_evidence gauge\n"
    for origin, counts in witness.evidence.items():
        for kind, count in counts.items():
            yield f'kashi_witness_evidence{{log="{_label(origin)}",kind="{kind}"}} {count}\n'
    yield "# HELP kashi_witness_entries Size of the tree that was signed last.\n"
    yield "# TYPE kashi_witness_entries gauge\n"
    for origin, signed in witness.signed.items():
        yield f'kashi_witness_entries{{log="{_label(origin)}"}} {signed.checkpoint.size}\n'
    yield "# HELP kashi_witness_signed_timestamp_seconds When that was, in seconds since 1970.\n"
    yield "# TYPE kashi_witness_signed_timestamp_seconds gauge\n"
    for origin, signed in witness.signed.items():
        yield f'kashi_witness_signed_timestamp_seconds{{log="{_label(origin)}"}} {signed.time}\n'


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
