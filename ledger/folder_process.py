"""A folder's writer in a process of its own, for whoever has more to do than to write.

Hashing takes the interpreter from all else that runs in it; and who waits for a disk has to wait
for the interpreter too, after each of some dozens of calls. So what is added is sent, some of it at
a time, and what is raised there is raised here.

    with FolderProcess(folder, size, lock) as writer:
        writer.extend(segment)
        writer.settle()
        writer.show(checkpoint)

The process has the lock on the folder too: where we are killed, nobody else writes before it has
heard of that, and ended. It speaks over its standard input, in messages of `multiprocessing`:
a method's name and arguments, and back what it gives or raises.
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
from ledger.folder import FolderWriter

_MESSAGE_BYTES: Final = 1024 * 1024  # of small segments that are sent at once


class FolderProcess:
    """Has the methods of a `FolderWriter`; where its process is gone, they raise `OSError`."""

    def __init__(self, folder: Path, size: int, lock: int) -> None:
        """Go on with a folder of that size, on which `lock` is the descriptor of our lock.

        Raises `BadFolder` or `OSError`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", __name__, str(folder), str(size)],
                stdin=theirs.fileno(),
                pass_fds=[lock],
                start_new_session=True,  # an interrupt at the terminal is for us to tell it
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
        """The root over all that was added."""
        self._send_waiting()
        root: bytes = self._ask("root")
        return root

    def settle(self) -> None:
        """Name all that was added."""
        self._send_waiting()
        self._ask("settle")

    def show(self, checkpoint: bytes) -> None:
        """Replace the checkpoint by that of what was settled."""
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


class _Writing:
    """The process's side: does what it is asked for, until nobody is there to ask."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._writer: FolderWriter | None = None

    def answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            # Begun with the first question, so that what the folder raises is an answer too.
            if self._writer is None:
                self._writer = FolderWriter(self._folder, resume=self._size)
            target = self if method == "extend_by" else self._writer
            return getattr(target, method)(*arguments)
        except LedgerError as error:
            return BadFolder(error.detail)
        except OSError as error:
            return error

    def extend_by(self, segments: list[Segment]) -> None:
        assert self._writer is not None, "`answer` has begun it"
        for segment in segments:
            self._writer.extend(segment)


def main() -> None:
    """Write the folder that the command line names, as the standard input says."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever ends us all tells us by hanging up
    folder, size = sys.argv[1:]
    writing, peer = _Writing(Path(folder), int(size)), Connection(sys.stdin.fileno())
    with suppress(EOFError, ConnectionError):
        while True:
            peer.send(writing.answer(*peer.recv()))


if __name__ == "__main__":
    main()
