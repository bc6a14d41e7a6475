"""Webhooks: signed, sent again until taken, and never into the network of the service."""

import asyncio
import base64
import json
import socket
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meter.host.alerts_file import Sending
from meter.host.destinations import check_url, is_public
from meter.host.tokens import Identity
from meter.publish import alerts as sender
from meter.publish import webhooks
from meter.publish.webhooks import Checked
from meter.tables.alerts import AlertBook
from meter.values.problems import Problem
from tests.alerts import receiving, told, wanting
from tests.books import ALPHA, record
from tests.programs import program
from tests.services import HOUR, Clock, ask, authorization, serving, until


@pytest.fixture
async def clock():
    return Clock("2025-03-01T12:00:00+08:00")


@pytest.fixture
async def service(database, tmp_path, clock, receiver):
    async with sending(database, tmp_path, clock, receiver, ["127.0.0.1"]) as service:
        await service.open_books(issued="180.00")
        yield service


def sending(database, folder, clock, receiver, hosts):
    """Serve with what the operator says about alerts."""
    text = f'ca_file = "{receiver.ca}"\n[webhooks]\nhosts = {json.dumps(hosts)}\n'
    return serving(database, folder, clock=clock, files={"alerts.toml": text})


async def use(service):
    """Report an hour that is worth 144 yuan of subsidy, of 180; entries are ahead of the clock."""
    await service.usage([record("r1", "A", *HOUR, 64_000)])
    service.clock.advance(1)


async def attempts(service):
    rows = await ask(
        service.dsn, "SELECT is_taken, detail FROM meter.alert_attempt ORDER BY number"
    )
    return [tuple(row) for row in rows]


async def settled(service, count):
    """Wait until there were so many attempts, and return them."""

    async def are_there():
        return len(await attempts(service)) >= count

    await until(are_there)
    return await attempts(service)


async def is_quiet(service, count):
    """Look for a while, in which nothing more may be sent."""
    await asyncio.sleep(0.2)
    assert len(await attempts(service)) == count


# A message


async def test_a_message_is_signed_for_whoever_has_the_public_key(service, receiver):
    firm = await wanting(service, "enterprise", ALPHA, address=receiver.url())
    await use(service)
    await settled(service, 1)
    (got,) = receiver.got
    (row,) = await ask(service.dsn, "SELECT * FROM meter.alert WHERE target = $1", firm.id)
    assert got.body == row["body"]
    assert got.headers["webhook-id"] == row["id"]
    assert got.headers["Content-Type"] == "application/json"
    assert int(got.headers["webhook-timestamp"]) == service.clock() // 1_000_000
    assert json.loads(got.body)["type"] == "used_80"
    version, _, signature = got.headers["webhook-signature"].partition(",")
    assert version == "v1a"
    signed = f"{row['id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    key = (await service.get("/v1/webhook-key", Authorization="")).json
    prefix, _, raw = key["whpk"].partition("_")
    assert prefix == "whpk"
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(raw))
    public.verify(base64.b64decode(signature), signed)
    secret = service.folder.webhook_key
    assert secret.stat().st_mode & 0o077 == 0


async def test_openssl_takes_the_signature_and_refuses_another_body(service, receiver, tmp_path):
    program("openssl")
    await wanting(service, "enterprise", ALPHA, address=receiver.url())
    await use(service)
    await settled(service, 1)
    (got,) = receiver.got
    key = tmp_path / "webhook.pem"
    key.write_text((await service.get("/v1/webhook-key", Authorization="")).json["pem"])
    head = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode()
    signature = tmp_path / "signature"
    signature.write_bytes(base64.b64decode(got.headers["webhook-signature"].removeprefix("v1a,")))
    for signed, status in ((head + got.body, 0), (head + got.body + b" ", 1)):
        (tmp_path / "signed").write_bytes(signed)
        words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin"]
        words += ["-in", tmp_path / "signed", "-sigfile", signature]
        assert subprocess.run(words, capture_output=True, check=False).returncode == status


# Again and again


