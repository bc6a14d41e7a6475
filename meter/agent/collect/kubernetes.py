"""Read runs from a Kubernetes cluster: its pods and resource claims, by list and watch.

A run is a pod, by its UID, from when it was scheduled until its last container finished, or until
it was deleted. Restarts of containers change nothing. A pod that never was scheduled is no run. A
run is also an allocation of a resource claim (DRA), however many pods share it, until it ends.

The first reading lists all of them. Each later one asks for what changed since (a watch of some
seconds): what did not change goes on, where a bookmark says that all changes were told. Where the
changes are known no more (410), all are listed and compared: what is gone was seen last at the
reading before, and nobody knows for how long it ran on.

What a pod holds are its effective requests: of containers together, or of an init container where
that is more. All extended resources (`nvidia.com/gpu`) count, and the map says what they are. The
metrics of cards are not read: labels lack, and allocations outlive pods.
"""

import asyncio
import os
import re
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, NoReturn, Self, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from meter.agent.config import KubernetesSettings
from meter.agent.devices import THOUSANDTHS, UNREAD
from meter.agent.usage import Reading, Run, Standing, first_end
from meter.client import open_session, plain_chunks, trust
from meter.values.units import parse_instant

PAGE: Final = 500
WATCH_SECONDS: Final = 5
MAX_OBJECT_BYTES: Final = 4 << 20  # etcd takes 1.5 MB
MAX_ANSWER_BYTES: Final = 256 << 20  # of a page, or of a watch; most pods have some 10 kB
MAX_DEPTH: Final = 12_000  # of what is nested; an API server takes 10,000
_SECONDS: Final = 300
_TIMEOUT: Final = aiohttp.ClientTimeout(total=_SECONDS, sock_read=60)
_CHUNK_BYTES: Final = 64 << 10
_GOOD: Final = 200
_NOT_FOUND: Final = 404
_GONE: Final = 410
_OVER: Final = frozenset({"Succeeded", "Failed"})
# They tell when a pod stopped that has no container to tell it: one that was evicted at once.
_STOPPED: Final = frozenset({"Ready", "ContainersReady", "DisruptionTarget"})
_ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_QUANTITY: Final = re.compile(r"([0-9]{1,15})(k|M|G|Ki|Mi|Gi)?", re.ASCII)
_FACTORS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9} | {
    f"{name}i": 1 << shift for name, shift in (("K", 10), ("M", 20), ("G", 30))
}
_STATE_LENGTH: Final = 128
_T = TypeVar("_T")


class Meta(Struct, frozen=True, rename="camel"):
    """The metadata of an object."""

    resource_version: str = ""
    uid: str = ""
    name: str = ""
    namespace: str = ""
    labels: Mapping[str, str] = {}
    deletion_timestamp: str | None = None
    continue_: str = msgspec.field(default="", name="continue")


class Terminated(Struct, frozen=True, rename="camel"):
    """How a container ended."""

    finished_at: str | None = None


class State(Struct, frozen=True):
    """The state of a container."""

    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True):
    """What is known of a container."""

    state: State = State()


class Condition(Struct, frozen=True, rename="camel"):
    """A condition of a pod, and when it became so."""

    type: str
    status: str
    last_transition_time: str | None = None


class Status(Struct, frozen=True, rename="camel"):
    """What is known of a pod."""

    phase: str = ""
    reason: str = ""
    conditions: Sequence[Condition] = ()
    container_statuses: Sequence[ContainerStatus] = ()
    init_container_statuses: Sequence[ContainerStatus] = ()


class Resources(Struct, frozen=True):
    """The requests and limits of a container."""

    requests: Mapping[str, str | int] = {}
    limits: Mapping[str, str | int] = {}


class Container(Struct, frozen=True, rename="camel"):
    """A container as it was asked for."""

    resources: Resources = Resources()
    restart_policy: str = ""


class Spec(Struct, frozen=True, rename="camel"):
    """A pod as it was asked for."""

    containers: Sequence[Container] = ()
    init_containers: Sequence[Container] = ()
    resource_claims: Sequence[Any] = ()


class Pod(Struct, frozen=True):
    """What is read of a pod; all else is passed over."""

    metadata: Meta
    spec: Spec = Spec()
    status: Status = Status()


class NamedClass(Struct, frozen=True, rename="camel"):
    """A class of devices that is asked for; `name` is that of a choice."""

    device_class_name: str = ""
    name: str = ""


