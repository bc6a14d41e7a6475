"""Coverage-guided fuzzing of every reader of hostile bytes: `make fuzz`.

python -m tests.fuzz                            every target for a minute each
python -m tests.fuzz note key --seconds 600     only these, and longer
python -m tests.fuzz note --replay FILE         what the target makes of an input

targets.py    what must hold for each reader, whatever the bytes
reading.py    second readings, to compare with the first
ledgers.py    small real ledgers that the targets change
seeds.py      the first inputs: right, nearly right, absurd
mutation.py   the changes of an input
inside.py     one process, in which atheris drives a target
run.py        starts it, and keeps what it found
corpus/       inputs that coverage found beyond the seeds, replayed by every test run
findings/     inputs that broke something; not kept in the repository
"""
