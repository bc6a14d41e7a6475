"""Run a command, and print what it cost as JSON: processor seconds, and the most KiB in memory.

    python -m tests.bench.costing COMMAND WORD…

A process of its own, and a small one: Linux counts as a command's memory what the process had that
started it.
"""

import json
import resource
import subprocess
import sys


def main() -> None:
    done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = {"seconds": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss}
    json.dump(cost, sys.stdout)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
