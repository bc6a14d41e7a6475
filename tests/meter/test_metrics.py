"""Metrics: they count rightly, Prometheus accepts them, and the page names them all."""

import asyncio
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse

from meter.host.metrics import Metrics
from meter.service.running import Endpoint
from meter.tables import write as tables_write
from tests.books import DEVICE, PROGRAMME, lifted, record, void
from tests.programs import promtool
from tests.services import HOUR, contract_body, coupon_body, serving

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
USAGE = [record("r1", "A", *HOUR, 64_000)]


LISTENER = {"own": Endpoint()}
MONEY = {"kashi_granted_fen", "kashi_returned_fen", "kashi_pool_fen", "kashi_pool_left_fen"}


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The samples by name and values of labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(text)
        for sample in family.samples
    }


async def scrape(service) -> dict[tuple[str, ...], float]:
    """What the public metrics say."""
    return samples((await service.get("/metrics")).body.decode())


async def scrape_all(service) -> dict[tuple[str, ...], float]:
    """What the operator's own metrics say."""
    return samples(await operators(service))


async def operators(service) -> str:
    async with service.http.get(service.running.metrics_url) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_prometheus_finds_no_fault_with_the_metrics_of_a_used_service(database, tmp_path):
    async with serving(database, tmp_path, **LISTENER) as service:
        await service.open_books()
        await service.usage([*USAGE, record("x", "none", *HOUR, 1)])
        await service.post("/v1/usage", b"{}", None)
        texts = [(await service.get("/metrics")).body.decode(), await operators(service)]
    for text in texts:
        checked = promtool("check", "metrics", input=text)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


async def test_no_public_figure_is_money_or_moves_by_what_a_record_is_worth(database, tmp_path):
    async with serving(database, tmp_path, **LISTENER) as service:
        await service.open_books(lifted(), issued="400000.00")

        async def moved(seq: int, devices: int) -> dict[tuple[str, ...], float]:
            """By how much the public figures, beside times, move with a record and a coupon."""
            before = await scrape(service)
            await service.usage([record(f"r{seq}", "A", *HOUR, devices)], seq=seq)
            await service.issue(2025, f"{devices}.00")
            after = await scrape(service)
            return {name: after[name] - before.get(name, 0) for name in after if is_figure(name)}

        await moved(1, 1)
        small, large = await moved(2, 1_000), await moved(3, 64_000)
        assert small == large
        assert small["kashi_ledger_entries",] == 3
        told = {family.name for family in parse(await operators(service))}
    assert not {name for name, *_ in small if re.search("fen|yuan|pool|grant|money", name)}
    assert told >= MONEY


def is_figure(name: tuple[str, ...]) -> bool:
    """Whether this is no time, nor how far the publisher has come meanwhile."""
    return "seconds" not in name[0] and "publish" not in name[0]


async def test_without_a_port_there_is_no_listener_for_money(database, tmp_path):
    async with serving(database, tmp_path) as service:
        assert service.running.metrics_url == ""
    async with serving(database, tmp_path, **LISTENER) as service:
        assert service.running.metrics_url.startswith("http://127.0.0.1:")
        own = service.running.metrics_url.removesuffix("/metrics")
        for path, code in (("/v1/pools", "not_found"), ("/healthz", "not_found")):
            async with service.http.get(own + path) as answer:
                assert (await answer.json(content_type=None))["code"] == code


def test_prometheus_would_find_a_fault():
    assert promtool("check", "metrics", input="# TYPE x counter\nx 1\n").returncode == 3


