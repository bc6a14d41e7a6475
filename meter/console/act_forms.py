"""The authority's acts as forms: the fields of each, and the body of its command made from them.

A form's field has the name of the command's field, of a part of one `part.name`. What stands in it
is text; where the text cannot be what the field takes, that is a fault, named by a word.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from meter.console.form import NO_FIELD, Filled, fault, place_of
from meter.values.problems import Problem

FieldKind = Literal[
    "text",
    "long",
    "money",
    "date",
    "number",
    "choice",
    "programme",
    "uscc",
    "contract",
    "provider",
    "prices",
    "devices",
    "requests",
    "names",
    "file",
]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form. `choices` are a choice's values; one that is not `needed` may be empty.

    It is called by its name, or by its `label`.
    """

    name: str
    kind: FieldKind = "text"
    choices: tuple[str, ...] = ()
    needed: bool = True
    label: str = ""

    @property
    def word(self) -> str:
        """The name of its label among the words."""
        return f"field_{self.label or self.name.replace('.', '_')}"


@dataclass(frozen=True, slots=True)
class Act:
    """An act: the kind of its entry, which is the command's name in a proposal too; its fields."""

    name: str
    fields: tuple[Field, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)  # of the command, that nobody fills in

    def field(self, name: str) -> Field | None:
        """Return a field by its name."""
        return next((each for each in self.fields if each.name == name), None)


_PROGRAMME: Final = Field("programme", "programme")
_OTHER_PROGRAMME: Final = Field("programme")  # one that may not be in force yet
_RECORD: Final = Field("id", label="record")
_PROJECT: Final = Field("project")
_ITEM: Final = Field("item")
_AWARD: Final = Field("award")
_FIRM: Final = Field("enterprise", "uscc")
_YEAR: Final = Field("year", "number")
_MONTH: Final = Field("month")
_AMOUNT: Final = Field("amount", "money")
_CONTRACT: Final = Field("contract", "contract")
_PROVIDER: Final = Field("provider", "provider")
_DOCUMENT: Final = Field("document")
_WHY: Final = Field("reason", "long")
_REASON: Final = Field("reason", "long", needed=False)
_APPLICANTS: Final = ("enterprise", "university", "institute", "other")
_USES: Final = ("training", "inference", "research", "application", "other")
_LEVELS: Final = ("national", "provincial", "municipal", "district")
_YES_NO: Final = ("no", "yes")


def _enlisted(devices: Field) -> tuple[Field, ...]:
    """Return the fields of an enlistment; all of them are filled in, or none."""
    needed = devices.needed
    return (
        devices,
        Field("enlisted.batch", needed=needed),
        Field("enlisted.from", "date", needed=needed),
        Field("enlisted.until", "date", needed=needed),
    )


