"""An item: what is granted, claimed and paid; and the grounds on which its claims rest."""

from msgspec import UNSET, Struct

from meter.rules.claim_book import Account, Claim, Counted, ItemYear
from meter.rules.kinds.kind import known_contract
from meter.rules.payable import Grounds, debt
from meter.rules.state import Contract, State
from meter.values.policy import ClaimRules, Policy
from meter.values.problems import Problem


class Item(Struct, frozen=True):
    """A contract as claims see it: whose it is, its rules, and its highest ratio of each year."""

    name: str
    entry: int
    programme: str
    enterprise: str
    seller: str
    policy: Policy
    claims: ClaimRules
    years: frozenset[int]
    ratios: dict[int, int]


def known_item(state: State, name: str) -> Item:
    """Return an item. Raises `Problem` `unknown_contract`, `no_claims`."""
    return item_of(state, known_contract(state, name))


def item_of(state: State, contract: Contract) -> Item:
    """Return a contract as an item. Raises `Problem` `no_claims`."""
    terms, claims = contract.agreed, contract.policy.claims
    if claims is None:
        raise Problem("no_claims", f"{terms.policy} of {terms.programme} has no section [claims]")
    return Item(
        name=terms.id,
        entry=contract.entry,
        programme=terms.programme,
        enterprise=terms.enterprise,
        seller=state.providers[terms.provider].registered.uscc,
        policy=contract.policy,
        claims=claims,
        years=frozenset(contract.years),
        ratios={year: contract.ratio_of(year) for year in contract.years},
    )


def check_year(item: Item, year: int) -> None:
    """Raise `Problem` `unknown_year` for a year in which nothing can be granted to the item."""
    if year not in item.years:
        raise Problem("unknown_year", f"policy {item.policy.version} does not touch {year}")


def granted(state: State, item_year: ItemYear) -> int:
    """Return what an item is granted in a year, in fen."""
    name, year = item_year
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
        ratio_bp=item.ratios[year],
        invoiced=counted.invoiced if "invoice" in asked else UNSET,
        paid=counted.paid if "payment" in asked else UNSET,
    )


def debt_of(state: State, item: Item, year: int) -> int:
    """Return what a firm was paid for an item and year beyond the limit, in fen."""
    paid = state.claims.account((item.name, year)).paid
    return debt(paid, grounds_of(state, item, year).limit)


def accounts_of_firm(state: State, enterprise: str, programme: str) -> list[tuple[int, Item]]:
    """Return year and item of the accounts of an enterprise's firm: by year, then item."""
    found = [
        (year, item_of(state, contract))
        for contract in state.contracts_of_firm(enterprise, programme)
        for year in contract.years
        if (contract.registered.id, year) in state.claims.accounts
    ]
    return sorted(found, key=lambda each: (each[0], each[1].entry))
