"""A folder's writer in a process of its own, for a caller that has other work.

In the caller's process, hashing would stop all other threads, and each of some dozens of calls to
the disk would wait for the interpreter again. So segments are sent to another process in groups,
and what is raised there is raised here.

    with FolderProcess(folder, size, lock) as writer:
        writer.extend(segment)
        writer.settle()
        writer.show(checkpoint)

The process holds the lock on the folder too: if its caller is killed, nobody else writes before it
has noticed and ended. It speaks over its standard input, in messages of `multiprocessing`: it gets
the name and the arguments of a method, and sends back the result or the exception.
"""

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Self

from ledger.bundle import Segment
from ledger.errors import BadFolder, LedgerError
from ledger.files import files_of
from ledger.folder import FolderWriter

_MESSAGE_BYTES: Final = 1024 * 1024  # small segments are sent together up to this size


class FolderProcess:
    """The methods of a `FolderWriter`; once the process is gone, they raise `OSError`."""

    def __init__(self, folder: Path, size: int, lock: int) -> None:
        """Resume a folder of that size; `lock` is the descriptor of our lock on it.

        Raises `BadFolder` or `OSError`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", __name__, str(folder), str(size)],
                stdin=theirs.fileno(),
                pass_fds=[lock],
                start_new_session=True,  # an interrupt at the terminal is only for us
            )
        self._peer = Connection(ours.detach())
        self._waiting: list[Segment] = []
        self._waiting_bytes = 0
        self.size = size

    def extend(self, segment: Segment) -> None:
        """Add the next entries and the files beside them."""
        self._waiting.append(segment)
        self._waiting_bytes += segment.size_bytes
        self.size += segment.count
        if self._waiting_bytes >= _MESSAGE_BYTES:
            self._send_waiting()

    def root(self) -> bytes:
        """Return the root over all added entries."""
        self._send_waiting()
        root: bytes = self._ask("root")
        return root

    def settle(self) -> None:
        """Settle all added entries."""
        self._send_waiting()
        self._ask("settle")

    def show(self, checkpoint: bytes) -> None:
        """Replace the checkpoint by that of all settled entries."""
        self._ask("show", checkpoint)

    def _send_waiting(self) -> None:
        if self._waiting:
            self._ask("extend_by", self._waiting)
            self._waiting, self._waiting_bytes = [], 0

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._peer.send((method, arguments))
            answer = self._peer.recv()
        except (EOFError, ConnectionError):
            raise ChildProcessError("the process that writes the folder has ended") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()
        self._process.wait()


class _Server:
    """The process's side: calls the methods that it is asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._writer: FolderWriter | None = None

    def answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            # Made at the first call, so that errors of the folder are answers too.
            if self._writer is None:
                self._writer = FolderWriter(self._folder, files_of(self._folder), resume=self._size)
            target = self if method == "extend_by" else self._writer
            return getattr(target, method)(*arguments)
        except LedgerError as error:
            return BadFolder(error.detail)
        except OSError as error:
            return error

    def extend_by(self, segments: list[Segment]) -> None:
        assert self._writer is not None, "`answer` has made it"
        for segment in segments:
            self._writer.extend(segment)


def main() -> None:
    """Write the folder of the command line, as the messages on the standard input say."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the caller ends us by closing its side
    folder, size = sys.argv[1:]
    server, peer = _Server(Path(folder), int(size)), Connection(sys.stdin.fileno())
    with suppress(EOFError, ConnectionError):
        while True:
            peer.send(server.answer(*peer.recv()))


if __name__ == "__main__":
    main()