GROUPS: Final[Mapping[str, tuple[Act, ...]]] = {
    "money": (
        Act("issue", (_PROGRAMME, _FIRM, _YEAR, _AMOUNT, _REASON)),
        Act("withdrawal", (_PROGRAMME, _FIRM, _YEAR, _AMOUNT, _REASON)),
        Act("allocation", (_PROGRAMME, _YEAR, Field("requests", "requests"), _REASON)),
        Act("budget", (_PROGRAMME, _YEAR, _AMOUNT, _DOCUMENT, _REASON)),
        Act("expiry", (_PROGRAMME, _YEAR, _REASON)),
        Act("year_closing", (_PROGRAMME, _YEAR, _REASON)),
        Act(
            "month_closing",
            (
                _MONTH,
                Field("waiver.person", needed=False),
                Field("waiver.reason", "long", needed=False),
                _REASON,
            ),
        ),
        Act("month_confirmation", (_MONTH, _FIRM, _REASON)),
        Act(
            "policy",
            (
                _OTHER_PROGRAMME,
                Field("version"),
                Field("content", "file", needed=False),
                _REASON,
            ),
        ),
    ),
    "records": (
        Act("release", (_PROVIDER, _RECORD, _WHY)),
        Act("void", (_PROVIDER, _RECORD, _WHY)),
        Act("dispute", (_CONTRACT, _PROVIDER, _RECORD, _WHY)),
        Act("dispute_dismissal", (_PROVIDER, _RECORD, _WHY)),
    ),
    "parties": (
        Act(
            "enterprise",
            (
                Field("uscc"),
                Field("name"),
                Field("kind", "choice", _APPLICANTS),
                Field("founded_on", "date"),
                _REASON,
            ),
        ),
        Act(
            "enterprise_amendment",
            (
                Field("uscc", "uscc"),
                Field("name", needed=False),
                Field("kind", "choice", _APPLICANTS, needed=False),
                Field("founded_on", "date", needed=False),
                _DOCUMENT,
                _WHY,
            ),
        ),
        Act(
            "succession",
            (
                Field("uscc", "uscc"),
                Field("successor", "uscc"),
                Field("effective", "date"),
                _DOCUMENT,
                _REASON,
            ),
        ),
        Act(
            "provider",
            (
                Field("id"),
                Field("uscc"),
                Field("name"),
                *_enlisted(Field("devices", "devices", needed=False)),
                Field("serves", "names", needed=False),
                _REASON,
            ),
        ),
        Act("enlistment", (_PROVIDER, *_enlisted(Field("devices", "devices")), _REASON)),
        Act(
            "key",
            (_PROVIDER, Field("keyid"), Field("public_key"), Field("proof", "long"), _REASON),
            {"algorithm": "ed25519"},
        ),
        Act("revocation", (Field("keyid"), Field("suspected_since", needed=False), _REASON)),
        Act("provider_amendment", (_PROVIDER, Field("name"), _DOCUMENT, _WHY)),
    ),
    "contracts": (
        Act(
            "contract",
            (
                *(Field("id"), Field("contract_no"), _PROGRAMME, _FIRM, _PROVIDER, _AMOUNT),
                Field("signed_on", "date"),
                Field("from", "date"),
                Field("until", "date"),
                Field("use", "choice", _USES),
                Field("prices", "prices", needed=False),
                Field("max_devices", "devices", needed=False),
                Field("related_party", "choice", _YES_NO),
                Field("project", needed=False),
                Field("follows", needed=False),
                _REASON,
            ),
        ),
        Act(
            "amendment",
            (
                _CONTRACT,
                Field("mode", "choice", ("supplement", "correction")),
                Field("effective", "date", needed=False),
                Field("signed_on", "date", needed=False),
                Field("amount", "money", needed=False),
                Field("until", "date", needed=False),
                Field("prices", "prices", needed=False),
                Field("max_devices", "devices", needed=False),
                Field("from", "date", needed=False),
                Field("use", "choice", _USES, needed=False),
                Field("related_party", "choice", _YES_NO, needed=False),
                Field("enterprise", "uscc", needed=False),
                Field("contract_no", needed=False),
                _DOCUMENT,
                _WHY,
            ),
        ),
        Act("freeze", (_CONTRACT, _REASON)),
        Act("unfreeze", (_CONTRACT, _REASON)),
        Act(
            "late_window",
            (
                _CONTRACT,
                Field("from", "date"),
                Field("until", "date"),
                Field("open_until", "date"),
                _WHY,
            ),
        ),
        Act(
            "contract_funds",
            (
                _CONTRACT,
                Field("reference"),
                Field("level", "choice", _LEVELS),
                _AMOUNT,
                _DOCUMENT,
                _REASON,
            ),
        ),
    ),
    "claims": (
        Act(
            "recovery",
            (
                *(_ITEM, _YEAR, _AMOUNT, Field("bank_reference", needed=False)),
                *(Field("claim", needed=False), _REASON),
            ),
        ),
        Act(
            "red_invoice",
            (
                *(Field("number"), Field("red_number"), Field("confirmation"), _YEAR, _AMOUNT),
                *(Field("refunded", "money"), Field("issued_on", "date"), _REASON),
            ),
        ),
        Act("forfeit", (_ITEM, _YEAR, _AMOUNT, _WHY)),
        Act("payment_return", (Field("claim"), Field("returned_on", "date"), _WHY)),
    ),
    "people": (
        Act("person", (Field("id"), _REASON)),
        Act("person_end", (Field("id"), _REASON)),
        Act("token", (Field("id", label="token"), Field("holder"), _REASON)),
        Act("token_end", (Field("token"), _REASON)),
    ),
    "awards": (
        Act(
            "project",
            (
                Field("id"),
                Field("title"),
                Field("audited_investment", "money", needed=False),
                _REASON,
            ),
        ),
        Act("project_audit", (_PROJECT, _AMOUNT, _DOCUMENT, _REASON)),
        Act(
            "project_funds",
            (
                _PROJECT,
                Field("reference"),
                Field("level", "choice", _LEVELS),
                _AMOUNT,
                _DOCUMENT,
                _REASON,
            ),
        ),
        Act(
            "award",
            (
                *(Field("id"), _PROGRAMME, Field("class", needed=False), _FIRM),
                *(Field("project", needed=False), _YEAR, Field("base", "money", needed=False)),
                *(_AMOUNT, _DOCUMENT, _REASON),
            ),
        ),
        Act("award_change", (_AWARD, _AMOUNT, _WHY)),
    ),
}
ACTS: Final[Mapping[str, Act]] = {act.name: act for acts in GROUPS.values() for act in acts}

