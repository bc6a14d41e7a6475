"""Alerts by mail, to a real server of mail on this machine."""

import socket
import ssl
from email import message_from_bytes, policy

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from meter.host.alerts_file import BadAlertsFile, read_sending
from meter.publish.mail import letter
from meter.publish.mail_words import SUBJECT, TEXT
from meter.tables.alerts import Due, Target
from meter.views.crossings import KINDS
from tests.alerts import wanting
from tests.books import ALPHA, record
from tests.certificates import Authority
from tests.services import HOUR, ask, serving, until


class Inbox:
    """What a server of mail has taken."""

    def __init__(self) -> None:
        self.letters = []
        self.answers = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802, ARG002 - the library's
        if self.answers:
            return self.answers.pop(0)
        self.letters.append(envelope)
        return "250 taken"


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def inbox():
    box = Inbox()
    server = Controller(box, "127.0.0.1", free_port())
    server.start()
    box.port = server.port
    yield box
    server.stop()


MAIL = (
    '[mail]\nhost = "{host}"\nport = {port}\nsecurity = "{security}"\nsender = "kashi@log.test"\n'
)
LOGIN = 'user = "kashi"\nsecret_file = "mail.secret"\n'
SIGN_IN = 'site = "https://kashi.test"\n'


async def use(service):
    await service.usage([record("r1", "A", *HOUR, 64_000)])
    service.clock.advance(1)


async def attempts(service, count):
    sql = "SELECT is_taken, detail FROM meter.alert_attempt ORDER BY number"

    async def are_there():
        return len(await ask(service.dsn, sql)) >= count

    await until(are_there)
    return [tuple(row) for row in await ask(service.dsn, sql)]


async def test_a_letter_says_what_has_crossed_and_is_sent_again(database, tmp_path, inbox):
    files = {
        "alerts.toml": MAIL.format(host="127.0.0.1", port=inbox.port, security="none"),
        "sign-in.toml": SIGN_IN,
    }
    inbox.answers = ["451 later"]
    async with serving(database, tmp_path, files=files) as service:
        await service.open_books(issued="180.00")
        await wanting(service, "enterprise", ALPHA, means="mail", address="chen@firm.test")
        await use(service)
        ((taken, why),) = await attempts(service, 1)
        assert not taken
        assert "451" in why
        service.clock.advance(5)
        assert (await attempts(service, 2))[1] == (True, "handed over")
        (row,) = await ask(database, "SELECT id FROM meter.alert")
    (envelope,) = inbox.letters
    assert envelope.mail_from == "kashi@log.test"
    assert envelope.rcpt_tos == ["chen@firm.test"]
    found = message_from_bytes(envelope.content, policy=policy.default)
    assert found["Subject"] == "算力券已用 80%"
    assert found["Message-ID"] == f"<{row['id']}@log.test>"
    text = found.get_content()
    assert f"{ALPHA} 的 2025 年券" in text
    assert "已核给 ¥144.00，共 ¥180.00，余额 ¥36.00" in text
    assert "https://kashi.test/zh/alerts" in text


async def test_it_is_handed_over_encrypted_with_a_password(database, tmp_path):
    authority, box = Authority(tmp_path, "ca"), Inbox()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("mail"))
    seen = []

    def authenticate(server, session, envelope, mechanism, data):  # noqa: ARG001
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"geheim")

    server = Controller(
        box,
        "127.0.0.1",
        free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    server.start()
    mail = MAIL.format(host="127.0.0.1", port=server.port, security="starttls")
    files = {
        "alerts.toml": f'ca_file = "{authority.file}"\n{mail}{LOGIN}',
        "mail.secret": "geheim\n",
    }
    try:
        async with serving(database, tmp_path, files=files) as service:
            await service.open_books(issued="180.00")
            await wanting(service, "auditor", means="mail", address="a@b.test", language="en")
            await use(service)
            assert await attempts(service, 1) == [(True, "handed over")]
    finally:
        server.stop()
    assert seen == [(b"kashi", b"geheim")]
    found = message_from_bytes(box.letters[0].content, policy=policy.default)
    assert found["Subject"] == "80 % of a coupon are used"


def sent(kind, language, data):
    target = Target("t", "o", "auditor", "official", "mail", "a@b.test", language, (), 0)
    body = msgspec.json.encode(
        {"type": kind, "timestamp": "2025-03-01T12:00:00+08:00", "data": data}
    )
    return letter(target, Due("msg_1", kind, body, 0, target, may_read=True), "k@log.test", "")


def test_each_kind_has_words_in_both_languages_for_all_that_it_tells():
    facts = {
        **dict.fromkeys(("enterprise", "programme", "issued", "granted", "remaining"), "x"),
        **dict.fromkeys(
            ("last_day", "contract", "provider", "what", "address", "month", "answer_until"), "y"
        ),
        "year": 2025,
    }
    kinds = {kind for own in KINDS.values() for kind in own} | {"off", "test"}
    assert set(SUBJECT) == set(TEXT) == {(k, lang) for k in kinds for lang in ("zh", "en")}
    for kind, language in TEXT:
        assert sent(kind, language, facts)["Subject"] == SUBJECT[kind, language]


def test_no_fact_gets_into_the_head_of_a_letter():
    found = sent("gap", "en", {"provider": "pcl\r\nBcc: all@firm.test"})
    assert found["Bcc"] is None
    assert "Bcc" not in found.as_string().partition("\n\n")[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mail]\nhost = 'a'\n", "sender"),
        (MAIL.format(host="smtp.test", port=25, security="none"), "this machine alone"),
        (MAIL.format(host="smtp.test", port=0, security="tls"), ">= 1"),
        (MAIL.format(host="smtp.test", port=25, security="tls") + "user = 'a'\n", "together"),
        ("[webhooks]\nhosts = 'a'\n", "Expected `array`"),
        ("ca_file = 'none.pem'\n", "none.pem"),
        ("[other]\n", "other"),
        ("[", "alerts.toml"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, text, says):
    (tmp_path / "alerts.toml").write_text(text)
    with pytest.raises(BadAlertsFile, match=says):
        read_sending(tmp_path)
