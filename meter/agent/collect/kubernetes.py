"""Read runs from a Kubernetes cluster: its pods, by list and watch.

A run is a pod, by its UID, from when it was scheduled until its last container finished, or until
it was deleted. Restarts of containers change nothing. A pod that never was scheduled is no run.

The first reading lists all pods. Each later one asks for what changed since (a watch of some
seconds): a pod without a change goes on, where a bookmark says that all changes were told. Where
the changes are known no more (410), all pods are listed and compared: a pod that is gone was seen
last at the reading before, and nobody knows for how long it ran on.

What a pod holds are its effective requests: of containers together, or of an init container where
that is more. All extended resources (`nvidia.com/gpu`) count, and the map says what they are. The
metrics of cards are not read: labels lack, and allocations outlive pods.
"""

import os
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, NoReturn, Self

import aiohttp
import msgspec
from msgspec import Struct

from meter.agent.config import KubernetesSettings
from meter.agent.devices import CLAIMS, THOUSANDTHS
from meter.agent.usage import Reading, Run, Standing
from meter.client import trust
from meter.values.units import parse_instant

PAGE: Final = 500
WATCH_SECONDS: Final = 5
MAX_OBJECT_BYTES: Final = 4 << 20  # etcd takes 1.5 MB
_TIMEOUT: Final = aiohttp.ClientTimeout(total=300, sock_read=60)
_PODS: Final = "/api/v1/pods"
_GOOD: Final = 200
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


class PodList(Struct, frozen=True):
    """A page of pods."""

    metadata: Meta
    items: Sequence[Pod]


class Problem(Struct, frozen=True):
    """What the API server answers instead (`Status` there)."""

    code: int = 0
    message: str = ""


