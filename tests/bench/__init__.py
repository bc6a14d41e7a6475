"""The benchmark: `make bench`, or `python -m tests.bench --help`.

It starts a PostgreSQL and services of its own, loads them from this process, and writes what it
measured into `docs/benchmarks.md`. Nothing is a stand-in: batches are signed, answers are counted,
fsync is on.

`workload` makes the books and the records, `copying` is the raw baseline, `servers` and `load` run
and load a service. Each of `ingest`, `audit`, `flat`, `latency`, `profile` and `published`
measures one thing and gives a `report.Section`; `report` shows it, `curves` draws.
"""
