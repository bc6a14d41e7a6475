"""Upkeep of a monitor: incidents that somebody acknowledges, and a disk that fills."""

import json
import os

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from ledger.errors import CannotCheck
from meter.auditor import alarms as alarm_book
from meter.auditor.alarms import Alarm, Alarms, acknowledge, read_incidents
from meter.auditor.fetch import open_source
from meter.auditor.monitor import Limits, Monitor, Trust
from meter.auditor.monitor_metrics import MonitorMetrics
from meter.cli.main import main
from tests.sites import NOON, published

MEGABYTE = 1 << 20
LIMITS = Limits(gap_seconds=0, silence_seconds=3600, free_bytes=1000 * MEGABYTE)
NOBODY = "http://127.0.0.1:9"  # a port that nobody listens at


class Watch:
    """A monitor whose clock and whose disk a test moves."""

    def __init__(self, site, data):
        self.site, self.data, self.lines = site, data, []
        self.now, self.free = NOON, 5000
        self.begin()

    def begin(self):
        self.monitor = Monitor(
            self.data,
            Trust(self.site.writer.signer.verifier),
            LIMITS,
            self.lines.append,
            lambda: self.now,
            free=lambda _: self.free * MEGABYTE,
        )
        self.monitor.start()

    async def poll(self, url=""):
        async with open_source(url or self.site.url, None) as source:
            await self.monitor.poll(source)

    def said(self, kind):
        return [
            (line["state"], line["incident"]) for line in self.lines if line.get("alarm") == kind
        ]

    def incident(self, kind):
        (found,) = [each for each in self.monitor.alarms.incidents() if each.alarm.kind == kind]
        return found

    def metrics(self, name="incident_seconds"):
        registry = CollectorRegistry()
        registry.register(MonitorMetrics(self.monitor))
        lines = generate_latest(registry).decode().splitlines()
        return [line for line in lines if line.startswith(f"kashi_monitor_{name}{{")]


@pytest.fixture
def watch(tmp_path):
    with published(tmp_path / "www") as site:
        site.publish()
        watch = Watch(site, tmp_path / "data")
        yield watch
        watch.monitor.close()


async def test_an_incident_keeps_its_id_until_the_alarm_ends_also_over_a_restart(watch):
    await watch.poll()
    watch.now += 3601
    await watch.poll(NOBODY)
    first = watch.incident("silence")
    assert first.at == watch.now
    watch.now += 60
    watch.monitor.close()
    os.utime(watch.data / "log/checkpoint", (NOON, NOON))  # when the copy grew, by the test's clock
    watch.begin()
    await watch.poll(NOBODY)
    assert watch.incident("silence") == first
    assert watch.said("silence") == [("on", first.id)] * 2
    watch.site.post(1)
    watch.site.publish()
    await watch.poll()
    assert watch.said("silence")[-1] == ("off", first.id)
    assert read_incidents(watch.data / "alarms.json") == []
    watch.now += 3601
    await watch.poll()
    assert watch.incident("silence").id != first.id


async def test_what_was_over_during_a_restart_goes_off_at_the_first_look(watch):
    watch.free = 10
    await watch.poll()
    (on,) = watch.said("space")
    watch.monitor.close()
    watch.free = 5000
    watch.begin()
    await watch.poll()
    assert watch.said("space") == [on, on, ("off", on[1])]


