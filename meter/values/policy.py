"""A policy: one version of one programme's rules, in the units of the core.

`values/policy_file.py` reads the text; files lie in `meter/policies/`, named
`<programme>-<version>.toml`. An entry of the ledger holds the text of the file, so an auditor reads
the very rules that were applied.
"""

import re
from importlib.resources import files
from typing import Final, Self, get_args

from msgspec import Struct

from meter.values import policy_file
from meter.values.policy_file import (
    IMPLIED_CLASS,
    AllocationMode,
    Applicant,
    ClassSection,
    Derivation,
    Evidence,
    InvoiceBase,
    MeterName,
    Per,
    PolicyFile,
    Prorate,
    RoundingMode,
    Running,
    Use,
)
from meter.values.problems import Problem
from meter.values.units import DAY_SECONDS, parse_date, year_of

USES: Final[frozenset[Use]] = frozenset(get_args(Use))
NO_LATENESS_SECONDS: Final = 10_000 * 366 * DAY_SECONDS  # longer than time is counted here

_SHIPPED: Final = files("meter").joinpath("policies")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class FundingClass(Struct, frozen=True, kw_only=True):
    """A class: basis points of what it cost, or a fixed sum, or neither; and its cap in fen."""

    name: str
    title: str
    title_en: str
    ratio_bp: int | None
    fixed: int | None
    cap: int | None
    when: Derivation | None


class ClaimRules(Struct, frozen=True, kw_only=True):
    """How long after its year a claim may be made, what it must show, days of public notice."""

    months: int
    evidence: frozenset[Evidence]
    invoice_base: InvoiceBase
    notice_days: int


class Policy(Struct, frozen=True, kw_only=True):
    """The rules in fen, basis points, instants and months; None where a file sets no limit.

    Validity is the half-open interval `[valid_from, valid_until)`. `pool_owner` is the programme
    whose accounts hold the pool: this one, unless it shares another's. `takes_from` is the instant
    from which this version holds for contracts of earlier ones.
    """

    programme: str
    version: str
    title: str
    title_en: str
    responsible: tuple[str, ...]
    applicants: frozenset[Applicant]
    group: str
    meter: MeterName
    valid_from: int
    valid_until: int
    classes: dict[str, FundingClass]
    running: Running
    takes_from: int | None
    cap: int | None
    cap_per: Per
    once: bool
    pool: int | None
    pool_owner: str
    combined_bp: dict[str, int]
    threshold: int
    startup_months: int
    eligible_uses: frozenset[Use]
    lateness_seconds: int
    age_months: tuple[int, int] | None
    rounding: RoundingMode
    prorate: Prorate
    allocation: AllocationMode
    claims: ClaimRules | None
    enlistment_required: bool

    @property
    def years(self) -> range:
        """The calendar years that the validity touches; each has a pool of its own."""
        return range(year_of(self.valid_from), year_of(self.valid_until - 1) + 1)

    @property
    def ratio_bp(self) -> dict[str, int]:
        """The basis points of the classes that have some, by name."""
        return {
            name: each.ratio_bp for name, each in self.classes.items() if each.ratio_bp is not None
        }

    def derived_class(self, derivation: Derivation) -> str | None:
        """Return the class of a startup or another applicant; None where an award names it."""
        names = {each.when: name for name, each in self.classes.items() if each.when is not None}
        return names.get(derivation, names.get("standard"))

    def support_bp(self, class_name: str) -> int:
        """Return the basis points that limit a contract: of all public money, else its ratio."""
        return self.combined_bp.get(class_name, self.ratio_bp[class_name])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the policy of a file's text. Raises `Problem` `bad_policy`."""
        return cls._from_file(policy_file.read(text))

    @classmethod
    def _from_file(cls, file: PolicyFile) -> Self:
        pool, claims, cap, age = file.pool, file.claims, file.cap, file.age
        shared_with = None if pool is None else pool.shared_with
        effective = None if file.transition is None else file.transition.effective
        combined = {} if file.combined_support is None else file.combined_support.ratio
        return cls(
            programme=file.programme,
            version=file.version,
            title=file.title,
            title_en=file.title_en,
            responsible=tuple(file.responsible),
            applicants=frozenset(file.applicants),
            group=file.group,
            meter=file.meter,
            valid_from=parse_date(file.validity.starts),
            valid_until=parse_date(file.validity.ends),
            classes=_classes(file),
            running="keep" if file.transition is None else file.transition.running,
            takes_from=None if effective is None else parse_date(effective),
            cap=None if cap is None else _fen(cap.amount),
            cap_per="applicant-year" if cap is None else cap.per,
            once=cap is not None and cap.once,
            pool=None if pool is None else _fen(pool.amount),
            pool_owner=shared_with or file.programme,
            combined_bp=dict(combined),
            threshold=0 if file.threshold is None else int(file.threshold.amount),
            startup_months=0 if file.startup is None else file.startup.months,
            eligible_uses=USES if file.use is None else frozenset(file.use.eligible),
            lateness_seconds=(
                NO_LATENESS_SECONDS if file.lateness is None else file.lateness.days * DAY_SECONDS
            ),
            age_months=None if age is None else (age.starts, age.ends),
            rounding="fen" if file.rounding is None else file.rounding.mode,
            prorate="none" if file.rounding is None else file.rounding.prorate,
            allocation="ordered" if file.allocation is None else file.allocation.mode,
            claims=(
                None
                if claims is None
                else ClaimRules(
                    months=claims.months,
                    evidence=frozenset(claims.evidence),
                    invoice_base=claims.invoice_base,
                    notice_days=claims.notice_days,
                )
            ),
            enlistment_required=file.enlistment is not None and file.enlistment.required,
        )


def _classes(file: PolicyFile) -> dict[str, FundingClass]:
    if file.classes is None:
        return {IMPLIED_CLASS: _implied_class(file)}
    return {each.name: _funding_class(each) for each in file.classes}


def _funding_class(section: ClassSection) -> FundingClass:
    return FundingClass(
        name=section.name,
        title=section.title,
        title_en=section.title_en,
        ratio_bp=section.ratio,
        fixed=_fen(section.fixed),
        cap=_fen(section.cap),
        when=section.when,
    )


def _implied_class(file: PolicyFile) -> FundingClass:
    """Return the one class of awards that only the caps of the programme limit."""
    return FundingClass(
        name=IMPLIED_CLASS,
        title=file.title,
        title_en=file.title_en,
        ratio_bp=None,
        fixed=None,
        cap=None,
        when="standard",
    )


def _fen(amount: int | None) -> int | None:
    return None if amount is None else int(amount)


def shipped_text(programme: str, version: str) -> str:
    """Return the text of a policy file that comes with Kashi. Raises `Problem` `unknown_policy`."""
    name = f"{programme}-{version}.toml"
    file = _SHIPPED.joinpath(name)
    if not _FILE_NAME.fullmatch(name) or not file.is_file():
        raise Problem("unknown_policy", f"no policy file {name} comes with Kashi")
    return file.read_text(encoding="utf-8")
