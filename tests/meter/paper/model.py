"""The books as a person would keep them on paper: slow and obvious."""

from datetime import datetime, timedelta
from fractions import Fraction

from tests.books import ORIGIN
from tests.meter.paper.money import Money
from tests.meter.paper.values import PARTS, YEARS, Refused, meaning, midnight, moment, rounded, text


class Model(Money):
    """The whole of it: batches are judged, and answered."""

    def post(self, keyid: str, batch: dict, payload: bytes) -> dict | bytes:
        """Return the results, or the receipt that was stored."""
        key = self.keys.get(keyid)
        if key is None:
            raise Refused("bad_signature")
        if key["provider"] != batch["provider"]:
            raise Refused("provider_mismatch")
        if batch["log"] != ORIGIN:
            raise Refused("wrong_log")
        number = batch["provider"], batch["stream"], batch["seq"]
        if number in self.batches:
            known, receipt = self.batches[number]
            if known != payload:
                raise Refused("seq_conflict")
            return receipt
        if keyid in self.revoked:
            raise Refused("key_revoked")
        first = self.append()
        voids = [self.judge_void(batch["provider"], each["id"]) for each in batch["voids"]]
        results = [self.judge(batch["provider"], each) for each in batch["records"]]
        return {
            "entries": {"first": first, "count": self.size - first},
            "voids": voids,
            "results": results,
        }

    def judge_void(self, provider: str, id_: str) -> dict:
        record = self.records.get((provider, id_))
        if record is None:
            return {"id": id_, "status": "rejected", "code": "unknown_record"}
        if record.voided:
            return {"id": id_, "status": "rejected", "code": "already_voided"}
        contract = self.contracts[record.body["contract"]]
        if self.is_old(record.body, contract):
            return {"id": id_, "status": "rejected", "code": "too_late"}
        before, worth = self.standing(contract), self.worth(contract, record)
        self.apply_void(record)
        return self.accepted(id_, contract, before, worth, -1)

    def judge(self, provider: str, body: dict) -> dict:
        known = self.records.get((provider, body["id"]))
        if known is not None:
            equal = meaning(known.body) == meaning(body)
            status = "duplicate" if equal else "conflict"
            return {"id": body["id"], "status": status, "entry": known.entry}
        code = self.refusal(provider, body)
        if code is not None:
            return {"id": body["id"], "status": "rejected", "code": code}
        contract = self.contracts[body["contract"]]
        before = self.standing(contract)
        record = self.records[provider, body["id"]] = self.take(body)
        self.regrant()
        return self.accepted(body["id"], contract, before, self.worth(contract, record), 1)

    def refusal(self, provider: str, body: dict) -> str | None:
        contract = self.contracts.get(body["contract"])
        if contract is None or contract["provider"] != provider:
            return "unknown_contract"
        start, end = moment(body["start"]), moment(body["end"])
        broken = {
            "unknown_device": body["device"] not in contract["prices"],
            "bad_devices": not 1 <= body["milli_devices"] <= 1_000_000_000,
            "bad_interval": end <= start,
            "too_long": end - start > timedelta(days=31),
            "in_future": end > self.now + timedelta(minutes=5),
            "too_late": self.is_late(body, contract),
            "contract_frozen": contract["id"] in self.frozen,
        }
        return next((code for code, is_broken in broken.items() if is_broken), None)

    def frozen_time(self, contract: str, since: datetime) -> timedelta:
        switched = [*self.switched[contract], self.now]
        pairs = zip(switched[::2], switched[1::2], strict=False)
        times = (max(end, since) - max(begin, since) for begin, end in pairs)
        return sum(times, timedelta(0))

    def is_old(self, body: dict, contract: dict) -> bool:
        lateness = timedelta(days=self.policy_of(contract)["lateness"])
        lateness += self.frozen_time(contract["id"], moment(body["end"]))
        return self.now - moment(body["end"]) > lateness

    def is_late(self, body: dict, contract: dict) -> bool:
        """Return whether a record is too old, and in no late window; late voids have none."""
        return self.is_old(body, contract) and not any(
            midnight(starts) <= moment(body["start"])
            and moment(body["end"]) <= midnight(ends)
            and self.now < midnight(open_until)
            for starts, ends, open_until in self.windows[contract["id"]]
        )

    def standing(self, contract: dict) -> tuple[Fraction, dict, dict]:
        """Return cost, and entitlement and grants by year."""
        granted = {year: self.grants.get((contract["id"], year), Fraction(0)) for year in YEARS}
        return self.cost(contract), self.entitled(contract)[0], granted

    def accepted(self, id_: str, contract: dict, before: tuple, worth: dict, sign: int) -> dict:
        """Answer a record or its void, of the `worth` that the contract now has or has not."""
        cost, entitled, granted = self.standing(contract)
        others = self.value(contract) - (sum(worth.values()) if sign > 0 else 0)
        parts = {part: sign * fen for part, fen in rounded(others, worth).items()}
        reasons = {part: text(parts[part]) for part in PARTS[2:] if worth[part]}
        more_entitled = {year: entitled[year] - before[1][year] for year in YEARS}
        more_granted = {year: granted[year] - before[2][year] for year in YEARS}
        bound = self.entitled(contract)[1]
        if granted != entitled:
            bound.add("coupon")
        sums = sum(more_entitled.values()), sum(more_granted.values())
        return {
            "id": id_,
            "status": "accepted",
            "entry": self.append(),
            "cost": text(cost - before[0]),
            "entitled": text(sums[0]),
            "granted": text(sums[1]),
            "uncovered": text(sums[0] - sums[1]),
            "withheld": text(parts["withheld"]),
            "ineligible": text(sum(parts[part] for part in PARTS[2:])),
            "reasons": reasons,
            "by_year": {
                str(year): text(more_granted[year])
                for year in YEARS
                if more_entitled[year] or more_granted[year]
            },
            "bound": [
                name for name in ("contract_amount", "combined_support", "coupon") if name in bound
            ],
        }
