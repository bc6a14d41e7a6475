"""The log's side of witnessing: have each witness of a policy cosign a checkpoint, all at once.

    async with Witnesses(policy, prove, time_limit_seconds=2) as witnesses:
        answer = await witnesses.ask(note)
        if isinstance(answer, Published):
            serve(answer.note)

Witnesses without a URL in the policy are not asked, nor those whose cosignature the note has. Each
gets the proof from the tree that it has signed last; it names that tree itself (409), and the size
is remembered. A witness that is late, or answers with anything but its cosignature of this very
checkpoint, is left out, and `failures` has the reason. Only a signature that verifies is believed.

Once the quorum is reached, the others have `GRACE_SECONDS` more. A slower witness is not asked for
the next checkpoint meanwhile, and its late answer counts if the same one is asked for again. So it
holds up nobody, and has its line as soon as the log rests.

`Failure.code` is `unreachable`, `too_late`, `refused`, `bad_answer`, or one of two that are grave.
`ahead`: it has signed a larger tree. `contradicted` (422, or a 409 that says so in words): by its
answer, this tree does not grow out of the one that it has signed. Either the witness errs or lies,
or this log has lost entries that others have seen, or has forked.
"""

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import aiohttp

from ledger.cosign import CosignatureVerifier, add_cosignatures, cosigning_times
from ledger.errors import BadNote, BadPolicy
from ledger.note import Checkpoint, parse_signature, split_note
from ledger.quorum import TrustPolicy, Witness
from ledger.witnessing import SIZE_TYPE, AddCheckpoint
from meter.values.foreign_text import one_line

MAX_ANSWER_BYTES: Final = 65_536  # some cosignatures of 100 to 3,300 bytes each
GRACE_SECONDS: Final = 0.25  # for the others: less than anyone waits for a checkpoint

_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,18})\n?")
# C2SP gives two reasons for a 409: another size, which has its type, and another root, in words.
_OTHER_ROOT: Final = re.compile(r"\broots?\b|\bfork|\binconsisten", re.IGNORECASE)

# The hashes that lead from the root of the smaller tree to that of the larger.
Prove = Callable[[int, int], Sequence[bytes]]
Code = Literal["unreachable", "too_late", "refused", "bad_answer", "ahead", "contradicted"]

# The policy of a log without a policy file.
NO_WITNESSES: Final = TrustPolicy(logs=(), witnesses=(), groups=(), quorum=None)


def read_policy(file: Path, vkeys: Collection[str]) -> TrustPolicy:
    """Read the witnesses of a log that signs with these keys; a missing file names none.

    Raises `BadPolicy` for another log's file, and for a quorum that cannot be reached.
    """
    try:
        policy = TrustPolicy.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return NO_WITNESSES
    except (OSError, UnicodeDecodeError):
        raise BadPolicy("it cannot be read as a text in UTF-8", None) from None
    if not {log.verifier.format() for log in policy.logs}.intersection(vkeys):
        raise BadPolicy(f"no log line has a key that signs now: {', '.join(vkeys)}", None)
    if not policy.satisfied_by({each.name for each in policy.witnesses if each.url}):
        raise BadPolicy(f"witnesses with a URL are too few for the quorum {policy.quorum}", None)
    return policy


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a witness, by the policy's name for it, has not cosigned."""

    witness: str
    code: Code
    detail: str

    @property
    def is_grave(self) -> bool:
        """Return whether it may say that the log has lost entries, or has forked."""
        return self.code in ("ahead", "contradicted")


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint to show: it `has_quorum`, or the settings allow to publish without one.

    `note` has the cosignatures, `times` says when each witness signed (seconds since 1970), `asked`
    which ones were asked now.
    """

    note: bytes
    times: dict[str, int]
    asked: tuple[str, ...]
    failures: tuple[Failure, ...]
    has_quorum: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A checkpoint that too few witnesses have cosigned: the one before stays shown."""

    note: bytes
    times: dict[str, int]
    asked: tuple[str, ...]
    failures: tuple[Failure, ...]


