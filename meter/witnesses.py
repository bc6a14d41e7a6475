"""The log's side of witnessing: have each witness of a policy cosign a checkpoint, all at once.

    async with Witnesses(policy, prove, time_limit_seconds=2) as witnesses:
        answer = await witnesses.ask(note)
        if isinstance(answer, Published):
            serve(answer.note)

Witnesses without a URL in the policy are not asked. Each gets the proof from the tree that it has
signed last; what that is, it says itself (409), and it is remembered for the next time. A witness
that is late, or answers anything else than its cosignature of this very checkpoint, is left out,
and `failures` tells why. Nothing of an answer is believed but a signature that verifies.

`Failure.code` is `unreachable`, `too_late`, `refused`, `bad_answer`, or `ahead`: it has signed a
larger tree. That one is grave. Either the witness lies, or this log has lost entries that others
have seen; and so is a refusal with status 422, which may say that the log has forked.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import aiohttp

from ledger.cosign import CosignatureVerifier, add_cosignatures, cosigning_times
from ledger.errors import BadNote
from ledger.note import Checkpoint, parse_signature, split_note
from ledger.quorum import TrustPolicy, Witness
from ledger.witnessing import AddCheckpoint

MAX_ANSWER_BYTES: Final = 65_536  # some cosignatures of 100 to 3,300 bytes each
SIZE_TYPE: Final = "text/x.tlog.size"

_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")

# The hashes that lead from the root of the smaller tree to that of the larger.
Prove = Callable[[int, int], Sequence[bytes]]
Code = Literal["unreachable", "too_late", "refused", "ahead", "bad_answer"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a witness, by the policy's name for it, has not cosigned."""

    witness: str
    code: Code
    detail: str


@dataclass(frozen=True, slots=True)
class Published:
    """To be shown: `has_quorum`, or published without one because the settings say so.

    `note` has the cosignatures, `times` says when each witness signed (seconds since 1970).
    """

    note: bytes
    times: dict[str, int]
    failures: tuple[Failure, ...]
    has_quorum: bool


@dataclass(frozen=True, slots=True)
class Held:
    """Too few witnesses have cosigned: the checkpoint before stays the one that is shown."""

    note: bytes
    times: dict[str, int]
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

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Nobody needs cookies, and what is unfolded could be of any size.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),  # `ask` has its own
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, note: bytes) -> Published | Held:
        """Collect cosignatures of a checkpoint that the log has signed. Raises `BadNote`.

        Takes as long as the slowest witness, and at most the time limit.
        """
        asked = [witness for witness in self._policy.witnesses if witness.url]
        answers = await asyncio.gather(*(self._ask_in_time(witness, note) for witness in asked))
        lines = [answer for answer in answers if isinstance(answer, str)]
        failures = tuple(answer for answer in answers if isinstance(answer, Failure))
        return self._decide(add_cosignatures(note, lines), failures)

    def _decide(self, note: bytes, failures: tuple[Failure, ...]) -> Published | Held:
        found = cosigning_times(note, (each.verifier for each in self._policy.witnesses))
        names = {each.verifier.name: each.name for each in self._policy.witnesses}
        times = {names[key_name]: time for key_name, time in found.items()}
        has_quorum = self._policy.satisfied_by(times.keys())
        if has_quorum or self._publish_without_quorum:
            return Published(note, times, failures, has_quorum)
        return Held(note, times, failures)

    async def _ask_in_time(self, witness: Witness, note: bytes) -> str | Failure:
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                return await self._ask(witness, note)
        except TimeoutError:
            told = f"no answer within {self._time_limit_seconds:g} s"
            return Failure(witness.name, "too_late", told)
        except aiohttp.ClientError as error:
            return Failure(witness.name, "unreachable", f"{error or type(error).__name__}"[:200])

    async def _ask(self, witness: Witness, note: bytes) -> str | Failure:
        text, _ = split_note(note)
        size = Checkpoint.parse(text).size
        # What it has signed last, as far as is known; once more if it says otherwise.
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
            return Failure(witness.name, "refused", f"{answer.status}: {answer.body[:200]!r}")
        line = _cosignature(answer.body, text, witness.verifier)
        if line is None:
            return Failure(witness.name, "bad_answer", "has not cosigned this checkpoint")
        self._signed_sizes[witness.name] = size
        return line

    async def _send(self, witness: Witness, note: bytes, old: int, size: int) -> "_Answer":
        hashes = self._prove(old, size) if old else ()
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
            return _Answer(response.status, response.content_type, bytes(body))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytes

    @property
    def signed_size(self) -> int | None:
        """The size that the witness has signed, if it says that another was named."""
        match = _SIZE.fullmatch(self.body)
        if self.status == 409 and self.content_type == SIZE_TYPE and match:
            return int(match[1])
        return None


def _cosignature(body: bytes, text: str, verifier: CosignatureVerifier) -> str | None:
    """The first line by this witness, if it verifies; lines of other keys are ignored."""
    for line in body.decode(errors="replace").split("\n"):
        try:
            signature = parse_signature(f"{line}\n")
        except BadNote:
            continue
        if (signature.name, signature.key_id) == (verifier.name, verifier.key_id):
            is_good = verifier.cosigned_at(text, signature.signature) is not None
            return f"{line}\n" if is_good else None
    return None
