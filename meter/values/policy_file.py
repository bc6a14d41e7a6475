"""The text of a policy file: its sections, and what makes one a policy.

A file is TOML. Three keys and a list name the programme, `meter` says what is funded, and each
section holds one rule with its `article` and its `standing`. All sections but `[validity]` may be
left out: what a file does not limit is not limited. docs/policies.md has an example of each.

    programme = "platform"
    version = "2024-12"
    title = "公共服务平台"
    title_en = "Public service platforms"
    responsible = ["市工业和信息化局", "市发展改革委"]
    applicants = ["enterprise", "university", "institute", "other"]
    group = "platform"
    meter = "award"

    [validity]
    from = "2024-12-18"
    until = "2026-12-18"
    article = "supplementary provisions"
    standing = "measures"

    [[class]]
    name = "new"
    title = "新建平台"
    title_en = "New platform"
    ratio = 5000
    cap = "20000000.00"
    article = "(12)"
    standing = "measures"

A text that is no policy is refused (`bad_policy`) with the section's name.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, NoReturn

from msgspec import Meta, Struct, ValidationError

from meter.values.problems import Problem
from meter.values.strict import Date, Fen, Name, Reason, convert_texts
from meter.values.text import check_text, check_texts
from meter.values.units import parse_date, year_of

# The text must fit into one entry of 65,535 bytes, where JSON may write a character as two.
MAX_POLICY_BYTES: Final = 30_000
# The time to read a dotted key grows with the square of its parts: many parts would take seconds.
MAX_POLICY_DOTS: Final = 1_000
# A change of one contract can move money in each of its years; one entry must hold all of it.
MAX_YEARS: Final = 4
MAX_MONTHS: Final = 1_200  # a hundred years, so that a date with months added to it is one

Standing = Literal["measures", "guide", "practice", "judgement"]
Applicant = Literal["enterprise", "university", "institute", "other"]
MeterName = Literal["device-time", "purchase", "award"]
Derivation = Literal["standard", "startup"]
Running = Literal["keep", "take"]
Per = Literal["applicant-year", "project", "applicant"]
RoundingMode = Literal["fen", "yuan-per-step"]
Prorate = Literal["none", "days"]
AllocationMode = Literal["ordered", "proportional"]
Evidence = Literal["invoice", "payment", "delivery"]
InvoiceBase = Literal["gross", "net"]
# What may be bought or rented for. A list of ours: free text would be spelled in many ways.
Use = Literal["training", "inference", "research", "application", "other"]

BasisPoints = Annotated[int, Meta(ge=0, le=10_000)]
ProgrammeName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z")]
ClassName = ProgrammeName
Months = Annotated[int, Meta(ge=0, le=MAX_MONTHS)]

# How msgspec ends a message: with the place of a value or a key, or with the name of a field.
_PLACE: Final = re.compile(r" - at `(?:key` in `|key in )?\$\.(\w+)[^`]*`\Z")
_FIELD: Final = re.compile(r" field `(.*)`\Z")


class Sourced(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every section says of its figures: where they are from, and how firm they are."""

    article: Reason
    standing: Standing


