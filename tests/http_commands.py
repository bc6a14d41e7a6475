"""The documented commands over HTTP, in an order in which each succeeds, and a problem's form."""

from typing import Any

from meter.values.problems import CODES
from tests.books import ALPHA, PROGRAMME, PROVIDER_USCC
from tests.services import Answer, Service, key_body

POLICY = {"programme": PROGRAMME, "version": "2024-12"}
ENTERPRISE = {
    "uscc": ALPHA,
    "name": "深圳某某科技有限公司",
    "kind": "enterprise",
    "founded_on": "2019-04-01",
}
PROVIDER = {
    "id": "pcl",
    "uscc": PROVIDER_USCC,
    "name": "鹏城实验室",
    "devices": {"ascend-910b": 4096},
    "enlisted": {"batch": "2025-1", "from": "2025-01-01", "until": "2027-01-01"},
}
KEY = key_body("pcl-1")
CONTRACT = {
    "id": "TC-2025-0001",
    "contract_no": "深算租〔2025〕001号",
    "programme": PROGRAMME,
    "enterprise": ALPHA,
    "provider": "pcl",
    "amount": "1000000.00",
    "signed_on": "2025-01-15",
    "from": "2025-02-01",
    "until": "2026-02-01",
    "use": "training",
    "prices": {"ascend-910b": "4.50"},
    "max_devices": {"ascend-910b": 512},
    "related_party": False,
}
COUPON = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2025, "amount": "100000.00"}
BUDGET = {"programme": PROGRAMME, "year": 2025, "amount": "1000000.00", "document": "12号"}
FUNDS = {"reference": "7号", "level": "district", "amount": "1.00", "document": "通知"}
VOID = {"provider": "pcl", "id": "slurm:4211:0", "reason": "found by the auditors"}
RECORD = {
    "id": "slurm:4211:0",
    "contract": "TC-2025-0001",
    "device": "ascend-910b",
    "milli_devices": 64000,
    "start": "2025-03-01T08:00:00+08:00",
    "end": "2025-03-01T09:00:00+08:00",
    "run": "slurm:4211",
    "state": "RUNNING",
    "final": False,
}
LATE_WINDOW = {
    "from": "2025-01-01",
    "until": "2025-01-08",
    "open_until": "2026-01-01",
    "reason": "a long outage",
}
CORRECTION = {
    "mode": "correction",
    "amount": "1000000.00",
    "document": "合同扫描件",
    "reason": "a digit was wrong",
}
BALANCE = f"/v1/enterprises/{ALPHA}/balance?programme={PROGRAMME}&year=2025"

# In an order in which each can succeed.
COMMANDS = [
    ("/v1/policies", POLICY),
    ("/v1/providers", PROVIDER),
    ("/v1/providers/pcl/keys", KEY),
    ("/v1/enterprises", ENTERPRISE),
    ("/v1/contracts", CONTRACT),
    ("/v1/coupons", COUPON),
    ("/v1/coupons/withdraw", COUPON | {"amount": "1.00"}),
    ("/v1/contracts/TC-2025-0001/amend", CORRECTION),
    ("/v1/contracts/TC-2025-0001/late-window", LATE_WINDOW),
    ("/v1/contracts/TC-2025-0001/freeze", {}),
    ("/v1/contracts/TC-2025-0001/unfreeze", {}),
    ("/v1/records/void", VOID),
    ("/v1/keys/pcl-1/revoke", {}),
    ("/v1/budgets", BUDGET),
    ("/v1/projects", {"id": "P", "title": "适配", "audited_investment": "6.00"}),
    ("/v1/projects/P/audit", {"amount": "5.00", "document": "审计报告"}),
    ("/v1/projects/P/funds", FUNDS),
    ("/v1/contracts/TC-2025-0001/funds", FUNDS),
]
MOVING_MONEY = [
    *("/v1/coupons", "/v1/coupons/withdraw", "/v1/records/void", "/v1/budgets"),
    "/v1/contracts/TC-2025-0001/amend",
]
QUESTIONS = [BALANCE, "/v1/contracts/TC-2025-0001", "/v1/entries", "/v1/entries/0"]


def problem(answer: Answer, code: str, status: int | None = None) -> dict[str, Any]:
    """Check a problem document against RFC 9457 and the table of codes."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.body
    document = answer.json
    assert document["code"] == code, document
    assert document["status"] == answer.status == CODES[code][0]
    assert document["type"] == f"urn:kashi:problem:{code}"
    assert document["title"] == CODES[code][1]
    assert isinstance(document["detail"], str)
    assert document["detail"]
    assert status in (None, answer.status)
    return document


async def carry_out(service: Service, *paths: str) -> None:
    """Carry out the documented commands, up to and with the last name."""
    for path, body in COMMANDS:
        answer = await service.post(path, body)
        assert answer.status == 201, answer.body
        if path in paths:
            return


async def up_to_coupon(service: Service) -> None:
    await carry_out(service, "/v1/coupons")
