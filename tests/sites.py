"""A ledger behind a web server, for tests of programs that fetch it.

with published(tmp_path / "www") as site:
    site.post(3)
    site.publish()
    ... site.url, site.size, site.fetched()
"""

import functools
import http.server
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.books import record
from tests.writer import Writer

NOON = 1_740_801_600  # the writer's clock
START = NOON - 6 * 3600


class Site:
    """The writer of a ledger, and the folder of it that a web server shows."""

    def __init__(self, folder: Path, url: str, asked: list[str]) -> None:
        self.folder, self.url = folder, f"{url}/log"
        self.asked = asked
        self.records = 0
        self.seq = 0
        self.writer = Writer()
        self.writer.activate()
        self.writer.provider()
        self.writer.key()
        self.writer.enterprise()
        self.writer.contract("A")
        self.publish()

    @property
    def size(self) -> int:
        return len(self.writer.leaves)

    def post(self, batches: int = 1, seq: int | None = None) -> None:
        """Write batches of two records each."""
        for _ in range(batches):
            self.seq = self.seq + 1 if seq is None else seq
            self.records += 2
            names = (self.records - 1, self.records)
            self.writer.post(
                [record(f"r{name}", "A", START, START + 60, 1_000) for name in names],
                seq=self.seq,
            )

    def publish(self, writer: Writer | None = None) -> None:
        """Publish what is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (writer or self.writer).export(self.folder)

    def fetched(self) -> Counter:
        """Return the paths that were fetched since the last call."""
        found = Counter(path.removeprefix("/log/") for path in self.asked)
        self.asked.clear()
        return found

    @property
    def checkpoint(self) -> bytes:
        return (self.folder / "checkpoint").read_bytes()


class _QuietServer(http.server.ThreadingHTTPServer):
    """A server that says nothing of clients that went away, for stderr is looked at."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def web_server(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler; yield the URL."""
    with _QuietServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def published(folder: Path) -> Iterator[Site]:
    """Serve a folder that holds the folder of the ledger."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with web_server(handler) as url:
        yield Site(folder / "log", url, asked)
