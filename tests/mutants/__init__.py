"""Faults planted one at a time, to see whether the tests find them: `make mutants`.

python -m tests.mutants --only ledger/tlog.py           each mutant of one file
python -m tests.mutants --sample 100 --seed 1           a hundred of all, by chance
python -m tests.mutants --sample 500 --seed 1           the same hundred, and four hundred more
python -m tests.mutants --write                         the table of what is known; judges nothing

mutate.py        the small changes of a source
judges.py        which tests judge which file
run.py           a copy of the tree, and the tests run in it
ready.py         a process that has read the tests, knows which of them run which line, and forks
known.py         which lines each test runs, kept
live.py          a fault in functions that are already imported
results.py       the results, kept so that a run can go on
sample.py        the order that chance gives, and what a sample says of the rest
no_faults.toml   the changes that change nothing, each with its reason
page.py          the table in docs/reliability.md
"""