# The field that a code is about, where the problem itself names none.
_FIELD_OF: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("unknown_enterprise", "succeeded", "not_applicant"), ("enterprise", "uscc")),
    "role_conflict": ("enterprise", "uscc"),
    "below_threshold": ("enterprise",),
    "unknown_provider": ("provider",),
    **dict.fromkeys(("unknown_contract", "already_frozen", "not_frozen"), ("contract", "item")),
    "unknown_programme": ("programme",),
    "wrong_meter": ("programme",),
    "wrong_allocation": ("programme",),
    "unknown_project": ("project",),
    **dict.fromkeys(("unknown_year", "year_closed", "year_open"), ("year",)),
    **dict.fromkeys(("cap_exceeded", "above_need", "pool_exceeded", "no_budget"), ("amount",)),
    **dict.fromkeys(("below_granted", "pool_below_issued"), ("amount",)),
    "contract_known": ("contract_no",),
    **dict.fromkeys(("no_policy", "bad_dates"), ("signed_on", "from", "founded_on")),
    **dict.fromkeys(("exists_differently", "looks_alike"), ("id", "keyid", "uscc")),
    **dict.fromkeys(("not_found", "already_revoked"), ("keyid",)),
    "weak_key": ("public_key",),
    "unknown_policy": ("version",),
    **dict.fromkeys(("already_voided", "already_released", "nothing_withheld"), ("id",)),
    "unknown_record": ("id",),
    **dict.fromkeys(("unknown_month", "month_open", "answer_over"), ("month", "id")),
    **dict.fromkeys(("unknown_dispute", "dispute_decided", "already_disputed"), ("id",)),
    "month_confirmed": ("id",),
    "gaps_open": ("waiver.person",),
    "unknown_award": ("award",),
    "unknown_person": ("id", "holder", "waiver.person"),
    "unknown_token": ("token",),
    **dict.fromkeys(("already_ended", "last_person"), ("id", "token")),
    **dict.fromkeys(("above_debt", "above_granted", "above_payable", "above_invoice"), ("amount",)),
    "unknown_invoice": ("number",),
    **dict.fromkeys(("unknown_claim", "wrong_state"), ("claim",)),
    "no_claims": ("item",),
    "unknown_class": ("class",),
    "stacked": ("project",),
    "project_ceiling": ("amount",),
    "bad_proof": ("proof",),
}


