"""Verify an exported ledger on a number of cores, and print the time that it took, as JSON.

    python -m tests.bench.verifying FOLDER VKEY CORES with-rules
    python -m tests.bench.verifying FOLDER VKEY CORES log-alone

With the rules is what `kashi verify` does. The log alone is its part that knows nothing of compute:
bytes, tree and books. A process of its own, so that the cores it may run on are set before anything
is loaded; `verify` uses those that it finds. The clock starts when Python and the rules are there,
and stops at the verdict.
"""

import json
import os
import sys
import time
from pathlib import Path

WITH_RULES, LOG_ALONE = "with-rules", "log-alone"


def main() -> None:
    folder, vkey, cores, checked = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    # The only place that sets the number of cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from ledger.verify import verify
    from meter.auditor.verdict import no_collections, read_key, verify_source

    began = time.perf_counter()
    if checked == WITH_RULES:
        report = verify_source(folder, vkey, (), None, lambda _done, _total: None).report
    else:
        with no_collections():
            report = verify(Path(folder), read_key(vkey))
    seconds = time.perf_counter() - began
    assert report.ok, report.findings
    json.dump({"size": report.size, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
