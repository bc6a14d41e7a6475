"""The agent's file: where it reports, as whom, what it reads, and the map (docs/agent.md). TOML.

The map says which contract an account's runs belong to, and which devices a resource is:

    [[contract]]
    account = "acc-a"
    contract = "TC-2025-0001"
    from = "2025-03-01"          # Shanghai dates; a run is cut at a border
    until = "2026-03-01"

    [[device]]
    resource = "gpu:h100"        # as in AllocTRES, without `gres/`; `npu:*` is any type of npu
    device = "h100"

    [[ignore]]
    account = "staff"            # not reported, and no trouble

An entry that names more wins over one that names less. What no entry covers, or two of equal rank,
is not guessed: the run waits in quarantine until the map says what it is.
"""

import ssl
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from meter.agent.devices import Unvaluable, thousandths_in
from meter.agent.slice import Rhythm, Span
from meter.agent.usage import Run
from meter.client import trust
from meter.values.strict import Date, Id, Instant, convert_texts
from meter.values.text import check_texts
from meter.values.units import parse_date
from meter.wire.batch import MAX_RECORD_SECONDS, LogName, Sha256Hex

_ALWAYS: Final = 1 << 62
# The fields that are paths, by section.
_PATHS: Final[dict[str | None, tuple[str, ...]]] = {
    None: ("spool",),
    "service": ("token", "ca", "certificate", "private_key"),
    "provider": ("key",),
    "file": ("path", "mapping"),
    "kubernetes": ("token", "ca", "certificate", "private_key"),
}
Filter = Annotated[str, Meta(min_length=1, max_length=200)]
SliceSeconds = Annotated[int, Meta(ge=10, le=86_400)]
SettleSeconds = Annotated[int, Meta(ge=1, le=3_600)]


class Caller(Struct, frozen=True, kw_only=True):
    """Who calls over https, and what is trusted; all are files."""

    token: str | None = None
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None

    def trust(self) -> ssl.SSLContext:
        """Return what connections are made with. Raises `OSError`."""
        files = (self.ca, self.certificate, self.private_key)
        return trust(*(None if each is None else Path(each) for each in files))


class ServiceSettings(Caller, frozen=True, forbid_unknown_fields=True):
    """The service and its ledger."""

    url: str
    log: LogName
    genesis: Sha256Hex
    receipt_key: str


class ProviderSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The provider for whom the agent reports; `key` is a file."""

    id: Id
    stream: Id
    keyid: str
    key: str


class SlurmSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The cluster that is read, since when, and how its runs are cut."""

    clock: ClassVar[str | None] = "slurm"  # whose time is compared with ours
    cluster: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,40}\Z")]
    since: Instant
    slice_seconds: SliceSeconds = 900
    settle_seconds: SettleSeconds = 60

    @property
    def rhythm(self) -> Rhythm:
        return Rhythm(self.slice_seconds, self.settle_seconds)


class FileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The file of jobs that is read, by which mapping, since when; both are files.

    `mapping` may be the name of one that comes with the package.
    """

    clock: ClassVar[str | None] = None  # whose time is compared with ours
    path: str
    mapping: str
    since: Instant

    @property
    def rhythm(self) -> Rhythm:
        return Rhythm()


class KubernetesSettings(Caller, frozen=True, forbid_unknown_fields=True):
    """The Kubernetes cluster that is read, since when, and how its runs are cut.

    Without an `url`, the agent is a pod of the cluster. `account_label` is the label of a pod that
    tells its account.
    """

    clock: ClassVar[str | None] = "kubernetes"  # whose time is compared with ours
    cluster: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,20}\Z")]
    since: Instant
    url: str | None = None
    account_label: Filter | None = None
    slice_seconds: SliceSeconds = 900
    settle_seconds: SettleSeconds = 60

    @property
    def rhythm(self) -> Rhythm:
        return Rhythm(self.slice_seconds, self.settle_seconds)


class ContractRule(Struct, frozen=True, forbid_unknown_fields=True):
    """The contract of an account's runs; `suspended` says whether suspended time is charged."""

    account: Filter
    contract: Id
    partition: Filter | None = None
    from_: Date | None = msgspec.field(default=None, name="from")
    until: Date | None = None
    suspended: Literal["free", "charge"] = "free"

    @property
    def span(self) -> Span:
        start = -_ALWAYS if self.from_ is None else parse_date(self.from_)
        return start, _ALWAYS if self.until is None else parse_date(self.until)