def body_of(act: Act, values: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body of a command, and by field the word of what is wrong with it."""
    body: dict[str, Any] = dict(act.fixed)
    faults: dict[str, str] = {}
    for each in act.fields:
        text = values.get(each.name, "").strip()
        if not text:
            if each.needed:
                faults[each.name] = "fault_needed"
            continue
        value = _value(each.kind, text)
        if each.name == "related_party":
            value = text == "yes"
        if value is None or (each.choices and text not in each.choices):
            faults[each.name] = f"fault_{each.kind}"
            continue
        part, _, name = each.name.rpartition(".")
        (body.setdefault(part, {}) if part else body)[name] = value
    return body, faults


def _value(kind: FieldKind, text: str) -> Any:
    """Return what a text stands for; None where it cannot."""
    reads: dict[FieldKind, Callable[[str], Any]] = {
        "number": _number,
        "prices": lambda all_: _pairs(all_, str),
        "devices": lambda all_: _pairs(all_, _number),
        "requests": _requests,
        "names": str.split,
        "file": lambda all_: "\n".join(all_.splitlines()) + "\n",
    }
    return reads.get(kind, str)(text)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _pairs(text: str, read: Callable[[str], Any]) -> dict[str, Any] | None:
    """Return names with values, of lines of both; a price may have `/day` or `/month` after it."""
    found: dict[str, Any] = {}
    for name, value in _lines(text):
        amount, _, per = value.partition("/")
        known = read(amount)
        if name in found or known is None:
            return None
        found[name] = {"amount": amount, "per": per} if per else known
    return found or None


def _requests(text: str) -> list[list[str]] | None:
    found = [[firm, amount] for firm, amount in _lines(text)]
    return found if all(all(each) for each in found) else None


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield the two words of each line; a line of other words has an empty second."""
    for line in filter(None, map(str.strip, text.splitlines())):
        first, *rest = line.split()
        yield first, rest[0] if len(rest) == 1 else ""


def values_of(act: Act, body: Mapping[str, Any]) -> dict[str, str]:
    """Return what a form would hold whose command has this body: the inverse of `body_of`."""
    found = {}
    for each in act.fields:
        part, _, name = each.name.rpartition(".")
        value = (body.get(part, {}) if part else body).get(name)
        if value is not None:
            found[each.name] = "yes" if value is True else "no" if value is False else _text(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):  # prices or devices
        return "\n".join(f"{name} {_price(held)}" for name, held in value.items())
    if isinstance(value, list):  # requests or names
        return "\n".join(each if isinstance(each, str) else " ".join(each) for each in value)
    return str(value)


def _price(held: Any) -> str:
    return f"{held['amount']}/{held['per']}" if isinstance(held, dict) else str(held)


def refused(
    act: Act, values: Mapping[str, str], problem: Problem, detail: str, words: Mapping[str, str]
) -> Filled:
    """Return a form whose command was refused, with the fault at the field that it is about.

    `detail` is the problem's, in the language of the words.
    """
    if problem.code == "malformed" and "field" not in problem.facts:
        place = place_of(values, problem)
        known = act.field(place)
        return Filled(values, {place: _fault(known, values, words) if known else detail})
    named = (str(problem.facts.get("field", "")), *_FIELD_OF.get(problem.code, ()))
    place = next((name for name in named if act.field(name)), NO_FIELD)
    said = words.get(f"refusal_{problem.code}")
    return Filled(values, {place: detail if said is None else f"{said} {detail}"})


def _fault(field: Field, values: Mapping[str, str], words: Mapping[str, str]) -> str:
    if field.kind != "text":
        return words[f"fault_{field.kind}"]
    name = field.label or field.name
    return fault("" if name == "reference" else name, values[field.name], words)  # any text