async def test_it_is_sent_again_at_longer_and_longer_intervals_and_then_no_more(
    service, receiver, clock
):
    lost = await wanting(service, "enterprise", ALPHA, address=receiver.url())
    other = await wanting(
        service, "enterprise", ALPHA, lost.owner, address=receiver.url(path="/b"), kinds=[]
    )
    receiver.answers = 12 * [503]
    await use(service)
    await settled(service, 1)
    began = clock()
    for number, seconds in enumerate(sender.DELAYS, 2):
        clock.advance(seconds - 1)
        await is_quiet(service, number - 1)
        clock.advance(1)
        await settled(service, number)
    assert sender.DELAYS[0] == 5
    assert sender.DELAYS[-1] == 12 * 3_600
    assert 72 <= (clock() - began) // 3_600_000_000 < 73  # three days
    await until(lambda: holds_told(service, other, ["off"]))
    await settled(service, 13)
    assert [taken for taken, _ in await attempts(service)] == [False] * 12 + [True]
    assert len({got.headers["webhook-id"] for got in receiver.got[:12]}) == 1
    assert receiver.got[12].path == "/b"
    assert json.loads(receiver.got[12].body)["data"]["address"] == lost.address
    (row,) = await ask(service.dsn, "SELECT * FROM meter.alert_target WHERE id = $1", lost.id)
    assert row["off_why"] == "failed"
    await service.usage([record("x", "A", *HOUR, 16_000)], seq=2)
    clock.advance(86_400)
    await is_quiet(service, 13)
    assert await told(service, lost) == ["used_80"]  # nothing more while it is off


async def holds_told(service, target, kinds):
    return await told(service, target) == kinds


async def test_what_was_not_taken_is_sent_when_the_target_is_turned_on(service, receiver, clock):
    token = await authorization(service, "firm", "enterprise", ALPHA)
    target = await wanting(service, "enterprise", ALPHA, "firm", address=receiver.url())
    receiver.answers = [410]
    await use(service)
    await settled(service, 1)
    clock.advance(86_400)
    await is_quiet(service, 1)
    shown = (await service.get("/v1/alerts", Authorization=token)).json
    assert shown["targets"][0]["why"] == "failed"
    assert [each["status"] for each in shown["alerts"]] == ["given_up"]
    assert shown["alerts"][0]["attempts"][0]["detail"] == "410"
    book, who = book_of(service), identity(target)
    await book.turn(who, target.id, "on", clock(), is_on=True)
    await settled(service, 2)
    assert [taken for taken, _ in await attempts(service)] == [False, True]
    await book.send_again(who, shown["alerts"][0]["id"], "again", clock())
    await settled(service, 3)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1


async def test_another_turns_nothing_on_and_sends_nothing_again(service, receiver, clock):
    target = await wanting(service, "enterprise", ALPHA, address=receiver.url())
    other = await wanting(service, "enterprise", ALPHA, address=receiver.url(), kinds=[])
    await use(service)
    await settled(service, 1)
    book = book_of(service)
    id_ = receiver.got[0].headers["webhook-id"]
    for act in (
        book.send_again(identity(other), id_, "k", clock()),
        book.turn(identity(other), target.id, "k", clock(), is_on=False),
        book.test(identity(other), target.id, "k", clock()),
    ):
        with pytest.raises(Problem, match="not_found"):
            await act
    await book.test(identity(other), other.id, "k", clock())
    await book.test(identity(other), other.id, "k", clock())  # a double click
    await settled(service, 2)
    await is_quiet(service, 2)
    assert json.loads(receiver.got[1].body)["type"] == "test"


async def test_a_service_that_was_away_sends_what_waits(database, tmp_path, clock, receiver):
    async with sending(database, tmp_path, clock, receiver, ["127.0.0.1"]) as service:
        await service.open_books(issued="180.00")
        await wanting(service, "enterprise", ALPHA, address=receiver.url())
        receiver.seconds = 60  # it does not answer before the service ends
        await use(service)
        await until(lambda: holds_got(receiver, 1))
    assert await ask(database, "SELECT * FROM meter.alert_attempt") == []
    receiver.seconds = 0
    async with sending(database, tmp_path, clock, receiver, ["127.0.0.1"]) as service:
        await settled(service, 1)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


async def holds_got(receiver, count):
    return len(receiver.got) == count


async def test_a_slow_receiver_is_given_up_and_holds_up_no_other(
    database, tmp_path, clock, receiver, monkeypatch
):
    assert webhooks.TIMEOUT_SECONDS == 5
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 1.5)
    (tmp_path / "quick").mkdir()
    async with (
        receiving(tmp_path / "quick") as quick,
        sending(database, tmp_path, clock, receiver, ["127.0.0.1"]) as service,
    ):
        await service.open_books(issued="180.00")
        slow = await wanting(service, "enterprise", ALPHA, address=receiver.url())
        receiver.seconds = 60
        await use(service)
        await until(lambda: holds_got(receiver, 1))
        quickly = await wanting(service, "enterprise", ALPHA, address=quick.url())
        await book_of(service).test(identity(quickly), quickly.id, "k", clock())
        (first, second) = await settled(service, 2)
    assert "CERTIFICATE_VERIFY_FAILED" in first[1]  # it is by another authority
    assert second == (False, "no answer within 1.5 s")
    assert slow.id != quickly.id


