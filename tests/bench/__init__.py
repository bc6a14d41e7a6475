"""The benchmark: `make bench`, or `python -m tests.bench --help`.

It starts a PostgreSQL and services of its own, loads them from this process, and writes the results
into `docs/benchmarks.md`. There are no stand-ins: batches are signed, answers are counted, fsync is
on.

`workload` makes the books and the records, `copying` is the raw baseline, `servers` and `load` run
and load a service. Each of `ingest`, `audit`, `flat`, `latency`, `profile` and `published`
measures one thing and returns a `report.Section`; `report` shows it, `curves` draws.
"""
