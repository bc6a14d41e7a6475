"""What the API answers about the review of claims, the public notice and the bank's payments."""

from msgspec import UNSET, Struct, UnsetType

from meter.api.responses import AsOf


class DebtView(Struct, frozen=True):
    """What a firm was paid for an item and year beyond the limit."""

    item: str
    year: int
    debt: str


class CeilingView(Struct, frozen=True, kw_only=True):
    """What city and districts may give for a project; empty while its investment is not audited."""

    project: str
    audited: str
    local: str
    claimed: str
    left: str


class UsedPaperView(Struct, frozen=True):
    """A paper that the approved claim of another item binds: it counts for no second one."""

    paper: str
    claim: str


class PayableView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an item and year may be paid with the papers of a claim, and what an order would do.

    `limits` has the limit by each ground that the policy asks for; the smallest is the `limit`, its
    ground is `bound`. `debts` are those that the order of what was, or can be, approved would set
    off before `cash`. Officials alone are told of `used_papers`.
    """

    item: str
    programme: str
    year: int
    seller: str
    buyer: str
    open_until: str
    notice_days: int
    evidence: list[str]
    missing: list[str]
    ratio_bp: int
    granted: str
    forfeited: str
    invoiced: str
    paid_by_firm: str
    limits: dict[str, str]
    bound: str
    limit: str
    claimed: str
    claimed_then: str
    can_be_approved: str
    debt: str
    debt_with_papers: str
    debts: list[DebtView]
    cash: str
    ceiling: CeilingView | UnsetType = UNSET
    used_papers: list[UsedPaperView] | UnsetType = UNSET
    as_of: AsOf


class ClaimStepView(Struct, frozen=True, kw_only=True):
    """What was done with a claim by an entry; officials alone are told by whom."""

    entry: int
    kind: str
    time: str
    person: str
    amount: str
    outcome: str
    reason: str


class ClaimStepsView(Struct, frozen=True, kw_only=True):
    """What was done with a claim, in order."""

    steps: list[ClaimStepView]
    as_of: AsOf


class NoticeView(Struct, frozen=True, kw_only=True):
    """A claim under public notice, by the number of its entry; who claims stands at `url`."""

    entry: int
    programme: str
    title: str
    title_en: str
    year: int
    notice_from: str
    notice_until: str
    url: str


class NoticesView(Struct, frozen=True, kw_only=True):
    """The claims under public notice on a Shanghai date, the one that ends first at the top."""

    on: str
    notices: list[NoticeView]
