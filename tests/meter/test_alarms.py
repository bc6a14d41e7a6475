"""The alarms of a monitor: each line that is said, each file that is kept."""

import itertools
import json
import stat

import pytest

from ledger.errors import CannotCheck
from meter.auditor.alarms import Alarm, Alarms, acknowledge, read_incidents
from meter.values.units import format_instant

NOON = 1_740_801_600
OTHER_REASONS = ("", " \n", "two\nlines", "x" * 501)


class Kept:
    """Alarms in a folder, whose clock goes on by a second each time that it is read."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "alarms.json"
        self.clock = itertools.count(NOON)
        self.restart()

    def restart(self):
        self.lines = []
        self.alarms = Alarms(self.file, self.lines.append, lambda: next(self.clock))

    def told(self):
        """Return what was said since the last time, without its instants."""
        lines, self.lines[:] = [*self.lines], []
        return [tuple(v for k, v in line.items() if k not in ("at", "incident")) for line in lines]

    @property
    def ids(self):
        return [each.id for each in self.alarms.incidents()]


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path)


def test_an_alarm_is_said_when_it_goes_on_and_off_and_its_detail_is_no_news(kept):
    kept.alarms.settle("gap", {"pcl": "one is missing"})
    [incident] = kept.ids
    kept.alarms.settle("gap", {"pcl": "two are missing"})
    assert kept.alarms.details("gap") == {"pcl": "two are missing"}
    kept.alarms.settle("gap", {})
    line = {"alarm": "gap", "state": "on", "incident": incident, "at": format_instant(NOON + 1)}
    assert kept.lines == [
        line | {"detail": "one is missing"},
        line | {"state": "off", "at": format_instant(NOON + 2), "detail": "two are missing"},
    ]
    assert kept.ids == []


def test_exactly_the_alarms_of_a_kind_that_are_named_are_on(kept):
    kept.alarms.settle("gap", {"a": "1", "b": "2"})
    kept.alarms.settle("silence", {"": "for an hour"})
    kept.alarms.keep(Alarm("fork", "root", "two roots"))
    assert [kept.alarms.count(kind) for kind in ("gap", "silence", "fork", "disk")] == [2, 1, 1, 0]
    assert kept.alarms.details("gap") == {"a": "1", "b": "2"}
    kept.told()
    kept.alarms.settle("gap", {"b": "2", "c": "3"})
    assert kept.told() == [("gap", "off", "1"), ("gap", "on", "3")]
    assert kept.alarms.details("gap") == {"b": "2", "c": "3"}
    assert kept.alarms.details("silence") == {"": "for an hour"}
    assert len(set(kept.ids)) == 4


def test_what_was_on_is_on_again_after_a_restart_under_its_incident(kept):
    kept.alarms.settle("gap", {"pcl": "one is missing"})
    kept.alarms.keep(Alarm("violation", "7", "entry 7"))
    kept.alarms.save()
    before = kept.alarms.incidents()
    assert kept.file.read_bytes().endswith(b"]\n")
    assert [each["at"] for each in json.loads(kept.file.read_bytes())] == [NOON, NOON + 2]
    kept.restart()
    assert kept.alarms.incidents() == before == read_incidents(kept.file)
    assert kept.told() == [("gap", "on", "one is missing"), ("violation", "on", "entry 7")]


def test_the_file_is_written_when_something_has_changed(kept):
    kept.alarms.save()
    assert not kept.file.exists()
    kept.alarms.settle("gap", {"pcl": "one is missing"})
    kept.alarms.save()
    kept.file.unlink()
    kept.alarms.save()
    kept.alarms.settle("gap", {"pcl": "one is missing"})
    kept.alarms.save()
    assert not kept.file.exists()
    kept.alarms.settle("gap", {"pcl": "two are missing"})
    kept.alarms.save()
    assert [each.alarm.detail for each in read_incidents(kept.file)] == ["two are missing"]
    kept.restart()
    kept.file.unlink()
    kept.alarms.save()
    assert not kept.file.exists()


def test_a_hundred_lasting_alarms_are_kept_beside_any_others(kept):
    kept.alarms.settle("gap", {str(number): "missing" for number in range(101)})
    for number in range(101):
        kept.alarms.keep(Alarm("violation", str(number), f"entry {number}"))
    assert list(kept.alarms.details("violation")) == [str(number) for number in range(100)]
    kept.told()
    kept.alarms.keep(Alarm("violation", "99", "entry 99, and more"))
    assert kept.told() == []
    assert kept.alarms.details("violation")["99"] == "entry 99, and more"


def test_an_acknowledged_incident_stays_on_with_its_reason_until_it_ends(kept):
    kept.alarms.settle("gap", {"a": "1", "b": "2"})
    kept.alarms.save()
    first, second = kept.ids
    acknowledge(kept.folder, first, " the provider was told ", NOON + 60)
    words = kept.folder / "acknowledged" / f"{first}.json"
    assert words.read_bytes() == b'{"at":%d,"reason":"the provider was told"}\n' % (NOON + 60)
    assert stat.S_IMODE(words.parent.stat().st_mode) == 0o700
    kept.told()
    for _ in range(2):
        kept.alarms.take_acknowledgements()
    assert kept.told() == [("gap", "acknowledged", "1", "the provider was told")]
    assert words.exists()
    kept.alarms.settle("gap", {})
    assert kept.told() == [("gap", "off", "1", "the provider was told"), ("gap", "off", "2")]
    kept.alarms.take_acknowledgements()
    assert not words.exists()
    assert [kept.alarms.count("gap"), first == second] == [0, False]


@pytest.mark.parametrize("data", [b"", b'{"at":1,"reason":""}', b'{"at":1,"reason":"%501d"}' % 0])
def test_words_that_say_nothing_of_the_kind_acknowledge_nothing(kept, data):
    kept.alarms.settle("gap", {"a": "1"})
    kept.alarms.save()
    [incident] = kept.ids
    acknowledge(kept.folder, incident, "x", NOON)
    (kept.folder / "acknowledged" / f"{incident}.json").write_bytes(data)
    kept.told()
    kept.alarms.take_acknowledgements()
    assert kept.told() == []


def test_only_what_is_on_is_acknowledged_with_a_reason_of_at_most_500_characters(kept):
    with pytest.raises(CannotCheck, match=r"no incident 'inc-1' is on in .*; there are: none$"):
        acknowledge(kept.folder, "inc-1", "x", NOON)
    kept.alarms.settle("gap", {"a": "1", "b": "2"})
    kept.alarms.save()
    there = ", ".join(sorted(kept.ids))
    with pytest.raises(CannotCheck, match=rf"no incident 'inc-1' is on in .*; there are: {there}$"):
        acknowledge(kept.folder, "inc-1", "x", NOON)
    for reason in OTHER_REASONS:
        with pytest.raises(CannotCheck, match=r"^cannot_check: a reason has 1 to 500 printable"):
            acknowledge(kept.folder, kept.ids[0], reason, NOON)
    assert not (kept.folder / "acknowledged").exists()
    for incident, reason in zip(kept.ids, ("x", "x" * 500), strict=True):
        acknowledge(kept.folder, incident, reason, NOON)
    kept.alarms.take_acknowledgements()
    told = [each.acknowledged.reason for each in kept.alarms.incidents()]
    assert told == ["x", "x" * 500]


def test_a_file_that_is_damaged_ends_the_monitor_and_none_is_no_alarm(kept):
    assert read_incidents(kept.file) == []
    kept.file.write_bytes(b"[{}]")
    with pytest.raises(CannotCheck, match=r"the alarms in .*alarms\.json cannot be read: "):
        kept.restart()