class Event(Struct, frozen=True):
    """A line of a watch."""

    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed, as (type, pod), and the version after it.

    It `is_whole` where a bookmark said that nothing more had changed by then.
    """

    events: Sequence[tuple[str, Pod]]
    version: str
    is_whole: bool


class ApiError(Exception):
    """The API server did not answer, or not well."""


class GoneError(ApiError):
    """The changes since a version are known no more."""


class Api:
    """An API server, as `async with Api(…) as api`; `at` is its time at the last answer."""

    def __init__(self, url: str, token: Path | None, tls: ssl.SSLContext) -> None:
        self._url, self._token, self._tls = url.rstrip("/"), token, tls
        self.at = 0

    @classmethod
    def of(cls, settings: KubernetesSettings) -> Self:
        """Return the API server that is named, or that of the cluster whose pod this process is.

        Raises `ApiError` and `OSError`.
        """
        if settings.url is not None:
            files = (settings.ca, settings.certificate, settings.private_key)
            tls = trust(*(None if each is None else Path(each) for each in files))
            token = None if settings.token is None else Path(settings.token)
            return cls(settings.url, token, tls)
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
        self._http = aiohttp.ClientSession(
            headers=headers,
            timeout=_TIMEOUT,
            connector=aiohttp.TCPConnector(ssl=self._tls),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def pods(self, limit: int = PAGE) -> tuple[list[Pod], str]:
        """Return all pods, and the version to watch from."""
        found: list[Pod] = []
        after, at = "", 0
        while True:
            query = {"limit": str(limit)} | ({"continue": after} if after else {})
            async with self._get(query) as response:
                page = msgspec.json.decode(await response.read(), type=PodList)
            at = at or self.at
            found += page.items
            after = page.metadata.continue_
            if not after:
                self.at = at  # what came later is not in the first page
                return found, page.metadata.resource_version

    async def changes(self, version: str, seconds: int) -> Changes:
        """Return what changed since a version."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        found: list[tuple[str, Pod]] = []
        is_whole = False
        async with self._get(query | {"allowWatchBookmarks": "true"}) as response:
            async for line in _lines(response.content):
                event = msgspec.json.decode(line, type=Event)
                if event.type == "ERROR":
                    _raise(msgspec.json.decode(event.object, type=Problem))
                pod = msgspec.json.decode(event.object, type=Pod)
                version = pod.metadata.resource_version
                if event.type == "BOOKMARK":
                    is_whole = True
                else:
                    found.append((event.type, pod))
        return Changes(found, version, is_whole)

    @asynccontextmanager
    async def _get(self, query: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._http.get(f"{self._url}{_PODS}", params=query) as response:
            if response.status != _GOOD:
                body = await response.content.read(MAX_OBJECT_BYTES)
                try:
                    told = msgspec.json.decode(body, type=Problem).message
                except ValueError:
                    told = response.reason or ""
                _raise(Problem(response.status, told))
            date = response.headers.get("Date", "")
            self.at = int(parsedate_to_datetime(date).timestamp())
            yield response


def _raise(problem: Problem) -> NoReturn:
    kind = GoneError if problem.code == _GONE else ApiError
    raise kind(f"the API server answers {problem.code}: {problem.message:.500}")


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream; one without its end is not whole."""
    rest = b""
    async for chunk in content.iter_any():
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
    try:
        async with Api.of(settings) as api:
            try:
                return await _read_changes(api, settings, known, cursor)
            except GoneError:
                return await _read_all(api, settings, known)
    except (ApiError, aiohttp.ClientError, OSError, ValueError) as error:
        fault = f"kubernetes: {f'{error}' or type(error).__name__}"
        return Reading(otherwise_at, otherwise_at, {}, (fault,))


async def _read_changes(
    api: Api,
    settings: KubernetesSettings,
    known: Mapping[str, tuple[Run, int]],
    cursor: str | None,
) -> Reading:
    if not cursor:
        raise GoneError("nothing was read yet")
    changes = await api.changes(cursor, WATCH_SECONDS)
    runs = {id_: run for id_, (run, _) in known.items()} if changes.is_whole else {}
    for kind, pod in changes.events:
        run = run_of(pod, settings, deleted_at=api.at if kind == "DELETED" else None)
        if run is not None:
            runs[run.id] = run
    faults = () if changes.is_whole else ("kubernetes: a watch ended before all was told",)
    return Reading(api.at, _since(runs), runs, faults, changes.version)


async def _read_all(
    api: Api, settings: KubernetesSettings, known: Mapping[str, tuple[Run, int]]
) -> Reading:
    pods, version = await api.pods()
    made = (run_of(pod, settings) for pod in pods)
    runs = {run.id: run for run in made if run is not None}
    for id_, (run, seen_at) in known.items():
        if id_ not in runs and run.standing == "open":
            runs[id_] = replace(run, end=max(run.begin, seen_at), standing="unseen")
    return Reading(api.at, _since(runs), runs, cursor=version)


def _since(runs: Mapping[str, Run]) -> int:
    """Return how far back runs go."""
    return min((each.begin if each.end is None else each.end for each in runs.values()), default=0)


# What a pod tells


def run_of(pod: Pod, settings: KubernetesSettings, deleted_at: int | None = None) -> Run | None:
    """Return the run of a pod, or None where it was not scheduled. Raises `ValueError`.

    Without a label that tells the account, it is the namespace; with one, that is the partition.
    """
    begins = [
        each.last_transition_time
        for each in pod.status.conditions
        if each.type == "PodScheduled" and each.status == "True"
    ]
    if not begins or begins[0] is None:
        return None
    begin, meta, label = parse_instant(begins[0]), pod.metadata, settings.account_label
    end = _end(pod, deleted_at)
    is_over = pod.status.phase in _OVER or deleted_at is not None
    unended: Standing = "doubtful" if is_over else "open"
    return Run(
        id=prefix_of(settings) + meta.uid,
        account=meta.namespace if label is None else meta.labels.get(label, ""),
        partition="" if label is None else meta.namespace,
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
    held = [f"{CLAIMS}{len(spec.resource_claims)}"] if spec.resource_claims else []
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
