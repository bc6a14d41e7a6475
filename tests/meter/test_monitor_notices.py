"""A monitor's alarms as webhooks and mail: signed, sent again, and kept over a restart."""

import asyncio
import base64
import json
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.errors import CannotCheck
from ledger.files import make_private
from meter.auditor.alarms import Alarms
from meter.publish.alerts import DELAYS
from meter.publish.webhooks import Outcome
from meter.service import monitor_notices
from meter.service.monitor_notices import MAX_WAITING, Notices, Target, sending
from tests.alerts import receiving
from tests.meter.alerts.test_mail import Inbox, free_port
from tests.sites import NOON

HOOK = Target("webhook", "https://hooks.example/a")
BOX = Target("mail", "duty@city.example")
TAKEN = Outcome(is_taken=True, detail="200")
REFUSED = Outcome(is_taken=False, detail="500")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(monitor_notices, "POLL_SECONDS", 0.02)


@pytest.fixture
def folder(tmp_path):
    make_private(tmp_path / "data")
    return tmp_path / "data"


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


def begun(folder, clock, targets=(HOOK,)):
    """Return the notices and the alarms of a monitor that starts in a folder, and its lines."""
    lines = []
    notices = Notices(folder, targets, lines.append, clock)
    return notices, Alarms(folder / "alarms.json", notices.say, clock), lines


def test_each_line_of_an_alarm_waits_for_each_target_and_no_other_line(folder):
    notices, alarms, lines = begun(folder, Clock(), (HOOK, BOX))
    notices.say({"event": "followed", "at": "now", "size": 1})
    alarms.settle("gap", {"a": "told"})
    alarms.settle("gap", {})
    assert [line.get("state") for line in lines] == [None, "on", "off"]
    first = notices.due([])
    assert [each.target for each in first] == [HOOK, BOX]
    assert json.loads(first[0].body) == {
        "type": "monitor.on",
        "timestamp": "2025-03-01T12:00:00+08:00",
        "data": {"alarm": "gap", "incident": lines[1]["incident"], "detail": "told"},
    }
    assert notices.due([HOOK]) == [first[1]]
    for each in first:
        notices.settle(each, TAKEN)
    assert [json.loads(each.body)["type"] for each in notices.due([])] == ["monitor.off"] * 2


def test_what_waits_outlives_a_restart_and_what_was_told_is_not_told_again(folder):
    clock = Clock()
    notices, alarms, _ = begun(folder, clock)
    alarms.settle("gap", {"a": "told"})
    alarms.save()
    (waiting,) = notices.due([])
    notices, alarms, lines = begun(folder, clock)
    assert lines[0]["state"] == "on"
    assert notices.due([]) == [waiting]
    notices.settle(waiting, TAKEN)
    notices, alarms, _ = begun(folder, clock)
    assert notices.due([]) == []
    alarms.settle("gap", {})
    assert len(notices.due([])) == 1


def test_it_is_sent_again_ever_later_and_then_given_up(folder):
    clock = Clock()
    notices, alarms, lines = begun(folder, clock)
    alarms.settle("gap", {"a": "told"})
    for delay in DELAYS:
        (waiting,) = notices.due([])
        notices.settle(waiting, REFUSED)
        clock.now += delay - 1
        assert notices.due([]) == []
        clock.now += 1
    (waiting,) = notices.due([])
    assert waiting.attempts == len(DELAYS)
    notices.settle(waiting, REFUSED)
    clock.now += 10**6
    assert notices.due([]) == []
    events = [line["event"] for line in lines if "event" in line]
    assert events == ["notice_failed"] * len(DELAYS) + ["notice_lost"]


def test_more_than_so_many_are_lost_and_said_to_be(folder):
    _, alarms, lines = begun(folder, Clock())
    alarms.settle("gap", {str(number): "told" for number in range(MAX_WAITING + 2)})
    assert [line["event"] for line in lines if "event" in line] == ["notice_lost"] * 2
    assert sum("alarm" in line for line in lines) == MAX_WAITING + 2


def test_a_disk_that_takes_nothing_stops_no_alarm(folder, monkeypatch):
    def fail(*_):
        raise OSError(28, "no space")

    clock = Clock()
    notices, alarms, lines = begun(folder, clock)
    monkeypatch.setattr(monitor_notices, "replace_file", fail)
    alarms.settle("disk", {"": "cannot write"})
    assert len(lines) == len(notices.due([])) == 1


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def test_a_receiver_gets_it_signed_and_a_mailbox_in_both_languages(folder, tmp_path):
    box, lines = Inbox(), []
    server = Controller(box, "127.0.0.1", free_port())
    server.start()
    try:
        async with receiving(tmp_path) as receiver:
            (folder / "ca.pem").write_bytes(receiver.ca.read_bytes())
            (folder / "alerts.toml").write_text(
                'ca_file = "ca.pem"\n[webhooks]\nhosts = ["127.0.0.1"]\n[mail]\n'
                f'host = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\n'
                'sender = "monitor@bureau.example"\n'
            )
            hooks, boxes = [receiver.url()], ["duty@city.example"]
            async with sending(folder, hooks, boxes, lines.append) as say:
                alarms = Alarms(folder / "alarms.json", say, lambda: NOON)
                alarms.settle("silence", {"": "no new checkpoint"})
                await until(lambda: receiver.got and box.letters)
                await until(lambda: json.loads((folder / "outbox.json").read_text()) == [])
            (got,) = receiver.got
    finally:
        server.stop()
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(lines[0]["public_key"]))
    heads = {name.lower(): value for name, value in got.headers.items()}
    kind, signature = heads["webhook-signature"].split(",")
    assert kind == "v1a"
    signed = f"{heads['webhook-id']}.{heads['webhook-timestamp']}.".encode() + got.body
    key.verify(base64.b64decode(signature), signed)
    incident = json.loads(got.body)["data"]["incident"]
    (envelope,) = box.letters
    letter = message_from_bytes(envelope.content, policy=policy.default)
    assert letter["Subject"] == f"Kashi: 告警 alarm: silence {incident}"
    assert "no new checkpoint" in letter.get_content()


@pytest.mark.parametrize(
    ("urls", "addresses", "why"),
    [
        (["http://hooks.example/a"], [], "https"),
        ([], ["nobody"], "no address"),
        ([], ["duty@city.example"], "no section"),
    ],
)
async def test_targets_that_cannot_be_sent_to_end_the_start(folder, urls, addresses, why):
    with pytest.raises(CannotCheck, match=why):
        async with sending(folder, urls, addresses, print):
            pass
