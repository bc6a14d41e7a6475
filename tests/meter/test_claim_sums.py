"""Pages of claims show the API's money, whatever papers a firm has and what is done with them."""

import random
from decimal import Decimal

import pytest

from meter.console.formats import money
from tests.books import ALPHA
from tests.meter.test_claim_pages import NEW, fields_of, filled
from tests.meter.test_claims_http import service  # noqa: F401
from tests.meter.test_console_pages import Elements
from tests.meter.test_enterprise_pages import money_in, shown, sums
from tests.papers import DIGEST
from tests.people import sign_in

DRAFT = f"/v1/enterprises/{ALPHA}/payable?item=A&year=2025"


def yuan(draw, most=400_000_00):
    fen = draw.randint(1, most)
    return f"{fen // 100}.{fen % 100:02}"


def draw_papers(draw, base):
    """Return a form with one to four papers of each kind, and the API's question for them."""
    form, asked = filled(base), []
    for kind in ("invoice", "payment"):
        columns = {name: form.pop(f"{kind}-0-{name}") for name in _columns(form, kind)}
        named = []
        for row in range(draw.randint(1, 4)):
            own = columns | {"part": yuan(draw)}
            own["amount"] = own["part"]
            name = "number" if kind == "invoice" else "reference"
            own[name] = f"{draw.randint(10**19, 10**20 - 1)}" if kind == "invoice" else f"P-{row}"
            form |= {f"{kind}-{row}-{column}": value for column, value in own.items()}
            paper = own[name] if kind == "invoice" else f"{own['bank']}:{own[name]}"
            named.append(f"{paper}:{own['part']}")
        asked.append(f"{kind}s={','.join(named)}")
    return form, "&".join([DRAFT, *asked, f"delivery={DIGEST}"])


def _columns(form, kind):
    return [name.removeprefix(f"{kind}-0-") for name in form if name.startswith(f"{kind}-0-")]


async def check(service, visitor, path, asked):  # noqa: F811
    """Check that a page has no sum but those of some answers of the API; return how many."""
    _, found = await shown(service, visitor, path)
    answered = set().union(*[sums((await service.get(each)).json) for each in asked])
    assert money_in(found) <= answered, (path, money_in(found) - answered)
    return len(money_in(found))


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_sums_of_a_claim_s_pages_are_the_api_s(service, seed):  # noqa: F811
    draw, firm = random.Random(seed), await sign_in(service, "enterprise", ALPHA)
    base = fields_of(await service.get(f"{NEW}?item=A&year=2025", **firm.headers))
    form, asked = draw_papers(draw, base)
    draft = await firm.send(service, NEW, **form, step="recalculate")
    payable = (await service.get(asked)).json
    found = Elements(draft.body.decode())
    assert money_in(found) <= sums(payable) | {"¥0.00"}
    assert {money(each) for each in payable["limits"].values()} <= money_in(found)
    confirmed = fields_of(await firm.send(service, NEW, **form, step="continue"))
    assert (await firm.send(service, NEW, **confirmed | {"step": "submit"})).status == 303
    visitors = [firm, await sign_in(service, "authority")]
    await check_pages(service, visitors)
    await service.ask("/v1/claims/C1/check")
    most = int(Decimal(payable["can_be_approved"]) * 100)
    await service.ask("/v1/claims/C1/approve", amount=yuan(draw, most))
    await check_pages(service, visitors)


async def check_pages(service, visitors):  # noqa: F811
    """Check a claim and the lists that it is in, for the firm and for an official."""
    one = [f"/v1/claims/C1{each}" for each in ("", "/payable", "/steps")]
    lists = {
        f"/en/enterprises/{ALPHA}/claims": [
            *(f"/v1/enterprises/{ALPHA}/{each}" for each in ("claims", "accounts", "contracts"))
        ],
        "/en/claims": ["/v1/claims"],
    }
    for visitor, path in zip(visitors, lists, strict=True):
        assert await check(service, visitor, "/en/claims/C1", one) > 3
        assert await check(service, visitor, path, lists[path]) > 0