async def test_each_batch_is_counted_by_its_outcome(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage(USAGE)
        await service.usage(USAGE)
        await service.usage([])
        await service.post("/v1/usage", b"{}", None)
        await service.post("/v1/usage", service.envelope(keyid="nobody"), None)
        forged = service.envelope(USAGE, seq=2).replace(b'"sig":"', b'"sig":"AAAA')
        await service.post("/v1/usage", forged, None)
        found = await scrape(service)
    outcomes = {name[1]: n for name, n in found.items() if name[0] == "kashi_batches_total"}
    refused = {"seq_conflict": 1, "bad_envelope": 1, "bad_signature": 2}
    assert outcomes == {"ok": 2} | refused
    requests = {n[1]: value for n, value in found.items() if n[0] == "kashi_refused_requests_total"}
    assert requests == refused


async def test_money_granted_only_grows_and_what_comes_back_is_counted_apart(database, tmp_path):
    async with serving(database, tmp_path, **LISTENER) as service:
        await service.open_books(lifted())
        year = PROGRAMME, "2025"
        before = await scrape_all(service)
        assert before["kashi_pool_left_fen", *year] == 49_950_000_000
        await service.usage(USAGE)
        await service.usage([], [void("r1")], seq=2)
        await service.usage([record("r2", "A", *HOUR, 1_000)], seq=3)
        await service.post("/v1/coupons/withdraw", coupon_body(2025, "1000.00"))
        after = await scrape_all(service)
        assert after["kashi_granted_fen_total", *year] == 14_400 + 225
        assert after["kashi_returned_fen_total", *year] == 14_400
        assert after["kashi_pool_fen", *year] == 50_000_000_000
        assert after["kashi_pool_left_fen", *year] == 49_950_100_000
    async with serving(
        database, tmp_path, **LISTENER
    ) as service:  # gauges stand after a restart too
        again = await scrape_all(service)
        assert again["kashi_pool_left_fen", *year] == 49_950_100_000
        assert again["kashi_ledger_entries",] == after["kashi_ledger_entries",]


async def test_what_moves_between_contracts_of_a_coupon_counts_on_both_sides(database, tmp_path):
    async with serving(database, tmp_path, **LISTENER) as service:
        await service.open_books(lifted(), None)
        await service.ask("/v1/contracts", **contract_body("B"))
        await service.issue(2025, "100.00")
        await service.usage([record("b", "B", *HOUR, 64_000)])  # takes all of the 100.00
        await service.usage([record("a", "A", *HOUR, 64_000)], seq=2)
        await service.usage([], [void("b")], seq=3)  # 100.00 go from B to A
        found = await scrape_all(service)
        assert found["kashi_granted_fen_total", PROGRAMME, "2025"] == 20_000
        assert found["kashi_returned_fen_total", PROGRAMME, "2025"] == 10_000


async def test_what_a_failed_commit_would_have_counted_is_counted_once(
    database, tmp_path, monkeypatch
):
    write, failures = tables_write.write, [OSError("no space"), OSError("no space")]

    async def failing(*arguments):
        if failures:
            raise failures.pop()
        return await write(*arguments)

    async with serving(database, tmp_path, **LISTENER) as service:
        await service.open_books()
        monkeypatch.setattr(tables_write, "write", failing)
        posts = [service.usage(USAGE, stream=f"s{n}") for n in range(3)]
        answers = await asyncio.gather(*posts)
        while 503 in {answer.status for answer in answers}:
            answers = [await service.usage(USAGE, stream=f"s{n}") for n in range(3)]
        found = await scrape_all(service)
    assert found["kashi_records_total", "accepted"] == 1
    assert found["kashi_records_total", "duplicate"] == 2
    assert found["kashi_granted_fen_total", PROGRAMME, "2025"] == 14_400
    assert found["kashi_recoveries_total",] == 2
    assert found["kashi_ready",] == 1


async def test_signatures_are_timed_on_both_sides(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.usage(USAGE)
        found = await scrape(service)
    for operation in ("verify", "sign"):
        assert found["kashi_signature_seconds_count", operation] == 1
        assert 0 < found["kashi_signature_seconds_sum", operation] < 1


async def test_no_label_names_whom_it_concerns(database, tmp_path):
    async with serving(database, tmp_path, **LISTENER) as service:
        await service.open_books()
        await service.usage(USAGE)
        await service.get("/v1/contracts/none")
        text = await operators(service)
    labels = set(re.findall(r'([a-z_]+)="', text))
    assert labels == {"code", "outcome", "result", "programme", "year", "operation", "le"}
    assert DEVICE not in text


def test_the_page_lists_every_metric_with_its_kind_and_labels():
    told = re.findall(r"^\| `(kashi_\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    listed = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in told}
    metrics = Metrics()
    real = {}
    for family in (*metrics.registry.collect(), *metrics.money.collect()):
        name = family.name + "_total" * (family.type == "counter")
        real[name] = family.type
    assert {name: kind for name, (kind, _) in listed.items()} == real
    for collector in vars(metrics).values():
        if hasattr(collector, "_labelnames"):
            name = collector._name + "_total" * (collector._type == "counter")
            assert listed[name][1] == set(collector._labelnames), name
    at_the_port = set(re.findall(r"^\| `(kashi_\w+?)(?:_total)?` .*\| money, ", PAGE, re.MULTILINE))
    assert at_the_port == {family.name for family in metrics.money.collect()} == MONEY
