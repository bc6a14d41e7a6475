"""The routes of alerts: a program does with its token's targets what a person does on the page."""

import json

import pytest

from meter.api.app import ROUTES
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.service import admin
from tests.books import ALPHA, BETA
from tests.described import Described
from tests.services import Clock, ask, serving, until

TOLD = Described(ROUTES)
TARGETS = "/v1/alerts/targets"
TEST, TURN = f"{TARGETS}/{{target}}/test", f"{TARGETS}/{{target}}/turn"
REPLAY = "/v1/alerts/{alert}/replay"


@pytest.fixture
async def service(database, tmp_path, receiver, monkeypatch):
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    files = {"alerts.toml": f'ca_file = "{receiver.ca}"\n[webhooks]\nhosts = ["127.0.0.1"]\n'}
    clock = Clock("2025-03-01T12:00:00+08:00")
    async with serving(database, tmp_path, clock=clock, files=files) as service:
        await service.open_books()
        yield service


class Program:
    """A program with a token; each answer is held against the API's description."""

    def __init__(self, service, token):
        self.service, self.headers = service, {"Authorization": f"Bearer {token}"}

    async def post(self, path, body, key="", **names):
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        answer = await self.service.send(
            "POST", path.format(**names), data=json.dumps(body).encode(), **headers
        )
        TOLD.check("POST", path, answer.status, answer.headers, answer.body)
        return answer

    async def alerts(self):
        return (await self.service.get("/v1/alerts", **self.headers)).json

    async def settled(self, count):
        """Wait until so many attempts are over."""

        async def are_there():
            return len(await ask(self.service.dsn, "SELECT FROM meter.alert_attempt")) >= count

        await until(are_there)


async def program(service, role, subject=""):
    identity = Identity(f"{role}-{subject or 'x'}", role, subject)
    return Program(service, await admin.add_token(service.folder, identity))


def wanted(receiver, **changes):
    chosen = {"means": "webhook", "address": receiver.url(), "language": "en", "kinds": ["gap"]}
    return chosen | changes


async def test_a_program_adds_a_target_tests_it_and_has_a_message_sent_again(service, receiver):
    firm = await program(service, "enterprise", ALPHA)
    target = (await firm.post(TARGETS, wanted(receiver), "t1")).json
    assert target == {"id": target["id"], **wanted(receiver)}
    sent = (await firm.post(TEST, {}, "m1", target=target["id"])).json
    assert (sent["kind"], sent["status"], sent["attempts"]) == ("test", "waiting", [])
    await firm.settled(1)
    again = (await firm.post(REPLAY, {}, "m2", alert=sent["id"])).json
    assert (again["id"], again["status"]) == (sent["id"], "waiting")
    await firm.settled(2)
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert ids == [sent["id"]] * 2
    assert [each["status"] for each in (await firm.alerts())["alerts"]] == ["taken"]


async def test_what_is_asked_again_with_one_key_is_done_once(service, receiver):
    firm = await program(service, "enterprise", ALPHA)
    target = (await firm.post(TARGETS, wanted(receiver), "t1")).json
    assert (await firm.post(TARGETS, wanted(receiver), "t1")).json == target
    assert (await firm.alerts())["targets"] == [target]
    sent = [(await firm.post(TEST, {}, "m1", target=target["id"])).json for _ in range(2)]
    assert sent[0]["id"] == sent[1]["id"]
    await firm.settled(1)
    for count in (2, 2, 3):  # the third one has a key of its own
        await firm.post(REPLAY, {}, f"again-{count}", alert=sent[0]["id"])
        await firm.settled(count)
    assert len(receiver.got) == 3
    off = (await firm.post(TURN, {"on": False}, "off", target=target["id"])).json
    assert off["why"] == "person"
    on = (await firm.post(TURN, {"on": True}, "on", target=target["id"])).json
    assert on == target
    late = (await firm.post(TURN, {"on": False}, "off", target=target["id"])).json
    assert late == target


