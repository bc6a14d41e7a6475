"""The independent sum of persons: who gave each command, and whether that was enough.

Nothing of the core is used here, as in `auditor.sums`, whose code of violation this is:

    sum_persons      each entry of the authority is by a token that its person holds. One person
                     gives what entry 0 lists, within what any ledger may list; all else was
                     proposed by another person, less than thirty days ago, as it is, and is neither
                     ended nor confirmed. Two persons remain, and a trial ledger has a trial's name.
                     The service alone gives the digests, of the access log and of the state, and
                     nothing else.
"""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from ledger.errors import Violation

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_OPEN_MICROSECONDS: Final = timedelta(days=30) // timedelta(microseconds=1)
_TRIALS: Final = ("test", "example")

# What any ledger may let one person do.
_BY_ONE: Final = {
    *("enterprise", "project", "contract", "freeze", "revocation", "token_end"),
    *("proposal", "proposal_end"),
    *("claim", "claim_check", "claim_end", "approval", "notice", "objection", "resolution"),
    *("claim_revocation", "order", "payment"),
}
_SERVICE: Final = "kashi:service"
_DIGESTS: Final = ("access_digest", "state_digest")
_BY_FIRMS: Final = ("claim", "dispute", "month_confirmation")
# Of an entry and of a request one field has different names.
_NAMES: Final = {"kind": "applicant"}
# What a request may leave out; its entry then has nothing there.
_OPTIONAL: Final[dict[str, tuple[str, ...]]] = {
    "contract": ("project", "follows", "prices", "max_devices"),
    "provider": ("serves", "devices", "enlisted"),
    "project": ("audited_investment",),
    "award": ("class", "project", "base"),
    "revocation": ("suspected_since",),
    "month_closing": ("waiver",),
    "claim": ("amount", "invoices", "payments", "delivery"),
    "approval": ("disallowed",),
    "recovery": ("bank_reference", "claim"),
}


