"""Balances, contracts, entries and the checkpoint over HTTP, and the state of the service."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from ledger import canon
from ledger.note import Verifier, open_checkpoint
from ledger.tlog import Frontier, leaf_hash
from meter.rules.evolve import evolve
from meter.rules.state import State
from meter.values.units import format_money
from tests.books import ALPHA, BETA, PROGRAMME, coupon_of, lifted, record, void
from tests.http_commands import CONTRACT, COUPON, RECORD, problem, up_to_coupon
from tests.services import (
    HOUR,
    ORIGIN,
    Service,
    check_sums,
    contract_body,
    serving,
    stored,
    stored_entries,
)


async def test_the_balance_says_all_of_a_coupon_and_of_each_contracts_share(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books(lifted(cap="1000.00"), issued="150.00")
        await service.ask("/v1/contracts", **contract_body("B"))
        service.clock.advance(60)
        await service.usage([record("a", "A", *HOUR, 64_000), record("b", "B", *HOUR, 10_000)])
        assert await service.balance() == {
            "enterprise": ALPHA,
            "programme": PROGRAMME,
            "year": 2025,
            "issued": "150.00",
            "granted": "150.00",
            "remaining": "0.00",
            "entitled": "166.50",
            "uncovered": "16.50",
            "withheld": "0.00",
            "cap": "1000.00",
            "contracts": [
                {
                    "contract": "A",
                    "entitled": "144.00",
                    "granted": "144.00",
                    "uncovered": "0.00",
                    "withheld": "0.00",
                },
                {
                    "contract": "B",
                    "entitled": "22.50",
                    "granted": "6.00",
                    "uncovered": "16.50",
                    "withheld": "0.00",
                },
            ],
            "awards": [],
            "as_of": {"entries": 11, "time": "2025-03-01T12:01:00+08:00"},
        }


async def test_a_balance_without_usage_or_coupon_is_zero_and_nonsense_is_refused(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        zero = await service.balance(2024)
        assert (zero["issued"], zero["remaining"], zero["contracts"]) == ("0.00", "0.00", [])
        base = f"/v1/enterprises/{ALPHA}/balance"
        for query, code in (
            ("", "malformed"),
            (f"?programme={PROGRAMME}", "malformed"),
            (f"?programme={PROGRAMME}&year=", "malformed"),
            (f"?programme={PROGRAMME}&year=x", "malformed"),
            (f"?programme={PROGRAMME}&year=-1", "malformed"),
            (f"?programme={PROGRAMME}&year=٢٠٢٥", "malformed"),
            (f"?programme={PROGRAMME}&year=" + "9" * 17, "malformed"),
            (f"?programme={PROGRAMME}&year=9999", "malformed"),
            (f"?programme={PROGRAMME}&year=9998", "unknown_programme"),
            (f"?programme={PROGRAMME}&year=2027", "unknown_programme"),
            ("?programme=%00&year=2025", "malformed"),
            ("?programme=%ff&year=2025", "unknown_programme"),
            ("?programme=&year=2025", "unknown_programme"),
            ("?year=2025", "malformed"),
        ):
            problem(await service.get(base + query), code)
        for uscc, code in (
            *((each, "unknown_enterprise") for each in (BETA, "x", "%ff")),
            *((each, "malformed") for each in ("%00", "%0a", "%7f", "%c2%85")),
        ):
            path = f"/v1/enterprises/{uscc}/balance?programme={PROGRAMME}&year=2025"
            problem(await service.get(path), code)


async def test_a_contract_shows_its_terms_and_what_was_metered(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        share = {
            "entitled": "144.00",
            "granted": "144.00",
            "uncovered": "0.00",
            "withheld": "0.00",
        }
        assert await service.contract("TC-2025-0001") == CONTRACT | {
            "entry": 5,
            "policy": "2024-12",
            "class": "standard",
            "funds": [],
            "amendments": [],
            "frozen": False,
            "cost": "288.00",
            "eligible": "288.00",
            "withheld": "0.00",
            "ineligible": "0.00",
            "reasons": {},
            "years": [{"year": 2025} | share],
            "rounding": "0.00",
            "as_of": {"entries": 9, "time": "2025-03-01T12:00:00.000007+08:00"},
        }
        for id_ in ("nothing", "%ff", "x" * 500):
            problem(await service.get(f"/v1/contracts/{id_}"), "unknown_contract", 404)
        problem(await service.get("/v1/contracts/%00"), "malformed", 400)


async def test_what_counts_for_nothing_is_told_with_its_reason(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        number = "TC-2025-0002"
        await service.ask(
            "/v1/contracts",
            **contract_body(
                number,
                starts="2025-03-01",
                prices={"ascend-910b": {"amount": "3100.00", "per": "month"}, "h100": PER_MONTH},
                max_devices={"ascend-910b": 1},
            ),
        )
        one, two = (f"2025-02-28T2{hour}:00:00+08:00" for hour in (2, 3))
        last = "2025-03-01T01:00:00+08:00"
        body = record("a", number, two, last, 2_000)  # an hour before the term, and one in it
        await service.usage([body, record("b", number, one, two, 1_000, device="h100")])
        await service.usage([record("c", number, two, last, 1_000, device="h100")], seq=2)
        # 3100.00 / 672 and / 744 are 4.6130… and 4.1666…; 672.00 / 672 and / 744 are 1 and 0.9032…
        shown = await service.contract(number)
        parts = {name: shown[name] for name in ("cost", "eligible", "withheld", "ineligible")}
        assert parts == {
            "cost": "20.46",
            "eligible": "4.16",
            "withheld": "8.78",
            "ineligible": "7.52",
        }
        assert shown["reasons"] == {"outside_term": "6.61", "not_enlisted": "0.91"}
        assert shown["prices"]["h100"] == PER_MONTH
        path = f"/v1/enterprises/{ALPHA}/records?contract={number}"
        page = (await service.get(path)).json
        for line in page["records"]:
            reasons = sum(fen(text) for text in line["reasons"].values())
            assert reasons == fen(line["ineligible"])
        assert [line["withheld"] for line in page["records"]] == ["8.78", "0.00", "0.00"]
        names = ("cost", "withheld", "ineligible")
        for name in names:
            listed = sum(fen(line[name]) for line in page["records"])
            assert listed + fen(page["rounding"][name]) == fen(shown[name])
        assert page["total"] == {name: shown[name] for name in names} | {"entitled": "2.08"}
        (summary,) = [
            each
            for each in (await service.get(f"/v1/enterprises/{ALPHA}/contracts")).json["contracts"]
            if each["id"] == number
        ]
        assert {name: summary[name] for name in (*names, "reasons")} == {
            name: shown[name] for name in (*names, "reasons")
        }


PER_MONTH = {"amount": "672.00", "per": "month"}


def fen(text: str) -> int:
    return round(float(text) * 100)


async def test_entries_are_the_ledgers_own_bytes(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD])
        for number, data in enumerate(await stored(database)):
            answer = await service.get(f"/v1/entries/{number}")
            leaf = leaf_hash(data).hex().encode()
            assert answer.body == (
                b'{"number":%d,"leaf_hash":"%s","entry":%s}' % (number, leaf, data)
            )
        problem(await service.get("/v1/entries/9"), "not_found", 404)
        problem(await service.get("/v1/entries/" + "9" * 15), "not_found", 404)
        for nonsense in ("-1", "1.0", "x", "9" * 16, "%00", "01٢"):
            problem(await service.get(f"/v1/entries/{nonsense}"), "malformed", 400)


async def test_paging_through_the_entries_gives_each_once_in_order(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        for seq in range(1, 6):
            await service.usage(
                [record(f"r{seq}.{n}", "none", *HOUR, 1) for n in range(3)], seq=seq
            )
        expected = await stored(database)
        assert len(expected) == 12
        for limit in (1, 2, 7, 12, 100):
            found = [each async for each in pages(service, limit)]
            assert [each["number"] for each in found] == list(range(12))
            assert [canon.encode(each["entry"]) for each in found] == expected


async def pages(service: Service, limit: int):
    query = f"limit={limit}"
    while True:
        page = (await service.get(f"/v1/entries?{query}")).json
        assert page["as_of"] == {"entries": 12, "time": "2025-03-01T12:00:00.000011+08:00"}
        assert len(page["entries"]) <= limit
        if not page["entries"]:
            return
        for each in page["entries"]:
            yield each
        query = f"limit={limit}&after={page['next']}"


async def test_pages_beyond_the_end_are_empty_and_wrong_limits_refused(database, tmp_path):
    async with serving(database, tmp_path) as service:
        page = (await service.get("/v1/entries?after=5")).json
        assert (page["entries"], page["next"]) == ([], 5)
        page = (await service.get(f"/v1/entries?after={2**53 - 1}")).json
        assert (page["entries"], page["next"]) == ([], 2**53 - 1)
        beyond = f"after={2**53}"
        for query in ("limit=0", "limit=1001", "limit=x", "after=-2", "after=x", "limit=", beyond):
            problem(await service.get(f"/v1/entries?{query}"), "malformed", 400)
        assert (await service.get("/v1/entries?limit=1000")).status == 200


async def test_the_checkpoint_verifies_and_is_the_same_for_the_same_size(database, tmp_path):
    async with serving(database, tmp_path) as service:
        verifier = Verifier.parse(service.folder.log_vkey.read_text().strip())
        await up_to_coupon(service)
        await service.published()
        first = await service.get("/log/checkpoint")
        checkpoint = open_checkpoint(first.body, verifier)
        data = await stored(database)
        assert (checkpoint.origin, checkpoint.size) == (ORIGIN, len(data))
        assert checkpoint.root == Frontier.over(b"".join(map(leaf_hash, data))).root()
        assert (await service.get("/log/checkpoint")).body == first.body
    async with serving(database, tmp_path) as service:
        assert (await service.get("/log/checkpoint")).body == first.body
        await service.usage([RECORD])
        await service.published()
        second = await service.get("/log/checkpoint")
        assert open_checkpoint(second.body, verifier).size == checkpoint.size + 2


async def test_health_readiness_and_metrics_tell_the_state_of_the_service(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await up_to_coupon(service)
        await service.usage([RECORD, RECORD | {"id": "x", "contract": "none"}])
        await service.usage([], seq=1)
        problem(await service.post("/v1/coupons", COUPON | {"year": 2027}), "unknown_year")
        assert (await service.get("/healthz")).json == {"status": "ok"}
        assert (await service.get("/readyz")).json == {"status": "ready"}
        answer = await service.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
        assert values["kashi_ledger_entries",] == 9
        assert values["kashi_batches_total", "ok"] == 1
        assert values["kashi_batches_total", "seq_conflict"] == 1
        assert values["kashi_records_total", "accepted"] == 1
        assert values["kashi_records_total", "rejected"] == 1
        assert values["kashi_commands_total", "ok"] == 6
        assert values["kashi_commands_total", "unknown_year"] == 1
        assert values["kashi_queue_bytes",] == 0
        assert values["kashi_commit_seconds_count",] == 7
        assert values["kashi_group_submissions_count",] == 9


async def test_a_balance_includes_every_batch_that_was_answered_before_the_question(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books(issued="300.00")
        seen = []

        async def client(stream: str) -> None:
            for seq in range(1, 6):
                usage = record(f"{stream}-{seq}", "A", *HOUR, 2_345)
                voids = [void(f"{stream}-{seq - 1}")] if seq % 3 == 0 else []
                answer = await service.usage([usage], voids, stream=stream, seq=seq)
                last = answer.json["entries"]["first"] + answer.json["entries"]["count"]
                balance = await service.balance()
                assert balance["as_of"]["entries"] >= last
                seen.append(balance)

        async def authority() -> None:
            for _ in range(6):
                await service.issue(2025, "10.00")
                seen.append(await service.balance())

        await asyncio.gather(*(client(f"s{n}") for n in range(24)), authority())
        at_size = figures_by_size(await stored_entries(database))
        for balance in seen:
            shown = [balance[name] for name in ("issued", "entitled", "granted", "uncovered")]
            assert shown == at_size[balance["as_of"]["entries"]]
        assert len({balance["as_of"]["entries"] for balance in seen}) > 5
    await check_sums(database)


def figures_by_size(entries: list) -> list[list[str]]:
    """Return issued, entitled, granted, uncovered of ALPHA's coupon 2025 after so many entries."""
    state, figures = State(), [[]]
    for entry in entries:
        evolve(state, entry)
        if ALPHA in state.enterprises:
            coupon = coupon_of(state, (ALPHA, PROGRAMME, 2025))
            fen = (coupon.issued, coupon.entitled, coupon.granted, coupon.uncovered)
            figures.append([format_money(each) for each in fen])
        else:
            figures.append([])
    return figures
