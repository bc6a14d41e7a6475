"""The digests of the rules' state, which the service puts into the ledger by itself.

One is of the state after all entries before it, and its snapshot (`rules/snapshot.py`) lies beside
it. Whoever has decided the entries so far must come to the same digest.
"""

from typing import Final

from meter.rules.commands import DigestState
from meter.rules.entries import StateDigested
from meter.rules.kinds.kind import Judged, Kind, Stamp
from meter.rules.snapshot import digest_of, write
from meter.rules.state import State


def _judge(state: State, _command: DigestState, _stamp: Stamp) -> Judged:
    return {"sha256": digest_of(write(state))}, []


def _apply(_state: State, _number: int, _entry: StateDigested) -> None:
    """Change nothing: it tells what is."""


DIGEST: Final[Kind[StateDigested, DigestState]] = Kind(
    entry=StateDigested,
    command=DigestState,
    judge=_judge,
    apply=_apply,
    rows="registration",
    names_numbers=True,
    persons=0,
)
