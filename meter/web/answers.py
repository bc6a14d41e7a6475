"""The JSON of good answers, one struct each. Money is yuan text, instants carry an offset."""

import msgspec
from msgspec import Struct


class AsOf(Struct, frozen=True):
    """How many entries an answer includes, and the instant of the last of them."""

    entries: int
    time: str


class Share(Struct, frozen=True, kw_only=True):
    """What one contract has in one year."""

    entitled: str
    granted: str
    uncovered: str
    withheld: str


class ContractShare(Share, frozen=True, kw_only=True):
    """A contract's share of a coupon."""

    contract: str


class YearShare(Share, frozen=True, kw_only=True):
    """A contract's share of one year's coupon."""

    year: int


class Balance(Struct, frozen=True, kw_only=True):
    """A coupon: issued = granted + remaining; entitled = granted + uncovered."""

    enterprise: str
    programme: str
    year: int
    issued: str
    granted: str
    remaining: str
    entitled: str
    uncovered: str
    withheld: str
    cap: str
    contracts: list[ContractShare]
    as_of: AsOf


class ContractView(
    Struct,
    frozen=True,
    kw_only=True,
    rename={"starts": "from", "ends": "until", "ratio_class": "class"},
):
    """A contract's terms, and what was metered and granted under it."""

    id: str
    entry: int
    programme: str
    policy: str
    enterprise: str
    provider: str
    ratio_class: str
    amount: str
    signed_on: str
    starts: str
    ends: str
    use: str
    prices: dict[str, str]
    max_devices: dict[str, int]
    related_party: bool
    other_public_funds: str
    frozen: bool
    cost: str
    withheld: str
    years: list[YearShare]
    as_of: AsOf


class EntryView(Struct, frozen=True):
    """One entry: its canonical bytes, embedded as they are, and their leaf hash in hex."""

    number: int
    leaf_hash: str
    entry: msgspec.Raw


class EntryPage(Struct, frozen=True):
    """Entries in order; `next` is the `after` of the next page."""

    entries: list[EntryView]
    next: int
    as_of: AsOf


class Status(Struct, frozen=True):
    """The service's own state."""

    status: str


class CommandAnswer(
    Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"ratio_class": "class"}
):
    """The entry that a command made, and what follows from it."""

    entry: int
    policy: str = ""
    ratio_class: str = ""
    issued: str = ""
    cost: str = ""
    entitled: str = ""