class Witnesses:
    """The witnesses of a policy; use it as `async with`, and ask for one checkpoint at a time."""

    def __init__(
        self,
        policy: TrustPolicy,
        prove: Prove,
        *,
        time_limit_seconds: float,
        publish_without_quorum: bool = False,
    ) -> None:
        self._policy = policy
        self._prove = prove
        self._time_limit_seconds = time_limit_seconds
        self._publish_without_quorum = publish_without_quorum
        self._signed_sizes: dict[str, int] = {}
        self._requests: dict[str, _Request] = {}  # the last one to each

    @property
    def are_asked(self) -> bool:
        """Whether the policy has a witness that can be asked."""
        return any(each.url for each in self._policy.witnesses)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Cookies have no use here, and a decompressed body could have any size.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),  # `ask` has its own
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        answers = [request.answer for request in self._requests.values()]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        await self._session.close()

    async def ask(self, note: bytes) -> Published | Held:
        """Collect cosignatures of a checkpoint that the log has signed. Raises `BadNote`.

        Takes the time limit at most.
        """
        text, _ = split_note(note)
        cosigned = self._times(note).keys()
        asked = [each for each in self._policy.witnesses if each.url and each.name not in cosigned]
        for witness in asked:
            self._begin(witness, text, note)
        await self._wait(text, {each.name for each in asked}, set(cosigned))
        answers = [self._answer(witness, text) for witness in asked]
        lines = [answer for answer in answers if isinstance(answer, str)]
        failures = tuple(answer for answer in answers if isinstance(answer, Failure))
        names = tuple(each.name for each in asked)
        return self._decide(add_cosignatures(note, lines), names, failures)

    def _begin(self, witness: Witness, text: str, note: bytes) -> None:
        """Ask a witness, unless it is still at work or has cosigned this very checkpoint."""
        last = self._requests.get(witness.name)
        if last is None or (last.answer.done() and last.cosignature(text) is None):
            answer = asyncio.create_task(self._ask_in_time(witness, note))
            self._requests[witness.name] = _Request(text, answer)

    async def _wait(self, text: str, asked: set[str], cosigned: set[str]) -> None:
        """Wait for all who were asked for a checkpoint, and not for long once there are enough."""
        requests = {name: self._requests[name] for name in asked}
        waiting = {each.answer for each in requests.values() if each.text == text}
        while waiting := {answer for answer in waiting if not answer.done()}:
            answered = {name for name, each in requests.items() if each.cosignature(text)}
            if self._policy.satisfied_by(cosigned | answered):
                await asyncio.wait(waiting, timeout=GRACE_SECONDS)
                return
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    def _answer(self, witness: Witness, text: str) -> str | Failure:
        request = self._requests[witness.name]
        if request.text == text and request.answer.done():
            return request.answer.result()
        return Failure(witness.name, "too_late", "the others had answered before")

    def _times(self, note: bytes) -> dict[str, int]:
        """Return when each witness has cosigned a note, by the policy's names."""
        found = cosigning_times(note, (each.verifier for each in self._policy.witnesses))
        names = {each.verifier.name: each.name for each in self._policy.witnesses}
        return {names[key_name]: time for key_name, time in found.items()}

    def _decide(
        self, note: bytes, asked: tuple[str, ...], failures: tuple[Failure, ...]
    ) -> Published | Held:
        times = self._times(note)
        has_quorum = self._policy.satisfied_by(times.keys())
        if has_quorum or self._publish_without_quorum:
            return Published(note, times, asked, failures, has_quorum)
        return Held(note, times, asked, failures)

    async def _ask_in_time(self, witness: Witness, note: bytes) -> str | Failure:
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                return await self._ask(witness, note)
        except TimeoutError:
            told = f"no answer within {self._time_limit_seconds:g} s"
            return Failure(witness.name, "too_late", told)
        except aiohttp.ClientError as error:
            told = one_line(f"{error}") or type(error).__name__
            return Failure(witness.name, "unreachable", told)

    async def _ask(self, witness: Witness, note: bytes) -> str | Failure:
        text, _ = split_note(note)
        size = Checkpoint.parse(text).size
        # The size that it signed last, as far as is known; asked again if it names another.
        old = min(self._signed_sizes.get(witness.name, 0), size)
        answer = await self._send(witness, note, old, size)
        signed_size = answer.signed_size
        if signed_size is not None:
            self._signed_sizes[witness.name] = signed_size
            if signed_size > size:
                told = f"has signed a tree of {signed_size} entries, this is of {size}"
                return Failure(witness.name, "ahead", told)
            answer = await self._send(witness, note, signed_size, size)
        if answer.status != 200:
            code: Code = "contradicted" if answer.contradicts else "refused"
            return Failure(witness.name, code, answer.words)
        line = _cosignature(answer.body, text, witness.verifier)
        if line is None:
            return Failure(witness.name, "bad_answer", "has not cosigned this checkpoint")
        self._signed_sizes[witness.name] = size
        return line

    async def _send(self, witness: Witness, note: bytes, old: int, size: int) -> "_Answer":
        hashes = await asyncio.to_thread(self._prove, old, size) if old else ()
        async with self._session.post(
            f"{witness.url.rstrip('/')}/add-checkpoint",
            data=AddCheckpoint(old, tuple(hashes), note).format(),
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError("the answer is too long")
            content_type = response.headers.get("Content-Type", "")
            return _Answer(response.status, content_type, bytes(body))


@dataclass(frozen=True, slots=True)
class _Request:
    """The text that a witness was asked to sign, and its answer to come."""

    text: str
    answer: "asyncio.Task[str | Failure]"

    def cosignature(self, text: str) -> str | None:
        """Return the line, if this is the text and it was signed."""
        if self.text != text or not self.answer.done():
            return None
        answer = self.answer.result()
        return answer if isinstance(answer, str) else None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str  # the header's exact value
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def signed_size(self) -> int | None:
        """The size that the witness has signed, if it says that another was named."""
        match = _SIZE.fullmatch(self.text)
        if self.status == 409 and self.content_type == SIZE_TYPE and match:
            return int(match[1])
        return None

    @property
    def contradicts(self) -> bool:
        """Return whether this tree cannot be one with what the witness has signed."""
        if self.status == 409 and self.content_type != SIZE_TYPE:
            return _OTHER_ROOT.search(self.text) is not None
        return self.status == 422

    @property
    def words(self) -> str:
        """Return the answer in one line, for people."""
        return f"{self.status} {self.content_type or 'of no type'}: {one_line(self.text)}"


def _cosignature(body: bytes, text: str, verifier: CosignatureVerifier) -> str | None:
    """Return the first line by this witness, if it verifies; lines of other keys are ignored."""
    for line in body.decode(errors="replace").split("\n"):
        try:
            signature = parse_signature(f"{line}\n")
        except BadNote:
            continue
        if (signature.name, signature.key_id) == (verifier.name, verifier.key_id):
            is_good = verifier.cosigned_at(text, signature.signature) is not None
            return f"{line}\n" if is_good else None
    return None