class Validity(Sourced, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """Shanghai dates, half-open."""

    starts: Date
    ends: Date


class ClassSection(Sourced, frozen=True, kw_only=True):
    """A class of funding: a ratio of what it cost, or a fixed sum, or neither; and its cap.

    `when` derives the class from the applicant's founding; else the award names it.
    """

    name: ClassName
    title: Name
    title_en: Name
    ratio: BasisPoints | None = None
    fixed: Fen | None = None
    cap: Fen | None = None
    when: Derivation | None = None


class Transition(Sourced, frozen=True, kw_only=True):
    """What this version does to contracts of earlier ones: with `take`, from `effective` on."""

    running: Running
    effective: Date | None = None


class Cap(Sourced, frozen=True, kw_only=True):
    """The most for one applicant and year, project, or applicant; `once`: one award for each."""

    per: Per
    amount: Fen | None = None
    once: bool = False


class PoolSection(Sourced, frozen=True, kw_only=True):
    """The most of a calendar year for all, or the programme whose pool this one draws on."""

    amount: Fen | None = None
    shared_with: ProgrammeName | None = None


class CombinedSupport(Sourced, frozen=True, kw_only=True):
    """The most of all public money together, in basis points by class."""

    ratio: dict[ClassName, BasisPoints]


class Threshold(Sourced, frozen=True, kw_only=True):
    """What the contracts of a year must reach."""

    amount: Fen


class Startup(Sourced, frozen=True, kw_only=True):
    """Until how many months after its founding an enterprise is a startup."""

    months: Annotated[int, Meta(ge=0, le=120)]


class UseSection(Sourced, frozen=True, kw_only=True):
    """The uses that are funded."""

    eligible: list[Use]


class Lateness(Sourced, frozen=True, kw_only=True):
    """How long after its end a record is taken."""

    days: Annotated[int, Meta(ge=0, le=3_660)]


class Age(Sourced, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    """Months from the founding to the award, half-open."""

    starts: Months
    ends: Months


class Rounding(Sourced, frozen=True, kw_only=True):
    """Where fractions are cut, and whether a purchase counts by the days of its service."""

    mode: RoundingMode = "fen"
    prorate: Prorate = "none"


class Allocation(Sourced, frozen=True, kw_only=True):
    """Who gets what of a pool that is too small."""

    mode: AllocationMode


class ClaimsSection(Sourced, frozen=True, kw_only=True):
    """How long after its year a claim may be made, what it must show, days of public notice."""

    months: Annotated[int, Meta(ge=1, le=60)] = 6
    evidence: tuple[Evidence, ...] = ("invoice", "payment", "delivery")
    invoice_base: InvoiceBase = "gross"
    notice_days: Annotated[int, Meta(ge=0, le=60)] = 7


class EnlistmentSection(Sourced, frozen=True, kw_only=True):
    """Whether a provider must be enlisted for a device kind."""

    required: bool


class PolicyFile(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"classes": "class"}
):
    """A whole file."""

    programme: ProgrammeName
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")]
    title: Name
    title_en: Name
    responsible: Annotated[list[Name], Meta(min_length=1, max_length=8)]
    applicants: Annotated[list[Applicant], Meta(min_length=1)]
    group: ProgrammeName
    meter: MeterName
    validity: Validity
    classes: Annotated[list[ClassSection], Meta(min_length=1, max_length=16)] | None = None
    transition: Transition | None = None
    cap: Cap | None = None
    pool: PoolSection | None = None
    combined_support: CombinedSupport | None = None
    threshold: Threshold | None = None
    startup: Startup | None = None
    use: UseSection | None = None
    lateness: Lateness | None = None
    age: Age | None = None
    rounding: Rounding | None = None
    allocation: Allocation | None = None
    claims: ClaimsSection | None = None
    enlistment: EnlistmentSection | None = None


def read(text: str) -> PolicyFile:
    """Return the sections of a file. Raises `Problem` `bad_policy`, with the `section`."""
    file = _convert(_load(text))
    for check in _CHECKS:
        check(file)
    return file


def refuse(section: str, why: str) -> NoReturn:
    """Raise `Problem` `bad_policy` about a section."""
    raise Problem("bad_policy", f"{section}: {why}", section=section)


def _load(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "replace")) > MAX_POLICY_BYTES:
        raise Problem("bad_policy", f"longer than {MAX_POLICY_BYTES} bytes")
    if text.count(".") > MAX_POLICY_DOTS:
        raise Problem("bad_policy", f"more than {MAX_POLICY_DOTS} dots")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem("bad_policy", f"no TOML: {error}") from None


def _convert(fields: dict[str, Any]) -> PolicyFile:
    for section, value in fields.items():
        try:
            check_text(section)
        except ValueError as error:
            raise Problem("bad_policy", str(error)) from None
        try:
            check_texts(value)
        except (ValueError, RecursionError) as error:
            refuse(section, str(error))
    try:
        return convert_texts(fields, PolicyFile)
    except (ValidationError, RecursionError) as error:
        refuse(_section_of(str(error)), str(error))


def _section_of(message: str) -> str:
    """Return the section that a message of msgspec is about: of its place, or its field."""
    found = _PLACE.search(message) or _FIELD.search(message)
    assert found is not None, "every message about an object names a field or a place"
    return found[1]


def _check_validity(file: PolicyFile) -> None:
    start, end = parse_date(file.validity.starts), parse_date(file.validity.ends)
    if end <= start or year_of(end - 1) - year_of(start) >= MAX_YEARS:
        refuse("validity", f"it must touch 1 to {MAX_YEARS} calendar years")


def _check_lists(file: PolicyFile) -> None:
    for name, items in _lists(file):
        if len(set(items)) != len(items):
            refuse(name, "an item stands there twice")


def _lists(file: PolicyFile) -> Iterator[tuple[str, Sequence[Any]]]:
    yield "responsible", file.responsible
    yield "applicants", file.applicants
    if file.use is not None:
        yield "use", file.use.eligible
    if file.claims is not None:
        yield "claims", file.claims.evidence
    classes = file.classes or []
    yield "class", [each.name for each in classes]
    yield "class", [each.when for each in classes if each.when is not None]


