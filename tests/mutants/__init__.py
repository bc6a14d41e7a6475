"""Faults planted one at a time, to see whether the tests find them: `make mutants`.

python -m tests.mutants --only ledger/tlog.py           each mutant of one file
python -m tests.mutants --sample 100 --seed 1           a hundred of all, by chance

mutate.py    the small changes of a source
judges.py    which tests judge which file
run.py       a copy of the tree, and the tests run in it
page.py      the results, kept so that a run can go on, and their table
"""
