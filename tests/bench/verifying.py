"""Verify an exported ledger on so many cores, and print how long it took, as JSON.

    python -m tests.bench.verifying FOLDER VKEY CORES

A process of its own, so that the cores it may run on are set before anything is loaded; `verify`
uses those that it finds. The clock starts when Python and the rules are there, and stops at the
verdict.
"""

import json
import os
import sys
import time


def main() -> None:
    folder, vkey, cores = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # The one place that says on how many cores to verify.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from meter.verification import verify_source

    began = time.perf_counter()
    verdict = verify_source(folder, vkey, (), None, lambda _done, _total: None)
    seconds = time.perf_counter() - began
    assert verdict.ok, verdict.problems
    json.dump({"size": verdict.report.size, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