async def test_a_key_of_another_request_is_refused_and_one_of_a_refused_request_is_free(
    service, receiver
):
    firm = await program(service, "enterprise", ALPHA)
    target = (await firm.post(TARGETS, wanted(receiver), "k")).json
    others = [
        (TARGETS, wanted(receiver, kinds=["withheld"]), {}),
        (TEST, {}, {"target": target["id"]}),
        (TURN, {"on": False}, {"target": target["id"]}),
        (REPLAY, {}, {"alert": "msg_0"}),
    ]
    for path, body, names in others:
        assert (await firm.post(path, body, "k", **names)).code == "idempotency_conflict"
    await firm.post(TURN, {"on": False}, target=target["id"])
    assert (await firm.post(TEST, {}, "m", target=target["id"])).code == "target_off"
    await firm.post(TURN, {"on": True}, target=target["id"])
    assert (await firm.post(TEST, {}, "m", target=target["id"])).status == 200
    provider = await program(service, "provider", "pcl")
    assert (await provider.post(TARGETS, wanted(receiver), "k")).json["id"] != target["id"]


async def test_without_a_key_each_request_is_another(service, receiver):
    auditor = await program(service, "auditor")
    codes = [(await auditor.post(TARGETS, wanted(receiver))).status for _ in range(10)]
    assert codes == [200] * 10
    assert (await auditor.post(TARGETS, wanted(receiver))).code == "too_many_targets"
    assert len((await auditor.alerts())["targets"]) == 10


async def test_a_message_to_a_target_that_is_off_is_not_sent_again(service, receiver):
    firm = await program(service, "enterprise", ALPHA)
    target = (await firm.post(TARGETS, wanted(receiver))).json["id"]
    sent = (await firm.post(TEST, {}, target=target)).json["id"]
    await firm.settled(1)
    await firm.post(TURN, {"on": False}, target=target)
    assert (await firm.post(REPLAY, {}, alert=sent)).code == "target_off"
    await firm.post(TURN, {"on": True}, target=target)
    assert (await firm.alerts())["alerts"][0]["status"] == "taken"  # which turning on leaves alone


async def test_what_is_anothers_is_404_like_what_does_not_exist(service, receiver):
    firm = await program(service, "enterprise", ALPHA)
    target = (await firm.post(TARGETS, wanted(receiver))).json["id"]
    alert = (await firm.post(TEST, {}, target=target)).json["id"]
    await firm.settled(1)
    before = await firm.alerts()
    strangers = [
        await program(service, *who)
        for who in (("enterprise", BETA), ("provider", "pcl"), ("auditor",))
    ]
    strangers.append(Program(service, service.http.headers["Authorization"].split()[1]))
    for stranger in strangers:
        for path, body, name, known in (
            (TEST, {}, "target", target),
            (TURN, {"on": False}, "target", target),
            (REPLAY, {}, "alert", alert),
        ):
            answers = [await stranger.post(path, body, **{name: id_}) for id_ in (known, "x_0")]
            assert [each.code for each in answers] == ["not_found"] * 2
            assert len({each.body for each in answers}) == 1
    assert await firm.alerts() == before


REFUSED = [
    ({"address": "http://hooks.example/"}, "bad_target"),
    ({"address": "https://10.0.0.1/"}, "bad_target"),
    ({"means": "mail", "address": "a@b.test"}, "bad_target"),  # the operator has no server
    ({"kinds": ["silent"]}, "malformed"),  # of other roles
    ({"kinds": []}, "malformed"),
    ({"means": "pigeon"}, "malformed"),
    ({"language": "fr"}, "malformed"),
    ({"more": 1}, "malformed"),
]


async def test_a_target_that_cannot_be_is_refused(service, receiver):
    firm = await program(service, "enterprise", ALPHA)
    for changes, code in REFUSED:
        assert (await firm.post(TARGETS, wanted(receiver, **changes), "k")).code == code
    for key in ("auto-1", "k" * 129):
        assert (await firm.post(TARGETS, wanted(receiver), key)).code == "malformed"
    assert (await firm.alerts())["targets"] == []
    assert (await firm.post(TARGETS, wanted(receiver), "k")).status == 200
