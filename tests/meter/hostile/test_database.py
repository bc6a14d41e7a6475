"""A hostile administrator of the database: which changed rows are found, and which are not."""

from pathlib import Path
from typing import Any

import pytest

from meter.auditor.verdict import verify_source
from meter.host.data_folder import DATABASE_VARIABLE, DataFolder
from meter.service.admin import export_to
from tests.books import record
from tests.services import HOUR, Answer, Service, ask, coupon_body, serving


async def with_one_record(database: str, folder: Path) -> None:
    async with serving(database, folder) as service:
        await service.open_books(issued="1000.00")
        await service.usage([record("r1", "A", *HOUR, 64_000)])


async def verified(database: str, folder: Path) -> list[Any]:
    """Export the ledger and verify it; returns codes and entries of its faults."""
    data = DataFolder(folder / "kashi")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, database)
        await export_to(data, folder / "out")
    vkey = data.log_vkey.read_text().strip()
    verdict = verify_source(str(folder / "out"), vkey, [], None, lambda _done, _total: None)
    return [(problem.code, problem.entry) for problem in verdict.findings]


async def more_usage(service: Service, id_: str = "r2") -> Answer:
    return await service.usage([record(id_, "A", *HOUR, 64_000)], seq=2)


async def more_money(service: Service) -> Answer:
    return await service.post("/v1/coupons", coupon_body(2025, "500000.00"), key="more")


@pytest.mark.parametrize(
    ("change", "then", "found"),
    [
        ("UPDATE meter.contract_year SET granted = 0", more_usage, ("wrong_receipt", 9)),
        ("UPDATE meter.coupon SET issued = 0", more_money, ("not_allowed", 9)),
        ("DELETE FROM meter.record", lambda s: more_usage(s, "r1"), ("wrong_receipt", 9)),
        ("UPDATE meter.batch SET envelope = 'x'", more_usage, ("wrong_envelope", 7)),
        ("DELETE FROM meter.batch", more_usage, ("missing_attachment", 7)),
    ],
)
async def test_a_changed_row_is_found_by_verification_at_the_entry_that_it_made_wrong(
    database, tmp_path, change, then, found
):
    await with_one_record(database, tmp_path)
    await ask(database, "ALTER TABLE meter.batch DISABLE TRIGGER USER")  # as a superuser can
    await ask(database, change)
    async with serving(database, tmp_path) as service:
        assert (await then(service)).status < 400
    assert await verified(database, tmp_path) == [found]


async def test_a_secret_that_is_put_into_the_database_works_where_an_entry_names_the_token(
    database, tmp_path
):
    """Nobody can prove who held a token, as docs/threat-model.md says."""
    await with_one_record(database, tmp_path)
    row = "('dba', 'authority', '', sha256('secret'))"
    await ask(database, f"INSERT INTO meter.token (id, role, subject, secret) VALUES {row}")
    swapped = "UPDATE meter.token SET secret = sha256('secret') WHERE id = 'authority-1'"
    async with serving(database, tmp_path) as service:
        body = coupon_body(2025, "1.00")
        answer = await service.post("/v1/coupons", body, key="k", Authorization="Bearer dba.secret")
        assert answer.code == "unauthorized"
        await ask(database, swapped)
        header = "Bearer authority-1.secret"
        answer = await service.post("/v1/coupons", body, key="k", Authorization=header)
        assert answer.status == 201
        assert (await service.entries())[-1].by == "authority-1"
    assert await verified(database, tmp_path) == []
