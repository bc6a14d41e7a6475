"""Amendments of enterprises and providers: for what is registered later."""

import pytest

from meter.values.problems import Problem
from tests.books import ALPHA, BETA, lifted, opened
from tests.services import enterprise_body, provider_body, serving
from tests.summing import checked


def refused(code: str, ask, *arguments, **changes) -> None:
    with pytest.raises(Problem) as caught:
        ask(*arguments, **changes)
    assert caught.value.code == code


def test_another_founding_decides_the_class_of_later_contracts():
    books = opened(lifted())
    books.enterprise(BETA, founded_on="2020-01-01")
    books.contract("A", enterprise=BETA, signed_on="2025-02-01")
    books.amend_enterprise(BETA, founded_on="2024-06-01")
    books.contract("B", enterprise=BETA, signed_on="2025-02-01")
    classes = [books.state.contracts[name].agreed.ratio_class for name in "AB"]
    assert classes == ["standard", "startup"]
    # A correction derives the class again, as if the contract had been registered so.
    books.correct("A", amount="900000.00")
    assert books.state.contracts["A"].agreed.ratio_class == "startup"
    refused("bad_dates", books.contract, "C", enterprise=BETA, signed_on="2024-05-31")
    checked(books)


def test_another_kind_decides_who_may_apply():
    books = opened(lifted())
    books.enterprise(BETA, applicant="other")
    refused("not_applicant", books.contract, "A", enterprise=BETA)
    books.amend_enterprise(BETA, applicant="university")
    books.contract("A", enterprise=BETA)
    books.amend_enterprise(BETA, applicant="other")
    refused("not_applicant", books.contract, "B", enterprise=BETA)
    checked(books)


def test_an_enterprise_can_be_registered_again_as_it_was_first():
    books = opened(lifted())
    books.amend_enterprise(name="另一名")
    books.amend_provider("另一名")
    assert books.enterprise() == 4
    assert books.provider() == 2
    assert books.state.enterprises[ALPHA].facts.name == "另一名"


def test_amendments_that_nobody_can_mean_are_refused():
    books = opened(lifted())
    refused("malformed", books.amend_enterprise)
    refused("bad_dates", books.amend_enterprise, founded_on="2025-03-02")
    refused("unknown_enterprise", books.amend_enterprise, BETA, name="x")
    refused("unknown_provider", books.amend_provider, "x", "nobody")


async def test_queries_tell_the_newest_name(database, tmp_path):
    renamed = {"name": "另一名", "document": "通知书", "reason": "another name"}
    async with serving(database, tmp_path) as service:
        await service.ask("/v1/enterprises", **enterprise_body(ALPHA))
        await service.ask("/v1/providers", **provider_body())
        await service.ask(f"/v1/enterprises/{ALPHA}/amend", **renamed, applicant="university")
        await service.ask("/v1/providers/pcl/amend", **renamed)
        [enterprise] = (await service.get("/v1/enterprises")).json["enterprises"]
        assert (enterprise["name"], enterprise["kind"]) == ("另一名", "university")
        [provider] = (await service.get("/v1/providers")).json["providers"]
        assert provider["name"] == "另一名"
