"""Trust policies: which logs are trusted, and which cosignatures they need (C2SP tlog-policy).

    # The city's log, seen by two universities of three, and by the auditor.
    log example.com/log+d455c521+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4
    witness auditor example.com/w1+4bafb710+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X
    witness north …
    witness east …
    witness south …
    group universities 2 north east south
    group both all auditor universities
    quorum both

Words are separated by spaces and tabs, a log and a witness may have a URL as a last word, and a
line whose first word begins with # is a comment. A group counts as a witness when enough of its
members do: a number of them, `any` or `all`. Members and the quorum are names from lines above. A
name is a member once at most, over all groups. `quorum none` asks for no witness.

The names are the policy's own, not those of the keys. One rule is our own: no two witnesses have
keys of the same name, because their cosignatures could not be told apart.
"""

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from ledger.cosign import CosignatureVerifier, Cosigned, cosigning_times
from ledger.errors import BadKey, BadNote, BadPolicy, NotWitnessed
from ledger.note import Checkpoint, Verifier, open_note

_WORD: Final = re.compile(r"[^ \t]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_THRESHOLD: Final = re.compile(r"[1-9][0-9]{0,8}")
_NO_QUORUM: Final = "none"
# Errors say this in place of the line, which may hold a secret key by mistake.
_FORMS: Final = "log KEY [URL], witness NAME KEY [URL], group NAME any|all|K NAME…, or quorum NAME"


@dataclass(frozen=True, slots=True)
class Log:
    """A trusted log; its key has the log's origin as its name."""

    verifier: Verifier
    url: str = ""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness with its name in the policy."""

    name: str
    verifier: CosignatureVerifier
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Counts as a witness when `threshold` of its members do."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A policy that was parsed; a group comes after the groups that are its members."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str | None

    def satisfied_by(self, names: AbstractSet[str]) -> bool:
        """Return whether cosignatures of the witnesses with these names are enough."""
        if self.quorum is None:
            return True
        counted = {witness.name for witness in self.witnesses} & names
        for group in self.groups:
            if len(counted.intersection(group.members)) >= group.threshold:
                counted |= {group.name}
        return self.quorum in counted

    def format(self) -> str:
        lines = [
            *(("log", log.verifier.format(), log.url) for log in self.logs),
            *(("witness", w.name, w.verifier.format(), w.url) for w in self.witnesses),
            *(("group", g.name, _format_threshold(g), *g.members) for g in self.groups),
            ("quorum", self.quorum or _NO_QUORUM),
        ]
        return "".join(f"{' '.join(filter(None, words))}\n" for words in lines)

    @classmethod
    def parse(cls, text: str) -> "TrustPolicy":
        """Read a policy file. Raises `BadPolicy`, which names the line."""
        reader = _Reader()
        for reader.line, words in _lines(text):
            try:
                reader.read(words)
            except BadKey as error:
                raise reader.error(error.detail) from error
        return reader.finish()


def open_trusted(data: bytes, policy: TrustPolicy) -> Cosigned:
    """Return the checkpoint of a note that the policy trusts; the times have the policy's names.

    Raises `BadNote` where no trusted log has signed, or a line of a known key is wrong;
    `NotWitnessed` where too few witnesses have cosigned.
    """
    note = open_note(data, (log.verifier for log in policy.logs))
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin not in {signature.name for signature in note.signatures}:
        raise BadNote(f"{checkpoint.origin!r:.200} itself has not signed its checkpoint")
    found = cosigning_times(data, (witness.verifier for witness in policy.witnesses))
    names = {witness.verifier.name: witness.name for witness in policy.witnesses}
    times = {names[key_name]: time for key_name, time in found.items()}
    if not policy.satisfied_by(times.keys()):
        raise NotWitnessed(f"cosigned by {list(times)}, not by {policy.quorum!r}")
    return Cosigned(checkpoint, times)


@dataclass(slots=True)
class _Reader:
    """The parts that were read up to line number `line`."""

    line: int = 0
    logs: list[Log] = field(default_factory=list)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    quorums: list[str] = field(default_factory=list)

    def read(self, words: list[str]) -> None:
        match words:
            case ["log", key, *url] if len(url) <= 1:
                self.add_log(key, *url)
            case ["witness", name, key, *url] if len(url) <= 1:
                self.add_witness(name, key, *url)
            case ["group", name, threshold, *members] if members:
                self.add_group(name, threshold, tuple(members))
            case ["quorum", name]:
                self.add_quorum(name)
            case _:
                raise self.error(f"a line is {_FORMS}")

    def add_log(self, key: str, url: str = "") -> None:
        log = Log(Verifier.parse(key), url)
        if log.verifier.public_key in {each.verifier.public_key for each in self.logs}:
            raise self.error("the key is that of another log")
        self.logs.append(log)

    def add_witness(self, name: str, key: str, url: str = "") -> None:
        self.check_new(name)
        witness = Witness(name, CosignatureVerifier.parse(key), url)
        for other in (each.verifier for each in self.witnesses.values()):
            if other.public_key == witness.verifier.public_key:
                raise self.error("the key is that of another witness")
            if other.name == witness.verifier.name:
                raise self.error("the key has the name of another witness's key")
        self.witnesses[name] = witness

    def add_group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        self.check_new(name)
        for member in members:
            self.check_known(member)
            if member in self.members:
                raise self.error(f"{member!r:.200} is a member already")
            self.members.add(member)
        self.groups[name] = Group(name, self.parse_threshold(threshold, len(members)), members)

    def add_quorum(self, name: str) -> None:
        if self.quorums:
            raise self.error("there is a quorum already")
        if name != _NO_QUORUM:
            self.check_known(name)
        self.quorums.append(name)

    def finish(self) -> TrustPolicy:
        if not self.quorums:
            raise BadPolicy("there is no quorum line", None)
        return TrustPolicy(
            logs=tuple(self.logs),
            witnesses=tuple(self.witnesses.values()),
            groups=tuple(self.groups.values()),
            quorum=None if self.quorums == [_NO_QUORUM] else self.quorums[0],
        )

    def parse_threshold(self, text: str, members: int) -> int:
        if text in ("any", "all"):
            return 1 if text == "any" else members
        if not _THRESHOLD.fullmatch(text) or int(text) > members:
            raise self.error(f"{text!r:.200} is not any, all, or a number from 1 to {members}")
        return int(text)

    def check_new(self, name: str) -> None:
        if name == _NO_QUORUM or name in self.witnesses or name in self.groups:
            raise self.error(f"the name {name!r:.200} is taken")

    def check_known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise self.error(f"no line above defines {name!r:.200}")

    def error(self, detail: str) -> BadPolicy:
        return BadPolicy(detail, self.line)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number, from 1 on, and the words of each line that is not empty or a comment."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if _CONTROL.search(line):
            raise BadPolicy("the line has a control character", number)
        if number == len(lines) and line:
            raise BadPolicy("the line has no line feed", number)
        words = _WORD.findall(line)
        if words and not words[0].startswith("#"):
            yield number, words


def _format_threshold(group: Group) -> str:
    if group.threshold == len(group.members):
        return "all"
    return "any" if group.threshold == 1 else str(group.threshold)
