"""A claim in the demonstration: an enterprise claims what it was granted, and the city pays it."""

from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from typing import Any, Final

from meter.client import Refused, Service
from meter.demo.telling import fen_of, money_text
from meter.rules.rating import FULL_BP
from meter.values.units import MICROSECONDS, format_date, format_money

CLAIM: Final = "CL-2025-0001"

Row = tuple[str, str, str]  # who, what, the money


@dataclass(frozen=True, slots=True)
class Persons:
    """Who acts: the enterprise, and two persons of the authority."""

    firm: Service
    first: Service
    second: Service


class Payment:
    """The steps of one claim, each told as a row."""

    def __init__(
        self, persons: Persons, account: dict[str, Any], parties: dict[str, str], notice_days: int
    ) -> None:
        self._persons = persons
        self._notice_days = notice_days
        self._account = account
        self._parties = parties
        self.rows: list[Row] = []
        self.refusal = ""

    async def enter(self, today: int) -> None:
        """Enter the claim with its papers; `today` in microseconds."""
        granted, ratio = fen_of(self._account["granted"]), self._account["ratio_bp"]
        paid = format_money(-(-granted * FULL_BP // ratio))
        day = format_date(today // MICROSECONDS)
        papers = {
            "invoices": [
                {
                    "number": "25442000000000000017",
                    "issued_on": day,
                    "amount": paid,
                    "tax": "0.00",
                    "part": paid,
                    "sha256": _digest("invoice"),
                    **self._parties,
                }
            ],
            "payments": [
                {
                    "bank": "102584000002",
                    "reference": "2025-0017",
                    "paid_on": day,
                    "amount": paid,
                    "part": paid,
                }
            ],
            "delivery": _digest("delivery"),
        }
        item = {"id": CLAIM, "item": self._account["item"], "year": self._account["year"]}
        await self._tell(self._persons.firm, "/v1/claims", item | papers)
        told = f"claims with an invoice of {money_text(paid)}, which it paid"
        self.rows.append(("the enterprise", told, ""))

    async def review(self, today: int) -> None:
        """Check and approve the claim, and give notice of it."""
        first, second = self._persons.first, self._persons.second
        await self._step(first, "check")
        try:
            await self._step(first, "approve", amount=self._account["granted"])
        except Refused as refused:
            self.refusal = str(refused)
        answer = await self._step(second, "approve", amount=self._account["granted"])
        self.rows.append(("two persons", "check and approve it", self._account["granted"]))
        starts = date.fromisoformat(format_date(today // MICROSECONDS))
        until = starts + timedelta(self._notice_days)
        notice = {"from": str(starts), "until": str(until), "url": "https://city.example/17"}
        await self._step(first, "notice", **notice)
        self.rows.append(("the public", f"can object until {until}; {answer['bound']} binds", ""))

    async def pay(self, today: int) -> None:
        """Order the payment once the notice is over, and enter that the bank has paid."""
        answer = await self._step(self._persons.first, "order")
        paid = {"bank_reference": "2025-B-17", "paid_on": format_date(today // MICROSECONDS)}
        await self._step(self._persons.second, "payment", **paid)
        self.rows.append(("the bank", "pays what is left after debts", answer["cash"]))

    async def _step(self, who: Service, step: str, **body: str) -> dict[str, Any]:
        return await self._tell(who, f"/v1/claims/{CLAIM}/{step}", body)

    async def _tell(self, who: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await who.command(path, body, f"claim-{path.rpartition('/')[2]}")


def _digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()
