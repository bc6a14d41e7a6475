"""Watch a published log, and print when each size of its checkpoint was first seen, as JSON.

    python -m tests.bench.watching FOLDER

It looks at the file a thousand times a second, which takes a hundredth of a core. A line says that
it has begun; when its standard input ends, so does it: `[[moment, size], …]`, in the seconds of
`time.perf_counter`, which on Linux all processes share.
"""

import json
import select
import sys
import time
from pathlib import Path

from ledger.tiles import CHECKPOINT

PAUSE_SECONDS = 0.001


def main() -> None:
    file = Path(sys.argv[1]) / CHECKPOINT
    seen: list[tuple[float, int]] = []
    held, ended = None, False
    while not ended:
        # Once more after the end, so that nothing before it is missed.
        ended = bool(seen) and bool(select.select([sys.stdin], [], [], PAUSE_SECONDS)[0])
        found = _identity(file)
        if found != held:
            held = found
            seen.append((time.perf_counter(), size_of(file)))
            if len(seen) == 1:
                sys.stdout.write("watching\n")
                sys.stdout.flush()
    json.dump(seen, sys.stdout)


def _identity(file: Path) -> tuple[int, int]:
    """Return numbers that change whenever the file is replaced, without reading it."""
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def size_of(checkpoint: Path) -> int:
    return int(checkpoint.read_bytes().split(b"\n")[1])


if __name__ == "__main__":
    main()
