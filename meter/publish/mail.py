"""Alerts by mail: a short text in the language that the target was made in.

The operator's server takes it (`host.alerts_file`), within ten seconds. An address is checked for
its form only: the mail itself shows whether somebody reads it.
"""

import ssl
from email.message import EmailMessage
from typing import Any, Final

import aiosmtplib
import msgspec

from meter.host.alerts_file import MailServer
from meter.host.destinations import check_mail
from meter.publish.mail_words import FOOT, SUBJECT, TEXT
from meter.publish.webhooks import Outcome
from meter.tables.alerts import Due, Target
from meter.values.foreign_text import one_line
from meter.values.problems import Problem

TIMEOUT_SECONDS: Final = 10.0


class Mail:
    """Hands mail over to one server; `site` is where browsers see the service, if anywhere."""

    def __init__(self, server: MailServer, tls: ssl.SSLContext, site: str) -> None:
        self._server = server
        self._tls = tls
        self._site = site

    @property
    def sender(self) -> str:
        """The address from which letters come."""
        return self._server.sender

    async def send(self, target: Target, due: Due) -> Outcome:
        """Hand a message over."""
        try:
            check_mail(target.address)
        except Problem as problem:
            return Outcome(is_taken=False, detail=problem.detail)
        return await self.hand_over(letter(target, due, self.sender, self._site))

    async def hand_over(self, message: EmailMessage) -> Outcome:
        """Hand a letter over."""
        server = self._server
        try:
            await aiosmtplib.send(
                message,
                hostname=server.host,
                port=server.port,
                use_tls=server.security == "tls",
                start_tls=server.security == "starttls",
                tls_context=None if server.security == "none" else self._tls,
                username=server.user or None,
                password=server.secret or None,
                timeout=TIMEOUT_SECONDS,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            told = one_line(f"{error}") or type(error).__name__
            return Outcome(is_taken=False, detail=told)
        return Outcome(is_taken=True, detail="handed over")


def letter(target: Target, due: Due, sender: str, site: str) -> EmailMessage:
    """Return the mail of a message; its Message-ID is the same in each attempt."""
    told: dict[str, Any] = msgspec.json.decode(due.body)
    facts = {name: str(value) for name, value in told["data"].items()}
    found = EmailMessage()
    found["Subject"] = SUBJECT[due.kind, target.language]
    found["From"] = sender
    found["To"] = target.address
    found["Message-ID"] = f"<{due.id}@{sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    lines = [TEXT[due.kind, target.language].format_map(facts), "", told["timestamp"], due.id]
    if site:
        lines += ["", FOOT[target.language].format(url=f"{site}/{target.language}/alerts")]
    found.set_content("\n".join(lines) + "\n")
    return found