class ClaimRequest(Struct, frozen=True, rename="camel"):
    """A request of a claim: for one class, or for the first of several that can be had."""

    name: str
    exactly: NamedClass | None = None
    first_available: Sequence[NamedClass] = ()


class Wanted(Struct, frozen=True):
    """What a claim asks for."""

    requests: Sequence[ClaimRequest] = ()


class ClaimSpec(Struct, frozen=True):
    """A claim as it was made."""

    devices: Wanted = Wanted()


class Result(Struct, frozen=True, rename="camel"):
    """A device that a claim was given; `request` is `NAME` or `NAME/CHOICE`."""

    request: str
    admin_access: bool | None = None
    share_id: str | None = msgspec.field(default=None, name="shareID")


class Given(Struct, frozen=True):
    """The devices that a claim was given."""

    results: Sequence[Result] = ()


class Allocation(Struct, frozen=True, rename="camel"):
    """What a claim was given, and since when, where that is told."""

    devices: Given = Given()
    allocation_timestamp: str | None = None


class ClaimStatus(Struct, frozen=True):
    """What is known of a claim."""

    allocation: Allocation | None = None


class Claim(Struct, frozen=True):
    """What is read of a resource claim (resource.k8s.io/v1)."""

    metadata: Meta
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


Item = Pod | Claim


@dataclass(frozen=True, slots=True)
class Kind:
    """Where objects of a kind are, what each is read as, and how the ids of their runs go on."""

    path: str
    type: type[Pod] | type[Claim]
    infix: str


PODS: Final = Kind("/api/v1/pods", Pod, "")
CLAIMS: Final = Kind("/apis/resource.k8s.io/v1/resourceclaims", Claim, "claim:")


class Cursor(Struct, frozen=True):
    """The versions after what was read; `claims` is empty where a cluster has none of them."""

    pods: str = ""
    claims: str = ""


class Page(Struct, frozen=True):
    """A page of objects."""

    metadata: Meta
    items: Sequence[msgspec.Raw]


class Problem(Struct, frozen=True):
    """What the API server answers instead (`Status` there)."""

    code: int = 0
    message: str = ""


