"""What a monitor raises, sent as webhooks and mail: each line of an alarm to each target.

    POST /hook HTTP/1.1               signed as `publish.webhooks` says, by DIR/webhook.key

    {"type":"monitor.on","timestamp":"2025-03-02T12:00:00+08:00",
     "data":{"alarm":"gap","incident":"inc-5d0c1ab27d3e","detail":"pcl, stream main: …"}}

The service's own ways of sending carry it: `publish.webhooks`, `publish.mail`, and its pauses. What
waits stands in DIR/outbox.json before the line is printed, so a restart sends it; where the disk
takes nothing, it waits in memory. A receiver may get a message twice, under one id.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ledger.errors import CannotCheck
from meter.auditor.alarms import FILE, Say, read_incidents
from meter.auditor.verdict import replace_file
from meter.host.alerts_file import BadAlertsFile, read_sending
from meter.host.data_folder import DataFolder
from meter.host.destinations import Means, check_mail, check_url
from meter.host.keys import public_text, webhook_key
from meter.publish.alerts import DELAYS
from meter.publish.mail import Mail
from meter.publish.webhooks import Outcome, Webhooks
from meter.values.problems import Problem
from meter.values.units import format_instant

OUTBOX: Final = "outbox.json"
POLL_SECONDS: Final = 1.0
MAX_WAITING: Final = 1_000  # messages; a log that goes wrong everywhere could fill the disk
_SUBJECT: Final = {"on": "告警 alarm", "acknowledged": "已确认 acknowledged", "off": "解除 over"}


class Target(Struct, frozen=True):
    """Where messages go."""

    means: Means
    address: str


class Waiting(Struct, frozen=True, kw_only=True):
    """A message to one target; `due_at` in seconds since 1970."""

    id: str
    target: Target
    body: str  # JSON, as it is signed
    attempts: int = 0
    due_at: int = 0


class Notices:
    """The messages of one monitor that wait. Its methods may be called from any thread."""

    def __init__(
        self, folder: Path, targets: Sequence[Target], say: Say, clock: Callable[[], int]
    ) -> None:
        """Begin with what a folder keeps. Raises `CannotCheck`."""
        self._path, self._targets, self._say, self._clock = folder / OUTBOX, targets, say, clock
        self._lock = threading.Lock()
        self._known = {each.id for each in read_incidents(folder / FILE)}
        self._waiting = _read(self._path)
        self._saved = list(self._waiting)

    def say(self, line: dict[str, Any]) -> None:
        """Put a line of an alarm into the outbox, and print it; other lines are only printed.

        What was on before this start was told before it.
        """
        is_repeated = line.get("state") == "on" and line["incident"] in self._known
        if "alarm" in line and not is_repeated:
            self._put([_message(line, each, self._clock()) for each in self._targets])
        self._say(line)

    def _put(self, messages: list[Waiting]) -> None:
        with self._lock:
            room = MAX_WAITING - len(self._waiting)
            self._waiting += messages[:room]
            self._save()
        for each in messages[room:]:
            self._tell("notice_lost", each, f"{MAX_WAITING} messages wait already")

    def due(self, busy: Collection[Target]) -> list[Waiting]:
        """Return the first message that is due to each target that is not busy."""
        first: dict[Target, Waiting] = {}
        now = self._clock()
        with self._lock:
            for each in self._waiting:
                if each.due_at <= now and each.target not in busy:
                    first.setdefault(each.target, each)
        return list(first.values())

    def settle(self, sent: Waiting, outcome: Outcome) -> None:
        """Drop a message that was taken, or in vain for too long; let another one wait."""
        is_last = outcome.is_over or sent.attempts >= len(DELAYS)
        if not outcome.is_taken:
            self._tell("notice_lost" if is_last else "notice_failed", sent, outcome.detail)
        with self._lock:
            place = next(i for i, each in enumerate(self._waiting) if each.id == sent.id)
            if outcome.is_taken or is_last:
                del self._waiting[place]
            else:
                due_at = self._clock() + DELAYS[sent.attempts]
                self._waiting[place] = msgspec.structs.replace(
                    sent, attempts=sent.attempts + 1, due_at=due_at
                )
            self._save()

    def _tell(self, event: str, message: Waiting, detail: str) -> None:
        at = format_instant(self._clock())
        told = {"message": message.id, "means": message.target.means, "detail": detail}
        self._say({"event": event, "at": at, **told})

    def _save(self) -> None:
        """Keep what waits; a disk that takes nothing is an alarm of the monitor's own."""
        if self._waiting != self._saved:
            with suppress(OSError):
                replace_file(self._path, msgspec.json.encode(self._waiting))
                self._saved = list(self._waiting)