async def test_nothing_goes_to_somebody_who_has_ended(service, receiver):
    firm = await wanting(service, "enterprise", ALPHA, address=receiver.url())
    await ask(service.dsn, "UPDATE meter.person SET ended_at = 1 WHERE id = $1", firm.owner)
    await use(service)

    async def is_off():
        sql = "SELECT off_why FROM meter.alert_target WHERE id = $1"
        return (await ask(service.dsn, sql, firm.id))[0]["off_why"] == "ended"

    await until(is_off)
    assert receiver.got == []


# Where it may go


async def test_a_redirect_is_not_followed(service, receiver):
    await wanting(service, "enterprise", ALPHA, address=receiver.url())
    receiver.answers = [302]
    await use(service)
    assert await settled(service, 1) == [(False, "302")]
    assert [got.path for got in receiver.got] == ["/alerts"]


async def test_no_private_address_is_asked_unless_the_operator_lists_the_host(
    database, tmp_path, clock, receiver
):
    async with sending(database, tmp_path, clock, receiver, ["hooks.test"]) as service:
        await service.open_books(issued="180.00")
        hosts = ("127.0.0.1", "localhost", "2130706433", "127.1", "[::ffff:127.0.0.1]", "[::1]")
        for host in hosts:
            await wanting(service, "enterprise", ALPHA, address=receiver.url(host))
        await use(service)
        found = await settled(service, len(hosts))
    assert {taken for taken, _ in found} == {False}
    assert all("public" in told or "canonical" in told for _, told in found), found
    assert receiver.got == []


async def test_a_name_is_looked_up_once_and_the_connection_goes_where_it_was_looked_at(
    database, tmp_path, clock, receiver, monkeypatch
):
    asked, real = [], socket.getaddrinfo

    def rebinding(host, port, *rest, **more):
        if host != "hooks.test":
            return real(host, port, *rest, **more)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    async with sending(database, tmp_path, clock, receiver, ["hooks.test"]) as service:
        await service.open_books(issued="180.00")
        await wanting(service, "enterprise", ALPHA, address=receiver.url("hooks.test"))
        await use(service)
        assert await settled(service, 1) == [(True, "200")]
    assert asked == ["hooks.test"]


async def test_of_a_name_only_its_public_addresses_are_used(monkeypatch):
    addresses = ["10.0.0.7", "93.184.215.14", "::1", "2606:2800:21f:cb07::1", "169.254.169.254"]

    def found(*_, **__):
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, 443))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    open_, listed = Checked(frozenset()), Checked(frozenset({"hooks.inside"}))
    public = [each["host"] for each in await open_.resolve("hooks.inside", 443)]
    assert public == ["93.184.215.14", "2606:2800:21f:cb07::1"]
    assert [each["host"] for each in await listed.resolve("hooks.inside", 443)] == addresses
    addresses[:] = ["10.0.0.7", "::1"]
    with pytest.raises(OSError, match=r"hooks\.inside has no public address"):
        await open_.resolve("hooks.inside", 443)
    await open_.close()
    await listed.close()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "192.168.1.1", "0.0.0.0"),
        *("169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1"),
        *("fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "64:ff9b::7f00:1"),
        *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "::7f00:1"),
    ],
)
def test_what_is_no_public_address(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"),
        *("64:ff9b::101:101", "2002:101:101::1"),
    ],
)
def test_what_is_a_public_address(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/a", "ftp://hooks.example/", "https://", "https:///a", "hooks"),
        *("https://user@hooks.example/", "https://user:x@hooks.example/", "https://a.example/#b"),
        *("https://127.0.0.1/", "https://[::1]/", "https://[::ffff:a00:1]/", "https://10.0.0.1"),
        *("https://hooks.example:0/", "https://hooks.example:99999/", "https://a.example/ b"),
        *("https://hooks.example/\n", "https://例.example/", f"https://a.example/{'a' * 500}"),
        "https://hooks.example\\@127.0.0.1/",
    ],
)
def test_a_url_to_which_nothing_is_sent(url):
    with pytest.raises(Problem, match="bad_target"):
        check_url(url, ())


def test_a_url_that_is_taken():
    check_url("https://hooks.example:8443/a?b=c", ())
    check_url("https://10.0.0.1/", {"10.0.0.1"})
    check_url("https://1.1.1.1/", ())


def book_of(service):
    """Return what the pages of the service change alerts by."""
    return AlertBook(service.running.readers, Sending())


def identity(target):
    subject = target.audience.partition(":")[2]
    return Identity(target.owner, target.role, subject)