async def test_an_acknowledged_incident_stays_on_and_says_why_everywhere(watch):
    await watch.poll()
    watch.now += 3601
    await watch.poll()
    incident = watch.incident("silence")
    (shown,) = watch.metrics()
    labels, _, value = shown.partition(" ")
    assert f'acknowledged="no",incident="{incident.id}",kind="silence"' in labels
    assert float(value) == watch.now
    words = ["monitor", "acknowledge", incident.id, "--data", str(watch.data)]
    done = CliRunner().invoke(main, [*words, "--reason", " 机房搬迁 "])
    said = f"{incident.id}: the monitor takes it at its next look\n"
    assert (done.exit_code, done.output) == (0, said)
    for _ in range(2):
        await watch.poll()
    told = [line for line in watch.lines if line.get("state") == "acknowledged"]
    assert [(line["incident"], line["reason"]) for line in told] == [(incident.id, "机房搬迁")]
    assert watch.monitor.alarms.count("silence") == 1
    assert 'acknowledged="yes"' in watch.metrics()[0]
    watch.monitor.close()
    watch.begin()  # it is acknowledged still, and is not said again
    assert watch.incident("silence").acknowledged.reason == "机房搬迁"
    watch.site.post(1)
    watch.site.publish()
    await watch.poll()
    assert [line["reason"] for line in watch.lines if line.get("state") == "off"] == ["机房搬迁"]
    assert list((watch.data / alarm_book.ACKNOWLEDGED).iterdir()) == []


async def test_only_an_incident_that_is_on_is_acknowledged_and_with_a_reason(watch):
    watch.free = 10
    await watch.poll()
    incident = watch.incident("space").id
    for name, reason in (
        ("inc-000000000000", "x"),
        ("../alarms", "x"),
        (incident, " "),
        (incident, "x" * 501),
        (incident, "a\nb"),
    ):
        with pytest.raises(CannotCheck):
            acknowledge(watch.data, name, reason, NOON)
    assert not (watch.data / alarm_book.ACKNOWLEDGED).exists()
    words = ["monitor", "acknowledge", "inc-0", "--data", str(watch.data), "--reason", "x"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert incident in done.output
    acknowledge(watch.data, incident, "x", NOON)
    (watch.data / alarm_book.ACKNOWLEDGED / f"{incident}.json").write_text(json.dumps({"at": 1}))
    await watch.poll()
    assert watch.incident("space").acknowledged is None  # the file says nothing of the kind


async def test_a_disk_that_fills_is_an_alarm_before_writing_fails_and_does_not_flap(watch):
    await watch.poll()
    for free, is_on in ((1000, 0), (999, 1), (1001, 1), (1249, 1), (1250, 0), (1100, 0), (10, 1)):
        watch.free = free
        await watch.poll()
        assert watch.monitor.alarms.count("space") == is_on, free
        assert watch.monitor.alarms.count("disk") == 0
    assert [state for state, _ in watch.said("space")] == ["on", "off", "on"]
    assert watch.monitor.alarms.details("space") == {"": "10 MB are free, and 1000 MB should be"}
    assert len({incident for _, incident in watch.said("space")}) == 1  # the clock stood still


async def test_metrics_name_the_oldest_incidents_and_no_more(watch):
    for number in range(101):
        watch.now += 1
        watch.monitor.alarms.settle(
            "gap", watch.monitor.alarms.details("gap") | {str(number): "told"}
        )
    assert len(watch.metrics()) == 100
    first = watch.monitor.alarms.incidents()[0].id
    assert any(first in line for line in watch.metrics())


async def test_metrics_count_alarms_that_are_on_and_polls(watch):
    await watch.poll()
    watch.now += 3601
    for _ in range(2):
        await watch.poll(NOBODY)
    on = [line for line in watch.metrics("alarms") if line.endswith(" 1.0")]
    assert on == ['kashi_monitor_alarms{kind="silence"} 1.0']
    assert watch.metrics("polls_total") == [
        'kashi_monitor_polls_total{outcome="answered"} 1.0',
        'kashi_monitor_polls_total{outcome="failed"} 2.0',
    ]


def test_the_same_fault_twice_has_two_incidents(tmp_path):
    times = iter(range(NOON, NOON + 10))
    lines = []
    alarms = Alarms(tmp_path / "alarms.json", lines.append, lambda: next(times))
    for _ in range(2):
        alarms.settle("gap", {"a": "told"})
        alarms.settle("gap", {})
    alarms.keep(Alarm("fork", "fork-1", "told"))
    assert len({line["incident"] for line in lines}) == 3
