"""What a claim may be paid, before it is entered and in its review; and what was done with it."""

from tests.books import ALPHA, DEVICE
from tests.meter.test_claims_http import PAPERS, TODAY, account, firm, service  # noqa: F401
from tests.services import contract_body

NOTICE_URL = "https://city.test/notices/1"


async def test_the_draft_counts_what_an_approval_would(service):  # noqa: F811
    """The figures before, of a claim under review, and of the approval's own entry are one."""
    parts = {"invoices": "1:700000.33", "payments": "b:1:650000.10"}
    query = "&".join(f"{name}={value}" for name, value in parts.items())
    path = f"/v1/enterprises/{ALPHA}/payable?item=A&year=2025"
    draft = (await service.get(f"{path}&{query}")).json
    assert draft["limits"] == {
        "granted": "500000.00",
        "invoiced": "350000.16",
        "paid": "325000.05",
    }
    assert (draft["limit"], draft["bound"]) == ("325000.05", "paid")
    assert (draft["can_be_approved"], draft["missing"]) == ("325000.05", ["delivery"])
    less = (await service.get(f"{path}&{query}&amount=0.01")).json
    assert (less["can_be_approved"], less["limit"]) == ("0.01", "325000.05")
    papers = {
        "invoices": [PAPERS["invoices"][0] | {"part": "700000.33"}],
        "payments": [PAPERS["payments"][0] | {"part": "650000.10"}],
    }
    await service.ask("/v1/claims", id="C1", item="A", year=2025, **PAPERS | papers)
    await service.ask("/v1/claims/C1/check")
    review = (await service.get("/v1/claims/C1/payable")).json
    same = ("limits", "limit", "bound", "claimed", "can_be_approved", "invoiced", "paid_by_firm")
    assert [review[name] for name in same] == [draft[name] for name in same]
    number = PAPERS["invoices"][0]["number"]
    off = (await service.get(f"/v1/claims/C1/payable?disallowed={number}:100000.33")).json
    assert (off["limit"], off["bound"]) == ("300000.00", "invoiced")
    for wrong in (f"{number}:700000.34", "x:1.00", f"{number}:0.00", number, f"{number}:1"):
        answer = await service.get(f"/v1/claims/C1/payable?disallowed={wrong}")
        assert (answer.status, answer.code) == (400, "malformed"), wrong
    given = {"amount": "300000.00", "disallowed": [[number, "100000.33"]]}
    approved = await service.ask("/v1/claims/C1/approve", **given)
    assert (approved["limit"], approved["bound"]) == (off["limit"], off["bound"])
    after = (await service.get("/v1/claims/C1/payable")).json
    assert [after[name] for name in ("claimed", "can_be_approved", "cash")] == [
        "300000.00",
        "0.00",
        "300000.00",
    ]


async def test_debts_are_shown_before_an_order_as_the_order_sets_them_off(service):  # noqa: F811
    first = {"id": "C1", "item": "A", "year": 2025, "amount": "100000.00", **PAPERS}
    await service.ask("/v1/claims", **first)
    await service.ask("/v1/claims/C1/check")
    await service.ask("/v1/claims/C1/approve", amount="100000.00")
    await service.ask("/v1/claims/C1/notice", starts=TODAY, ends="2025-05-27", url=NOTICE_URL)
    service.clock.advance(8 * 86_400)
    await service.ask("/v1/claims/C1/order")
    await service.ask("/v1/claims/C1/payment", bank_reference="b-1", paid_on=TODAY)
    await service.ask("/v1/claims/C1/payment-return", returned_on=TODAY, reason="closed")
    await service.ask("/v1/claims/C1/payment", bank_reference="b-2", paid_on=TODAY)
    claim = (await service.get("/v1/claims/C1")).json
    assert claim["booked"] == [
        {"bank_reference": reference, "paid_on": TODAY} for reference in ("b-1", "b-2")
    ]
    await service.ask("/v1/items/A/forfeits", year=2025, amount="460000.00", reason="a breach")
    assert (await account(service))["debt"] == "60000.00"
    award = await service.get(f"/v1/enterprises/{ALPHA}/payable?item=A&year=2025")
    assert award.json["debts"] == [{"item": "A", "year": 2025, "debt": "60000.00"}]
    assert (award.json["debt"], award.json["cash"]) == ("60000.00", "0.00")
    steps = (await service.get("/v1/claims/C1/steps")).json["steps"]
    assert claim["newest"] == steps[-1]["entry"]
    assert [(each["kind"], each["amount"]) for each in steps] == [
        ("claim", "100000.00"),
        ("claim_check", ""),
        ("approval", "100000.00"),
        ("notice", ""),
        ("order", "100000.00"),
        ("payment", ""),
        ("payment_return", "100000.00"),
        ("payment", ""),
    ]
    ours = await firm(service)
    own = (await service.get("/v1/claims/C1/steps", **ours)).json["steps"]
    assert own == [each | {"person": ""} for each in steps]
    assert {each["person"] for each in steps} == {"authority"}


async def test_a_paper_that_another_item_s_claim_binds_is_told_to_officials_alone(service):  # noqa: F811
    body = contract_body("B", prices={DEVICE: "1.00"})
    await service.ask("/v1/contracts", **body)
    await service.ask("/v1/claims", id="C1", item="A", year=2025, **PAPERS)
    await service.ask("/v1/claims/C1/check")
    await service.ask("/v1/claims/C1/approve", amount="1.00")
    await service.ask("/v1/claims", id="C2", item="B", year=2025, **PAPERS)
    number = PAPERS["invoices"][0]["number"]
    told = (await service.get("/v1/claims/C2/payable")).json["used_papers"]
    assert told == [
        {"paper": number, "claim": "C1"},
        {"paper": "102584000002:P-1", "claim": "C1"},
    ]
    assert (
        "used_papers"
        not in (await service.get("/v1/claims/C2/payable", **await firm(service))).json
    )
    assert (await service.get("/v1/claims/C1/payable")).json.get("used_papers", []) == []


async def test_a_project_s_ceiling_is_told_with_what_is_left_of_it(service):  # noqa: F811
    await service.fund_awards()
    await service.award("W", "1000000.00", "P")
    path = f"/v1/enterprises/{ALPHA}/payable?item=W&year=2025"
    assert "ceiling" not in (await service.get(path)).json
    national = {"reference": "1号", "level": "national", "amount": "1.00", "document": "通知"}
    await service.ask("/v1/projects/P/funds", **national)
    unknown = (await service.get(path)).json["ceiling"]
    assert (unknown["project"], unknown["left"]) == ("P", "")
    await service.ask("/v1/projects/P/audit", amount="400000.50", document="报告")
    known = (await service.get(path)).json["ceiling"]
    assert known == {
        "project": "P",
        "audited": "400000.50",
        "local": "0.50",
        "claimed": "0.00",
        "left": "400000.00",
    }