class IgnoreRule(Struct, frozen=True, forbid_unknown_fields=True):
    """Runs, or a resource of runs, that are not reported."""

    account: Filter | None = None
    partition: Filter | None = None
    resource: Filter | None = None


class DeviceRule(Struct, frozen=True, forbid_unknown_fields=True):
    """The device kind of a resource, and how many thousandths one of it is.

    Where a run asks for `memory` too, one is its share of `memory_total`, rounded up.
    """

    resource: Filter
    device: Id
    milli: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    partition: Filter | None = None
    memory: Filter | None = None
    memory_total: Annotated[int, Meta(ge=1)] | None = None


class Piece(Struct, frozen=True):
    """A stretch of a run and its contract."""

    span: Span
    contract: str


class Config(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The whole file."""

    spool: str
    service: ServiceSettings
    provider: ProviderSettings
    slurm: SlurmSettings | None = None
    file: FileSettings | None = None
    kubernetes: KubernetesSettings | None = None
    contract: Sequence[ContractRule] = ()
    device: Sequence[DeviceRule] = ()
    ignore: Sequence[IgnoreRule] = ()

    @property
    def source(self) -> SlurmSettings | FileSettings | KubernetesSettings:
        """Return what is read."""
        found = self.slurm or self.file or self.kubernetes
        assert found is not None, "read_config has seen that there is one"
        return found

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Return what https connections trust, and who calls. Raises `OSError`."""
        return self.service.trust()

    @cached_property
    def token(self) -> str | None:
        """Return the token in its file. Raises `OSError` and `ValueError`."""
        file = self.service.token
        return None if file is None else Path(file).read_text(encoding="ascii").strip()

    @property
    def map_digest(self) -> str:
        """Return what differs where the map does: hex sha256."""
        rules = msgspec.json.encode([self.contract, self.device, self.ignore])
        return sha256(rules).hexdigest()

    @cached_property
    def map(self) -> "Map":
        return Map(self.contract, self.device, self.ignore)


def read_config(file: Path) -> Config:
    """Return what a file says. Raises `ValueError`, whose text names the place."""
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8"))
        check_texts(fields)
        config = convert_texts(_with_paths(fields, file.absolute().parent), Config)
        _check_source(config)
        _check_url("service", config.service.url)
        _check_rules(config)
    except ValueError as error:  # of TOML, of UTF-8, of a type
        raise ValueError(f"{file}: {error}") from None
    return config


def _with_paths(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the fields with whole paths: those of the file are relative to its folder."""
    made = fields
    for section, names in _PATHS.items():
        place = made if section is None else made.get(section)
        if not isinstance(place, dict):
            continue  # its type is told later
        place = dict(place)
        place |= {name: str(folder / place[name]) for name in names if type(place.get(name)) is str}
        made = place if section is None else made | {section: place}
    return made


def _check_source(config: Config) -> None:
    if sum(each is not None for each in (config.slurm, config.file, config.kubernetes)) != 1:
        raise ValueError("one of [slurm], [kubernetes] and [file] says what is read")
    if config.kubernetes is not None and config.kubernetes.url is not None:
        _check_url("kubernetes", config.kubernetes.url)


def _check_url(section: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:  # of the port
        is_good = False
    if not is_good or parts.query or parts.fragment:
        raise ValueError(f"`url` in [{section}] is not one of a service: {url:.200}")


def _check_rules(config: Config) -> None:
    known = Counter((rule.resource, rule.partition) for rule in config.device)
    for (resource, _), count in known.items():
        if count > 1:
            raise ValueError(f"two entries of [[device]] are for {resource}")
    for device in config.device:
        if (device.memory is None) != (device.memory_total is None):
            raise ValueError(f"{device.resource} has only one of memory and memory_total")
    for rule in config.contract:
        if rule.span[0] >= rule.span[1]:
            raise ValueError(f"{rule.contract} of {rule.account} ends before it begins")
    for each in config.ignore:
        if each == IgnoreRule():
            raise ValueError("an entry of [[ignore]] names nothing")


class Map:
    """The map from runs to contracts and devices."""

    def __init__(
        self,
        contracts: Sequence[ContractRule],
        devices: Sequence[DeviceRule],
        ignored: Sequence[IgnoreRule],
    ) -> None:
        self._contracts = contracts
        self._devices = {(rule.resource, rule.partition): rule for rule in devices}
        self._memory = {rule.memory: rule.resource for rule in devices if rule.memory is not None}
        self._ignored = [rule for rule in ignored if rule.resource is None]
        self._ignored_resources = {
            (rule.resource, rule.account, rule.partition) for rule in ignored if rule.resource
        }

    @property
    def resources(self) -> set[str]:
        """Return the resources that the map names."""
        return {resource for resource, _ in self._devices}

    def devices(self, run: Run) -> Mapping[str, int]:
        """Return the thousandths of each device kind that a run held. Raises `Unvaluable`."""
        held: dict[str, int] = {}
        found = thousandths_in(run.allocation)
        for resource, thousandths in found.items():
            # The memory of a device tells its share, and is none itself.
            if self._is_ignored(resource, run) or self._memory.get(resource) in found:
                continue
            rule = self._device(resource, run.partition)
            each = _milli(rule, found)
            milli, rest = divmod(thousandths * each, 1_000)
            if rest:
                told = f"{thousandths} thousandths of {resource}, each {each} of"
                raise Unvaluable("not_whole", f"{told} {rule.device}, are no whole thousandths")
            held[rule.device] = held.get(rule.device, 0) + milli
        return held

    def _is_ignored(self, resource: str, run: Run) -> bool:
        return any(
            (resource, account, partition) in self._ignored_resources
            for account in (None, run.account)
            for partition in (None, run.partition)
        )

    def _device(self, resource: str, partition: str) -> DeviceRule:
        names = [resource]
        if ":" in resource:
            names.append(f"{resource.partition(':')[0]}:*")
        for name in names:
            for place in (partition, None):
                if (name, place) in self._devices:
                    return self._devices[name, place]
        raise Unvaluable("no_device", f"{resource} in {partition} is no device of the map")

    def contract(self, run: Run, at: int) -> ContractRule | None:
        """Return a run's contract at an instant; None where it is ignored. Raises `Unvaluable`."""
        matching = list(self._matching(run, at))
        most = max((rank for rank, _ in matching), default=0)
        best = [rule for rank, rule in matching if rank == most]
        match best:
            case []:
                raise Unvaluable("no_contract", f"{run.account} in {run.partition} has no contract")
            case [rule]:
                return rule
            case _:
                detail = f"{run.account} in {run.partition} has {len(best)} entries of equal rank"
                raise Unvaluable("ambiguous", detail)

    def _matching(self, run: Run, at: int) -> Iterator[tuple[int, ContractRule | None]]:
        for rule in self._contracts:
            if (
                rule.account == run.account
                and rule.partition in (None, run.partition)
                and rule.span[0] <= at < rule.span[1]
            ):
                yield _rank(rule), rule
        for each in self._ignored:
            if each.account in (None, run.account) and each.partition in (None, run.partition):
                yield _rank(each), None

    def pieces(self, run: Run, span: Span) -> Iterator[Piece]:
        """Yield a stretch cut where the contract changes, and where a record would be too long.

        What is ignored is left out. Raises `Unvaluable` at the first instant without a contract.
        """
        start, end = span
        while start < end:
            rule = self.contract(run, start)
            border = min(
                (each for rule in self._contracts for each in rule.span if each > start),
                default=_ALWAYS,
            )
            until = min(end, border, start + MAX_RECORD_SECONDS)
            if rule is not None:
                yield Piece((start, until), rule.contract)
            start = until


def _milli(rule: DeviceRule, held: Mapping[str, int]) -> int:
    """Return how many thousandths of a device one of a resource is."""
    if rule.memory is None or rule.memory_total is None or rule.memory not in held:
        return rule.milli
    # What is held is in thousandths: of the memory, too.
    return min(1_000, -(-held[rule.memory] // rule.memory_total))


_Rule = TypeVar("_Rule", ContractRule, IgnoreRule)


def _rank(rule: _Rule) -> int:
    """Return how much a rule names."""
    return sum(each is not None for each in (rule.account, rule.partition))