class Persons:
    """The persons, tokens and open proposals of a ledger. Methods raise `Violation`."""

    def __init__(self) -> None:
        self._is_trial = False
        self._alone: set[str] = set()
        self._contract_limit = 0
        self._persons: set[str] = set()  # those who have not ended
        self._holders: dict[str, str] = {}  # of the tokens that have not ended
        self._ended: set[str] = set()  # tokens
        self._open: dict[int, dict[str, Any]] = {}

    def entry(self, number: int, fields: dict[str, Any]) -> None:
        """Judge the next entry, if it is one of the authority's."""
        if "request" not in fields:
            return
        kind, person = fields["kind"], fields.get("person")
        if kind == "genesis":
            self._begin(number, fields)
        elif kind == "person_recovery":
            self._persons.add(fields["id"])
            self._holders[fields["token"]] = fields["id"]
        if self._is_by_service(number, fields) or self._is_by_firm(fields):
            return
        if self._holders.get(fields["by"]) != person or person not in self._persons:
            raise _wrong(number, f"{fields['by']} is no token of {person}")
        if kind == "proposal_end":
            self._end(number, fields)
        elif "proposal" in fields:
            self._confirm(number, fields)
        elif not self._may_alone(fields):
            raise _wrong(number, f"a {kind} by {person} alone")
        self._apply(number, fields)

    def _is_by_service(self, number: int, fields: dict[str, Any]) -> bool:
        """Return whether the service gave what nobody else gives, and gives nothing else."""
        is_digest = fields["kind"] in _DIGESTS
        if not is_digest and fields["by"] != _SERVICE:
            return False
        if not is_digest or (fields["by"], fields["person"]) != (_SERVICE, ""):
            raise _wrong(number, f"a {fields['kind']} entry by {fields['by']}")
        return True

    def _is_by_firm(self, fields: dict[str, Any]) -> bool:
        """Return whether a firm gave what a firm may give, with a token of its own."""
        kind = fields["kind"]
        is_theirs = kind in _BY_FIRMS or (kind == "claim_end" and fields["outcome"] == "withdrawn")
        is_official = fields["by"] in self._holders or fields["by"] in self._ended
        return is_theirs and fields["person"] == "" and not is_official

    def _begin(self, number: int, fields: dict[str, Any]) -> None:
        self._is_trial, self._alone = fields["one_person"], set(fields["alone"])
        self._contract_limit = fields["contract_limit"]
        self._persons = {first["id"] for first in fields["persons"]}
        self._holders = {first["token"]: first["id"] for first in fields["persons"]}
        host = fields["origin"].split("/")[0].split(":")[0]
        if self._is_trial and host.split(".")[-1] not in _TRIALS:
            raise _wrong(number, f"{fields['origin']} has one person and is no trial")
        is_alone, one_each = len(self._persons) == 1, len(self._holders) == len(self._persons)
        if is_alone != self._is_trial or not one_each or not self._persons:
            raise _wrong(number, f"{len(self._persons)} persons begin the ledger")
        if not self._alone <= _BY_ONE:
            raise _wrong(number, f"one person may not {', '.join(sorted(self._alone - _BY_ONE))}")

    def _may_alone(self, fields: dict[str, Any]) -> bool:
        kind = fields["kind"]
        if self._is_trial or kind in ("genesis", "person_recovery"):
            return True
        is_large = kind == "contract" and fields["amount"] > self._contract_limit
        is_audited = kind == "project" and "audited_investment" in fields
        return kind in self._alone and not (is_large or is_audited)

    def _end(self, number: int, fields: dict[str, Any]) -> None:
        proposal = self._take_open(number, fields)
        if proposal["person"] != fields["person"]:
            raise _wrong(number, f"{proposal['person']} made the proposal that it ends")

    def _confirm(self, number: int, fields: dict[str, Any]) -> None:
        proposal = self._take_open(number, fields)
        if proposal["person"] == fields["person"] and not self._is_trial:
            raise _wrong(number, f"{fields['person']} confirms a proposal of the same person")
        stated = {name: fields.get(_NAMES.get(name, name)) for name in proposal["body"]}
        is_same = all(_agrees(name, proposal["body"][name], stated[name]) for name in stated)
        left_out = set(_OPTIONAL.get(fields["kind"], ())) - proposal["body"].keys()
        is_same &= not any(fields.get(name) for name in left_out)
        if proposal["command"] != fields["kind"] or not is_same:
            raise _wrong(number, f"it is not what entry {fields['proposal']} proposes")

    def _take_open(self, number: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the proposal that an entry closes, which has to be open."""
        proposal = self._open.pop(fields["proposal"], None)
        if proposal is None or proposal["person"] not in self._persons:
            raise _wrong(number, f"entry {fields['proposal']} is no open proposal")
        if fields["at"] - proposal["at"] >= _OPEN_MICROSECONDS:
            raise _wrong(number, f"the proposal of entry {fields['proposal']} is too old")
        return proposal

    def _apply(self, number: int, fields: dict[str, Any]) -> None:
        match fields["kind"]:
            case "person":
                self._persons.add(fields["id"])
            case "person_end":
                self._persons.discard(fields["id"])
                if not self._has_enough():
                    raise _wrong(number, f"{len(self._persons)} persons are left")
            case "token":
                self._holders[fields["id"]] = fields["holder"]
            case "token_end":
                self._holders.pop(fields["token"], None)
                self._ended.add(fields["token"])
            case "proposal":
                self._open[number] = fields

    def _has_enough(self) -> bool:
        return len(self._persons) >= (1 if self._is_trial else 2)


def _agrees(name: str, proposed: Any, stated: Any) -> bool:
    """Return whether a field of an entry holds what the request of its proposal says."""
    if isinstance(proposed, dict) and isinstance(stated, dict):
        return proposed.keys() == stated.keys() and all(
            _agrees(name, proposed[key], stated[key]) for key in proposed
        )
    if isinstance(proposed, list) and isinstance(stated, list):
        return len(proposed) == len(stated) and all(
            _agrees(name, *each) for each in zip(proposed, stated, strict=True)
        )
    if isinstance(proposed, str) and isinstance(stated, int):
        if "T" in proposed:
            return datetime.fromisoformat(proposed) - _EPOCH == timedelta(microseconds=stated)
        units = 10_000 if name == "prices" else 100
        return Fraction(proposed) * units == stated
    return bool(proposed == stated)


def _wrong(number: int, detail: str) -> Violation:
    return Violation("sum_persons", detail, number)