@asynccontextmanager
async def sending(
    folder: Path, urls: Sequence[str], addresses: Sequence[str], say: Say
) -> AsyncIterator[Say]:
    """Yield what says a monitor's lines, prints them, and sends those of alarms to all targets.

    DIR/alerts.toml says how (`host.alerts_file`). Raises `CannotCheck`.
    """
    if not urls and not addresses:
        yield say
        return
    try:
        settings, key = read_sending(folder), webhook_key(DataFolder(folder))
        for url in urls:
            check_url(url, settings.hosts)
        for address in addresses:
            check_mail(address)
    except BadAlertsFile as error:
        raise CannotCheck(str(error)) from error
    except Problem as problem:
        raise CannotCheck(problem.detail) from problem
    if addresses and settings.mail is None:
        raise CannotCheck(f"{folder}/alerts.toml has no section [mail]")
    mail = None if settings.mail is None else Mail(settings.mail, settings.tls(), "")
    targets = [*(Target("webhook", each) for each in urls)]
    targets += [Target("mail", each) for each in addresses]
    notices = Notices(folder, targets, say, lambda: int(time.time()))
    if urls:
        say({"event": "webhook_key", "public_key": public_text(key)})
    async with Webhooks(settings, key) as webhooks:
        task = asyncio.create_task(_send_for_ever(notices, webhooks, mail))
        try:
            yield notices.say
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _send_for_ever(notices: Notices, webhooks: Webhooks, mail: Mail | None) -> None:
    """Send what is due, one message at a time to a target, so that a slow one holds up no other."""
    tasks: dict[Target, asyncio.Task[None]] = {}

    async def send(each: Waiting) -> None:
        notices.settle(each, await _attempt(each, webhooks, mail))

    try:
        while True:
            tasks = {target: task for target, task in tasks.items() if not task.done()}
            for each in notices.due(tasks.keys()):
                tasks[each.target] = asyncio.create_task(send(each))
            await asyncio.sleep(POLL_SECONDS)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _attempt(waiting: Waiting, webhooks: Webhooks, mail: Mail | None) -> Outcome:
    target = waiting.target
    if target.means == "webhook":
        return await webhooks.send(
            target.address, waiting.id, waiting.body.encode(), int(time.time())
        )
    if mail is None:
        return Outcome(is_taken=False, detail="alerts.toml has no section [mail] any more")
    return await mail.hand_over(letter(waiting, mail.sender))


def letter(waiting: Waiting, sender: str) -> EmailMessage:
    """Return the mail of a message, in Chinese and English at once."""
    told: dict[str, Any] = msgspec.json.decode(waiting.body)
    data = told["data"]
    state = told["type"].removeprefix("monitor.")
    found = EmailMessage()
    found["Subject"] = f"Kashi: {_SUBJECT[state]}: {data['alarm']} {data['incident']}"
    found["From"] = sender
    found["To"] = waiting.target.address
    found["Message-ID"] = f"<{waiting.id}@{sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    lines = [data["detail"], *([data["reason"]] if "reason" in data else []), "", told["timestamp"]]
    found.set_content("\n".join(lines) + "\n")
    return found


def _message(line: dict[str, Any], target: Target, now: int) -> Waiting:
    state: Literal["on", "acknowledged", "off"] = line["state"]
    names = ("alarm", "incident", "detail", "reason")
    data = {name: line[name] for name in names if name in line}
    body = {"type": f"monitor.{state}", "timestamp": line["at"], "data": data}
    named = "\n".join((line["incident"], state, target.means, target.address)).encode()
    id_ = f"msg_{sha256(named).hexdigest()[:32]}"
    return Waiting(id=id_, target=target, body=msgspec.json.encode(body).decode(), due_at=now)


def _read(path: Path) -> list[Waiting]:
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Waiting])
    except (OSError, ValueError) as error:
        raise CannotCheck(f"the outbox in {path} cannot be read: {error}") from error