def _check_classes(file: PolicyFile) -> None:
    classes = file.classes or []
    derived = {each.when for each in classes if each.when is not None}
    if len(derived) not in (0, len(classes)):
        refuse("class", "either all classes have a `when`, or none has")
    if derived == {"startup"}:
        refuse("class", "beside that for startups a standard one is needed")
    for each in classes:
        if each.ratio is not None and each.fixed is not None:
            refuse("class", f"{each.name} has a ratio and a fixed sum")
    if ("startup" in derived) != (file.startup is not None):
        refuse("startup", "its months and a class for startups come together")


def _check_metered_classes(file: PolicyFile) -> None:
    """Check the classes of what is metered, where no award names a class or a sum."""
    if file.meter == "award":
        return
    if file.classes is None:
        refuse("class", f"{file.meter} needs a ratio")
    for each in file.classes:
        if each.ratio is None or each.when is None:
            refuse("class", f"{each.name} needs a ratio and a `when`, for {file.meter} is metered")
        if each.cap is not None:
            refuse("class", f"{each.name} has a cap, which only awards know by class")


def _check_transition(file: PolicyFile) -> None:
    transition = file.transition
    if transition is not None and (transition.running == "take") != bool(transition.effective):
        refuse("transition", "`effective` says since when contracts are taken, and nothing else")


def _check_cap(file: PolicyFile) -> None:
    cap = file.cap
    if cap is None:
        if any(each.cap is not None for each in file.classes or []):
            refuse("cap", "the caps of classes need a `per`")
        return
    limits = cap.amount is not None or cap.once or any(each.cap for each in file.classes or [])
    if not limits:
        refuse("cap", "it limits nothing")
    if file.meter != "award" and (cap.per != "applicant-year" or cap.once or cap.amount is None):
        refuse("cap", f"that of {file.meter} is an amount for an applicant and year")


def _check_pool(file: PolicyFile) -> None:
    pool = file.pool
    if pool is None:
        return
    if (pool.amount is None) == (pool.shared_with is None):
        refuse("pool", "it has an amount, or is shared with another programme")
    if pool.shared_with == file.programme:
        refuse("pool", "it is shared with the programme itself")


def _check_combined_support(file: PolicyFile) -> None:
    if file.combined_support is None:
        return
    names = {each.name for each in file.classes or []} or {IMPLIED_CLASS}
    ratio = file.combined_support.ratio
    if ratio.keys() != names:
        refuse("combined_support", f"its ratio needs the classes {', '.join(sorted(names))}")
    # Other money is taken off an award, so two ratios would say two things.
    own = {each.name: each.ratio for each in file.classes or []}
    if file.meter == "award" and ratio != own:
        refuse("combined_support", "for awards it repeats the ratio of each class")


def _check_meaning(file: PolicyFile) -> None:
    """Check that each section means something for what the programme funds."""
    for section in _WITHOUT_MEANING[file.meter]:
        if getattr(file, section) is not None:
            refuse(section, f"it says nothing about {file.meter}")


def _check_rounding(file: PolicyFile) -> None:
    rounding = file.rounding
    if rounding is None or (rounding.mode, rounding.prorate) == ("fen", "none"):
        return
    if file.meter != "purchase":
        refuse("rounding", "only purchases are counted so")
    years = {year_of(parse_date(file.validity.starts)), year_of(parse_date(file.validity.ends) - 1)}
    if rounding.mode == "yuan-per-step" and len(years) > 1:
        refuse("rounding", "by the yuan, the validity lies within one year: one segment")


def _check_age(file: PolicyFile) -> None:
    if file.age is not None and file.age.ends <= file.age.starts:
        refuse("age", "no month lies between `from` and `until`")


# The class of a programme of awards whose file has none.
IMPLIED_CLASS: Final = "standard"
_WITHOUT_MEANING: Final[dict[MeterName, tuple[str, ...]]] = {
    "device-time": ("age",),
    "purchase": ("age", "enlistment"),
    "award": ("threshold", "use", "lateness", "rounding", "allocation", "enlistment"),
}
_CHECKS: Final[tuple[Callable[[PolicyFile], None], ...]] = (
    _check_validity,
    _check_lists,
    _check_meaning,
    _check_classes,
    _check_metered_classes,
    _check_transition,
    _check_cap,
    _check_pool,
    _check_combined_support,
    _check_rounding,
    _check_age,
)
