"""What a monitor reports, as lines for people: the same facts as its lines of JSON.

2025-03-02T12:00:00+08:00 ALARM gap, inc-5d0c1ab27d3e: pcl, stream main: no batches 3 to 3 since…
2025-03-02T12:10:00+08:00 over: gap, inc-5d0c1ab27d3e: pcl, stream main: no batches 3 to 3 since…
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.auditor.alarms import Kind
from meter.languages import Speech
from meter.values.worded import worded

KIND_WORDS: Final[Mapping[Kind, str]] = {
    "fork": worded("fork"),
    "violation": worded("violation"),
    "rollback": worded("rollback"),
    "damage": worded("damage"),
    "untrusted": worded("untrusted"),
    "gap": worded("gap"),
    "silence": worded("silence"),
    "disk": worded("disk"),
    "space": worded("space"),
    "recovered": worded("recovered"),
}
_ALARMS: Final[Mapping[str, str]] = {
    "on": worded("ALARM {kind}, {incident}: {told}"),
    "off": worded("over: {kind}, {incident}: {told}"),
}
# Of an incident that somebody looks after; it is on again after a restart.
_ACKNOWLEDGED: Final = worded("acknowledged: {kind}, {incident}: {told}: {reason}")
_OVER: Final = worded("over: {kind}, {incident}: {told}: {reason}")
_NOT_TAKEN: Final = {
    "notice_failed": worded("a message was not taken, and is sent again: {told}"),
    "notice_lost": worded("a message was not taken, and is given up: {told}"),
}


def line_of(report: Mapping[str, Any], speech: Speech) -> str:
    """Return what a monitor reports in words of a language."""
    told = speech.retell(report.get("detail", ""))
    match report:
        case {"alarm": kind, "incident": incident, "state": state}:
            facts = {"kind": _kind(kind, speech), "incident": incident, "told": told}
            if "reason" in report:
                words = _OVER if state == "off" else _ACKNOWLEDGED
                text = speech.say(words, reason=report["reason"], **facts)
            else:
                text = speech.say(_ALARMS[state], **facts)
        case {"event": "question"}:
            text = speech.say("question: {told}", told=told)
        case {"event": "failed"}:
            text = speech.say("the look failed: {told}", told=told)
        case {"event": "followed"}:
            text = speech.say(
                "followed to {size} entries, {judged} judged: root {root}",
                **{name: report[name] for name in ("size", "judged", "root")},
            )
        case {"event": "notice_failed" | "notice_lost" as event}:
            text = speech.say(_NOT_TAKEN[event], told=told)
        case {"event": "listening", "url": url}:
            return speech.say("metrics at {url}", url=url)
        case {"notice": notice, "token": token, "since": since}:
            text = _notice(notice, token, since, speech)
        case _:
            raise ValueError(f"no report of a monitor: {report!r:.200}")
    return f"{report['at']} {text}"


def _kind(kind: Kind, speech: Speech) -> str:
    """Return the word for a kind, which stays beside a translation of it."""
    word = speech.say(KIND_WORDS[kind])
    return kind if word == kind else f"{word} ({kind})"


def _notice(notice: str, token: str, since: str, speech: Speech) -> str:
    match notice:
        case "token_made":
            return speech.say("token {token} was made, {since}", token=token, since=since)
        case "token_revoked":
            return speech.say("token {token} was revoked, {since}", token=token, since=since)
    return speech.say("token {token} is in the list no more", token=token)
