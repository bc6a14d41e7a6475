"""A policy: one version of one programme's rules, read from a TOML file.

Files lie in `meter/policies/`, named `<programme>-<version>.toml`; every figure stands beside its
article and its standing. An entry of the ledger holds the text of the file, so an auditor
reads the very rules that were applied. Example: `policies/training-coupon-2024-12.toml`.
"""

import re
import tomllib
from importlib.resources import files
from typing import Annotated, Final, Literal, Self

from msgspec import Meta, Struct, ValidationError, convert

from meter.values.problems import Problem
from meter.values.strict import Name, Reason
from meter.values.text import check_texts
from meter.values.units import DAY_SECONDS, parse_date, parse_money, year_of

# The text must fit into one entry of 65,535 bytes, where JSON may write a character as two.
MAX_POLICY_BYTES = 30_000
# The time to read a dotted key grows with the square of its parts: many parts would take seconds.
MAX_POLICY_DOTS = 1_000
# A change of one contract can move money in each of its years; one entry must hold all of it.
MAX_YEARS = 4

Standing = Literal["measures", "guide", "practice", "judgement"]
BasisPoints = Annotated[int, Meta(ge=0, le=10_000)]
RatioClass = Literal["standard", "startup"]


_SHIPPED: Final = files("meter").joinpath("policies")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Sourced(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    article: Reason
    standing: Standing


class _Validity(_Sourced, frozen=True, kw_only=True, rename={"starts": "from", "ends": "until"}):
    starts: str
    ends: str


class _Ratio(_Sourced, frozen=True, kw_only=True):
    standard: BasisPoints
    startup: BasisPoints


class _Amount(_Sourced, frozen=True, kw_only=True):
    amount: str


class _Startup(_Sourced, frozen=True, kw_only=True):
    months: Annotated[int, Meta(ge=0, le=120)]


class _Use(_Sourced, frozen=True, kw_only=True):
    eligible: list[str]


class _Lateness(_Sourced, frozen=True, kw_only=True):
    days: Annotated[int, Meta(ge=0, le=3_660)]


class _File(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    programme: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}\Z")]
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")]
    title: Name
    validity: _Validity
    ratio: _Ratio
    combined_support: _Ratio
    cap: _Amount
    pool: _Amount
    threshold: _Amount
    startup: _Startup
    use: _Use
    lateness: _Lateness


class Policy(Struct, frozen=True, kw_only=True):
    """The rules in the units of the core: fen, basis points, instants.

    Validity is the half-open interval `[valid_from, valid_until)`.
    """

    programme: str
    version: str
    title: str
    valid_from: int
    valid_until: int
    ratio_bp: dict[RatioClass, int]
    combined_bp: dict[RatioClass, int]
    cap: int
    pool: int
    threshold: int
    startup_months: int
    eligible_uses: frozenset[str]
    lateness_seconds: int

    @property
    def years(self) -> range:
        """The calendar years that the validity touches; each has a pool of its own."""
        return range(year_of(self.valid_from), year_of(self.valid_until - 1) + 1)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the policy of a file's text. Raises `Problem` `bad_policy`."""
        if len(text.encode("utf-8", "replace")) > MAX_POLICY_BYTES:
            raise Problem("bad_policy", f"longer than {MAX_POLICY_BYTES} bytes")
        if text.count(".") > MAX_POLICY_DOTS:
            raise Problem("bad_policy", f"more than {MAX_POLICY_DOTS} dots")
        try:
            fields = tomllib.loads(text)
            check_texts(fields)
            policy = cls._from_file(convert(fields, _File))
        except (ValidationError, ValueError, RecursionError) as error:
            raise Problem("bad_policy", str(error)) from None
        if policy.valid_until <= policy.valid_from or len(policy.years) > MAX_YEARS:
            raise Problem("bad_policy", f"the validity must touch 1 to {MAX_YEARS} years")
        return policy

    @classmethod
    def _from_file(cls, file: _File) -> Self:
        return cls(
            programme=file.programme,
            version=file.version,
            title=file.title,
            valid_from=parse_date(file.validity.starts),
            valid_until=parse_date(file.validity.ends),
            ratio_bp={"standard": file.ratio.standard, "startup": file.ratio.startup},
            combined_bp={
                "standard": file.combined_support.standard,
                "startup": file.combined_support.startup,
            },
            cap=parse_money(file.cap.amount),
            pool=parse_money(file.pool.amount),
            threshold=parse_money(file.threshold.amount),
            startup_months=file.startup.months,
            eligible_uses=frozenset(file.use.eligible),
            lateness_seconds=file.lateness.days * DAY_SECONDS,
        )


def shipped_text(programme: str, version: str) -> str:
    """Return the text of a policy file that comes with Kashi. Raises `Problem` `unknown_policy`."""
    name = f"{programme}-{version}.toml"
    file = _SHIPPED.joinpath(name)
    if not _FILE_NAME.fullmatch(name) or not file.is_file():
        raise Problem("unknown_policy", f"no policy file {name} comes with Kashi")
    return file.read_text(encoding="utf-8")