class Event(Struct, frozen=True):
    """A line of a watch."""

    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Listed:
    """All objects of a kind at some time, and the version after them."""

    items: Sequence[Item]
    version: str
    at: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed, as (type, object), since before some time; and the version after it.

    It `is_whole` where a bookmark said that nothing more had changed by then.
    """

    events: Sequence[tuple[str, Item]]
    version: str
    at: int
    is_whole: bool


class ApiError(Exception):
    """The API server did not answer, or not well."""


class GoneError(ApiError):
    """The changes since a version are known no more."""


class AbsentError(ApiError):
    """The server has no objects of a kind."""


class Api:
    """An API server, as `async with Api(…) as api`."""

    def __init__(self, url: str, token: Path | None, tls: ssl.SSLContext) -> None:
        self._url, self._token, self._tls = url.rstrip("/"), token, tls

    @classmethod
    def of(cls, settings: KubernetesSettings) -> Self:
        """Return the API server that is named, or that of the cluster whose pod this process is.

        Raises `ApiError` and `OSError`.
        """
        if settings.url is not None:
            token = None if settings.token is None else Path(settings.token)
            return cls(settings.url, token, settings.trust())
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{each}", "") for each in ("HOST", "PORT"))
        if not host:
            raise ApiError("this process is no pod, and [kubernetes] has no `url`")
        host = f"[{host}]" if ":" in host else host
        tls = trust(_ACCOUNT_FOLDER / "ca.crt", None, None)
        return cls(f"https://{host}:{port}", _ACCOUNT_FOLDER / "token", tls)

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json"}
        if self._token is not None:  # it is renewed from time to time
            headers["Authorization"] = f"Bearer {self._token.read_text(encoding='ascii').strip()}"
        self._http = open_session(headers, _SECONDS, self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def all(self, kind: Kind) -> Listed:
        """Return all objects of a kind. Raises `AbsentError` where the server knows none."""
        found: list[Item] = []
        after, at = "", 0
        while True:
            query = {"limit": str(PAGE)} | ({"continue": after} if after else {})
            async with self._get(kind, query) as response:
                page = _decoded(b"".join([each async for each in _chunks(response)]), Page)
                at = at or _date(response)  # what came later is not in the first page
            found += (_decoded(each, kind.type) for each in page.items)
            after = page.metadata.continue_
            if not after:
                return Listed(found, page.metadata.resource_version, at)

    async def changes(self, kind: Kind, version: str) -> Changes:
        """Return what changed since a version. Raises `GoneError`."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        found: list[tuple[str, Item]] = []
        is_whole = False
        async with self._get(kind, query | {"allowWatchBookmarks": "true"}) as response:
            async for line in _lines(response):
                event = _decoded(line, Event)
                if event.type == "ERROR":
                    _raise(_decoded(event.object, Problem))
                item = _decoded(event.object, kind.type)
                version = item.metadata.resource_version
                if event.type == "BOOKMARK":
                    is_whole = True
                else:
                    found.append((event.type, item))
            return Changes(found, version, _date(response), is_whole)

    @asynccontextmanager
    async def _get(
        self, kind: Kind, query: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._http.get(
            f"{self._url}{kind.path}", params=query, timeout=_TIMEOUT, allow_redirects=False
        ) as response:
            if response.status != _GOOD:
                body = await response.content.read(MAX_OBJECT_BYTES)
                try:
                    told = _decoded(body, Problem).message
                except ValueError:
                    told = response.reason or ""
                _raise(Problem(response.status, told))
            yield response


def _date(response: aiohttp.ClientResponse) -> int:
    return int(parsedate_to_datetime(response.headers.get("Date", "")).timestamp())


def _raise(problem: Problem) -> NoReturn:
    kind = {_GONE: GoneError, _NOT_FOUND: AbsentError}.get(problem.code, ApiError)
    raise kind(f"the API server answers {problem.code}: {problem.message:.500}")


def _decoded(data: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    """Return what JSON says, however deep it is nested. Raises `ValueError`.

    Who makes a claim may nest its parameters deeper than Python goes, and must stop no reading.
    """
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(MAX_DEPTH)
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise ValueError("an object is nested too deeply") from None
    finally:
        sys.setrecursionlimit(usual)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield an answer, which is not compressed, as it comes. Raises `ApiError`."""
    size_bytes = 0
    async for chunk in plain_chunks(response, _CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > MAX_ANSWER_BYTES:
            raise ApiError(f"an answer has more than {MAX_ANSWER_BYTES} bytes")
        yield chunk


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of an answer; one without its end is not whole."""
    rest = b""
    async for chunk in _chunks(response):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in filter(None, lines):
            yield line
        if len(rest) > MAX_OBJECT_BYTES:
            raise ApiError(f"an object has more than {MAX_OBJECT_BYTES} bytes")


# Readings


def prefix_of(settings: KubernetesSettings) -> str:
    """Return how the ids of a cluster's runs begin."""
    return f"k8s:{settings.cluster}:"


async def read(
    settings: KubernetesSettings,
    known: Mapping[str, tuple[Run, int]],
    cursor: str | None,
    otherwise_at: int,
) -> Reading:
    """Return what changed, and what goes on.

    `known` are the runs without an end, each with the time when it was last seen. `otherwise_at` is
    the time of the reading where the API server tells none.
    """
    before = msgspec.json.decode(cursor, type=Cursor) if cursor else Cursor()
    try:
        async with Api.of(settings) as api:
            found = await asyncio.gather(
                _read(api, settings, PODS, before.pods, known),
                _read(api, settings, CLAIMS, before.claims, known),
            )
    except (ApiError, aiohttp.ClientError, OSError, ValueError) as error:
        fault = f"kubernetes: {f'{error}' or type(error).__name__}"
        return Reading(otherwise_at, otherwise_at, {}, (fault,))
    pods, claims = found
    runs = {**pods.runs, **claims.runs}
    if not claims.version:  # the claims of pods cannot be read
        runs |= {id_: _with_claims(run) for id_, run in pods.claiming.items()}
    after = Cursor(pods.version, claims.version)
    at = min(each.at for each in found if each.version)
    return Reading(
        at=at,
        since=first_end(runs.values(), at),
        runs=runs,
        faults=tuple(dict.fromkeys(pods.faults + claims.faults)),
        cursor=msgspec.json.encode(after).decode(),
    )


@dataclass(slots=True)
class _Found:
    """The runs of a kind, the pods among them that have claims, and the version after them."""

    at: int = 0
    version: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    claiming: dict[str, Run] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def note(self, item: Item, run: Run) -> None:
        self.runs[run.id] = run
        if isinstance(item, Pod) and item.spec.resource_claims:
            self.claiming[run.id] = run


async def _read(
    api: Api,
    settings: KubernetesSettings,
    kind: Kind,
    version: str,
    known: Mapping[str, tuple[Run, int]],
) -> _Found:
    """Read what changed of a kind, or all of it."""
    own = {id_: each for id_, each in known.items() if _kind_of(id_, settings) is kind}
    try:
        if version:
            return _changed(await api.changes(kind, version), settings, own)
    except GoneError:
        pass
    try:
        return _compared(await api.all(kind), settings, own)
    except AbsentError:
        if kind is CLAIMS and not own:
            return _Found()
        raise


def _kind_of(id_: str, settings: KubernetesSettings) -> Kind:
    return CLAIMS if id_.startswith(prefix_of(settings) + CLAIMS.infix) else PODS


def _changed(
    changes: Changes, settings: KubernetesSettings, known: Mapping[str, tuple[Run, int]]
) -> _Found:
    found = _Found(changes.at, changes.version)
    if changes.is_whole:
        found.runs = {id_: run for id_, (run, _) in known.items()}
    else:
        found.faults = ("kubernetes: a watch ended before all was told",)
    runs = {id_: run for id_, (run, _) in known.items()}
    for event, item in changes.events:
        for run in _runs_of(item, settings, runs, changes.at, is_deleted=event == "DELETED"):
            runs[run.id] = run
            found.note(item, run)
    return found


def _compared(
    listed: Listed, settings: KubernetesSettings, known: Mapping[str, tuple[Run, int]]
) -> _Found:
    found = _Found(listed.at, listed.version)
    runs = {id_: run for id_, (run, _) in known.items()}
    for item in listed.items:
        for run in _runs_of(item, settings, runs, listed.at):
            # When an allocation ended that only a list shows to be over, is not known.
            if run.id not in known or isinstance(item, Pod) or run.end is None:
                found.note(item, run)
    for id_, (run, seen_at) in known.items():
        if id_ not in found.runs and run.standing == "open":
            found.runs[id_] = replace(run, end=max(run.begin, seen_at), standing="unseen")
    return found


# What an object tells


def _runs_of(
    item: Item,
    settings: KubernetesSettings,
    known: Mapping[str, Run],
    at: int,
    *,
    is_deleted: bool = False,
) -> Iterator[Run]:
    """Yield the runs of an object: of a claim, an earlier allocation that is over, and the last."""
    match item:
        case Pod():
            run = run_of(item, settings, deleted_at=at if is_deleted else None)
            # Most pods of a cluster hold no device, and are not looked at again.
            if run is not None and (run.allocation or item.spec.resource_claims):
                yield run
        case Claim():
            yield from runs_of_claim(item, settings, known, at, is_deleted=is_deleted)


def runs_of_claim(
    claim: Claim,
    settings: KubernetesSettings,
    known: Mapping[str, Run],
    at: int,
    *,
    is_deleted: bool = False,
) -> Iterator[Run]:
    """Yield the allocations of a claim: one that is over now, and the one that lasts.

    One whose begin is not told began when it was first seen. Raises `ValueError`.
    """
    prefix = f"{prefix_of(settings)}{CLAIMS.infix}{claim.metadata.uid}:"
    earlier = [run for id_, run in known.items() if id_.startswith(prefix) and run.end is None]
    allocation = None if is_deleted else claim.status.allocation
    told = None if allocation is None else allocation.allocation_timestamp
    begin = parse_instant(told) if told else (earlier[0].begin if earlier else at)
    for run in earlier:
        if allocation is None or run.begin != begin:
            yield replace(run, end=max(run.begin, at), standing="ended", state="deallocated")
    if allocation is not None:
        account, partition = _account(claim.metadata, settings)
        yield Run(
            id=f"{prefix}{begin}",
            account=account,
            partition=partition,
            state="allocated",
            allocation=_allocated(claim, allocation),
            begin=begin,
            end=None,
            ran=0,
            was_suspended=False,
            standing="open",
        )


def _allocated(claim: Claim, allocation: Allocation) -> str:
    """Return what an allocation gave, by class; access for administration takes no device."""
    classes: dict[str, str] = {}
    for request in claim.spec.devices.requests:
        if request.exactly is not None:
            classes[request.name] = request.exactly.device_class_name
        for choice in request.first_available:
            classes[f"{request.name}/{choice.name}"] = choice.device_class_name
    results = [each for each in allocation.devices.results if not each.admin_access]
    held = Counter(classes.get(each.request, "?") for each in results)
    if any(each.share_id is not None for each in results):
        return f"{THOUSANDTHS}{'+'.join(sorted(held))}=share"  # nobody tells how much of it
    return ",".join(f"{THOUSANDTHS}{name}={1_000 * held[name]}" for name in sorted(held))


def _account(meta: Meta, settings: KubernetesSettings) -> tuple[str, str]:
    """Return account and partition: the namespace alone, or a label's value and the namespace."""
    if settings.account_label is None:
        return meta.namespace, ""
    return meta.labels.get(settings.account_label, ""), meta.namespace


def _with_claims(run: Run) -> Run:
    """Return the run of a pod as one of which not all can be told."""
    return replace(run, allocation=",".join(filter(None, (UNREAD, run.allocation))))


def run_of(pod: Pod, settings: KubernetesSettings, deleted_at: int | None = None) -> Run | None:
    """Return the run of a pod, or None where it was not scheduled. Raises `ValueError`."""
    begins = [
        each.last_transition_time
        for each in pod.status.conditions
        if each.type == "PodScheduled" and each.status == "True"
    ]
    if not begins or begins[0] is None:
        return None
    begin = parse_instant(begins[0])
    account, partition = _account(pod.metadata, settings)
    end = _end(pod, deleted_at)
    is_over = pod.status.phase in _OVER or deleted_at is not None
    unended: Standing = "doubtful" if is_over else "open"
    return Run(
        id=prefix_of(settings) + pod.metadata.uid,
        account=account,
        partition=partition,
        state=" ".join(filter(None, (pod.status.phase, pod.status.reason)))[:_STATE_LENGTH],
        allocation=_allocation(pod.spec),
        begin=begin,
        end=None if end is None else max(begin, end),
        ran=0,
        was_suspended=False,
        standing=unended if end is None else "ended",
    )


def _end(pod: Pod, deleted_at: int | None) -> int | None:
    """Return when the last container finished, or else when the pod was deleted."""
    status = pod.status
    states = [each.state for each in status.container_statuses]
    finished = [
        parse_instant(each.state.terminated.finished_at)
        for each in (*status.container_statuses, *status.init_container_statuses)
        if each.state.terminated is not None and each.state.terminated.finished_at is not None
    ]
    is_all = bool(states) and all(each.terminated is not None for each in states)
    if finished and (status.phase in _OVER or (is_all and deleted_at is not None)):
        return max(finished)
    if status.phase in _OVER:
        stopped = [
            parse_instant(each.last_transition_time)
            for each in status.conditions
            if each.type in _STOPPED and each.last_transition_time is not None
        ]
        return max(stopped, default=None)
    if deleted_at is None:
        return None
    # The time of a deletion is told nowhere; the pod was to be gone by this one.
    wanted = pod.metadata.deletion_timestamp
    return deleted_at if wanted is None else min(deleted_at, parse_instant(wanted))


def _allocation(spec: Spec) -> str:
    """Return what a pod held, as `devices.py` reads it."""
    held: list[str] = []
    try:
        held += (
            f"{THOUSANDTHS}{name}={1_000 * count}"
            for name, count in sorted(effective(spec).items())
            if count
        )
    except ValueError as error:
        held.append(f"{THOUSANDTHS}{error}")  # it is no number, which the map finds
    return ",".join(held)


def effective(spec: Spec) -> dict[str, int]:
    """Return a pod's effective requests of extended resources. Raises `ValueError`.

    That is the sum of containers and sidecars, or what an init container needs beside the sidecars
    before it, where that is more (Kubernetes: "Resource sharing within containers").
    """
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for container in spec.init_containers:
        wanted = _requests(container)
        most |= running + wanted
        if container.restart_policy == "Always":
            running += wanted
    for container in spec.containers:
        running += _requests(container)
    return dict(most | running)


def _requests(container: Container) -> Counter[str]:
    asked = {**container.resources.limits, **container.resources.requests}
    return Counter({name: _count(name, text) for name, text in asked.items() if _is_extended(name)})


def _is_extended(name: str) -> bool:
    domain, is_one, _ = name.partition("/")
    return bool(is_one) and not f".{domain}".endswith(".kubernetes.io")


def _count(name: str, quantity: str | int) -> int:
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{name}={quantity:.40}")
    return int(found[1]) * _FACTORS[found[2] or ""]
