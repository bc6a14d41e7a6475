"""An item: what is granted, claimed and paid; and the grounds on which its claims rest."""

from msgspec import UNSET, Struct, UnsetType

from meter.rules.claim_book import Account, Claim, Counted, ItemYear
from meter.rules.kinds.kind import known_contract
from meter.rules.payable import Grounds, debt
from meter.rules.rating import FULL_BP
from meter.rules.state import Award, Contract, State
from meter.values.policy import ClaimRules, Policy
from meter.values.problems import Problem


class Item(Struct, frozen=True):
    """A contract or an award as claims see it: whose it is, its rules, its highest ratio by year.

    `seller` is None for an award, which any seller's invoice may show. `project` is what it is for.
    `ratio_bp` is that of any year which `ratios` does not have.
    """

    name: str
    entry: int
    programme: str
    enterprise: str
    seller: str | None
    project: str | UnsetType
    policy: Policy
    claims: ClaimRules
    years: frozenset[int]
    ratios: dict[int, int]
    ratio_bp: int


def known_item(state: State, name: str) -> Item:
    """Return an item. Raises `Problem` `unknown_contract`, `no_claims`."""
    award = state.awards.get(name)
    return (
        contract_item(state, known_contract(state, name))
        if award is None
        else award_item(state, award)
    )


def item_enterprise(state: State, name: str) -> str:
    """Return the enterprise of an item. Raises `Problem` `unknown_contract`."""
    award = state.awards.get(name)
    return known_contract(state, name).agreed.enterprise if award is None else award.made.enterprise


def item_programme(state: State, name: str) -> str:
    """Return the programme of an item. Raises `Problem` `unknown_contract`."""
    award = state.awards.get(name)
    return known_contract(state, name).agreed.programme if award is None else award.made.programme


def contract_item(state: State, contract: Contract) -> Item:
    """Return a contract as an item. Raises `Problem` `no_claims`."""
    terms = contract.agreed
    return Item(
        name=terms.id,
        entry=contract.entry,
        programme=terms.programme,
        enterprise=terms.enterprise,
        seller=state.providers[terms.provider].registered.uscc,
        project=terms.project,
        policy=contract.policy,
        claims=_claim_rules(contract.policy),
        years=frozenset(contract.years),
        ratios={year: contract.ratio_of(year) for year in contract.years},
        ratio_bp=contract.policy.ratio_bp[terms.ratio_class],
    )


def award_item(state: State, award: Award) -> Item:
    """Return an award as an item. Raises `Problem` `no_claims`."""
    made = award.made
    policy = state.policies[made.programme][made.policy]
    ratio_bp = policy.classes[made.class_name].ratio_bp
    return Item(
        name=made.id,
        entry=award.entry,
        programme=made.programme,
        enterprise=made.enterprise,
        seller=None,
        project=made.project,
        policy=policy,
        claims=_claim_rules(policy),
        years=frozenset([made.year]),
        ratios={},
        ratio_bp=FULL_BP if ratio_bp is None else ratio_bp,
    )


def _claim_rules(policy: Policy) -> ClaimRules:
    if policy.claims is None:
        detail = f"{policy.version} of {policy.programme} has no section [claims]"
        raise Problem("no_claims", detail)
    return policy.claims


def check_year(item: Item, year: int) -> None:
    """Raise `Problem` `unknown_year` for a year in which nothing can be granted to the item."""
    if year not in item.years:
        raise Problem("unknown_year", f"policy {item.policy.version} does not touch {year}")


def granted(state: State, item_year: ItemYear) -> int:
    """Return what an item is granted in a year, in fen."""
    name, year = item_year
    award = state.awards.get(name)
    if award is not None:
        return award.amount if award.made.year == year else 0
    share = state.contracts[name].shares.get(year)
    return share.granted if share else 0


def grounds_of(state: State, item: Item, year: int, also: Claim | None = None) -> Grounds:
    """Return the grounds of an item's payments; `also` is a claim whose papers count as well."""
    item_year = item.name, year
    account, counted = state.claims.account(item_year), state.claims.counted(item_year, also=also)
    return make_grounds(item, year, granted(state, item_year), account, counted)


def make_grounds(
    item: Item, year: int, granted_fen: int, account: Account, counted: Counted
) -> Grounds:
    """Return the grounds of payments from a grant, an account and the papers that count."""
    asked = item.claims.evidence
    return Grounds(
        granted=granted_fen,
        forfeited=account.forfeited,
        ratio_bp=item.ratios.get(year, item.ratio_bp),
        invoiced=counted.invoiced if "invoice" in asked else UNSET,
        paid=counted.paid if "payment" in asked else UNSET,
    )


def debt_of(state: State, item: Item, year: int) -> int:
    """Return what a firm was paid for an item and year beyond the limit, in fen."""
    paid = state.claims.account((item.name, year)).paid
    return debt(paid, grounds_of(state, item, year).limit)


def accounts_of_firm(state: State, enterprise: str, programme: str) -> list[tuple[int, Item]]:
    """Return year and item of the accounts of an enterprise's firm: by year, then item."""
    contracts = state.contracts_of_firm(enterprise, programme)
    awards = (each for code in state.firm_of(enterprise) for each in state.enterprises[code].awards)
    names = [each.registered.id for each in contracts]
    names += [each.made.id for each in awards if each.made.programme == programme]
    found = [
        (year, known_item(state, name)) for name in names for year in state.claims.years_of(name)
    ]
    return sorted(found, key=lambda each: (each[0], each[1].entry))
