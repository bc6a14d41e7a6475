"""The fault harness: a real service under a recorded load, hit again and again, and checked.

    python -m tests.faults                          all faults, and the tables of the docs
    python -m tests.faults --only kill-service --times 3

Its parts, from the outside in:

    __main__.py    runs the catalogue, shows the progress, writes the pages
    catalogue.py   the faults: what each one does to a stage, and how often
    stage.py       one ledger with its processes; a *round* of load with a fault in its midst
    load.py        the actors and their steps: the same bytes for the same seed
    clients.py     honest, durable clients, and the answers they got (`Evidence`)
    processes.py   `kashi serve` under a supervisor, PostgreSQL, a small disk, a clock that jumps
    proxy.py       stands before PostgreSQL and cuts a connection around a COMMIT
    crowd.py       clients that are slow, deaf, or go away halfway
    checker.py     holds the evidence against the exported ledger, trusting neither
    page.py        the table

There are no stand-ins: processes are killed with SIGKILL, disks are full, and the checker reads
what `kashi export` wrote and `kashi verify` found good.
"""
