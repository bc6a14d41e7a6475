"""What would make the agent report wrongly or not at all, found before it does; with remedies.

Each check yields findings. A finding without a remedy is good news.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meter.agent.collect import job_file, kubernetes, slurm
from meter.agent.config import Config, FileSettings, KubernetesSettings, SlurmSettings
from meter.agent.push import MAX_CLOCK_SECONDS
from meter.agent.status import status_of
from meter.agent.store import Spool
from meter.client import ClientError, Refused, Service, load_key, sign_batch
from meter.values.units import day_start, format_date
from meter.wire.batch import Batch

# Between two commands a job may begin or end, and sdiag counts jobs every 30 s.
_TRIES: Final = 8
_PAUSE_SECONDS: Final = 5
_TOLERANCE: Final = 10  # one in so many
_NO_LEDGER: Final = "0" * 64
_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at; `remedy` says what to do where it is wrong."""

    what: str
    remedy: str = ""

    @property
    def is_good(self) -> bool:
        return not self.remedy


async def examine(config: Config) -> AsyncIterator[Finding]:
    """Yield all findings; nothing is changed, and nothing is posted that a ledger would take."""
    match config.source:
        case SlurmSettings() as settings:
            async for finding in _slurm(config, settings):
                yield finding
        case FileSettings() as settings:
            yield _file(settings)
        case KubernetesSettings() as settings:
            async for finding in _kubernetes(settings):
                yield finding
    for finding in _summaries(config):
        yield finding
    async for finding in _service(config):
        yield finding


def _summaries(config: Config) -> Iterator[Finding]:
    """Yield how the days stand that were summed up, where there is a spool with any."""
    if not Path(config.spool).exists():
        return
    try:
        with Spool.looking(Path(config.spool)) as spool:
            status = status_of(spool)
    except ClientError as error:
        yield Finding(str(error), "see docs/agent.md about the spool")
        return
    for day, standing in status.disagreeing:
        date = format_date(day_start(day))
        told = f"the summary of {date}: {standing}"
        yield Finding(told, f"kashi agent verify --day {date} shows the runs that differ")
    if status.summaries and not status.disagreeing:
        yield Finding(f"days that were summed up, and agree: {len(status.summaries)}")


def _file(settings: FileSettings) -> Finding:
    reading = job_file.read(Path(settings.path), Path(settings.mapping), None)
    for fault in reading.faults:
        return Finding(fault, "correct `path` or `mapping` in [file], or the mapping")
    bad = 0 if reading.part is None else len(reading.part.bad)
    return Finding(f"{settings.path} has the mapped columns; lines that cannot be read: {bad}")


async def _kubernetes(settings: KubernetesSettings) -> AsyncIterator[Finding]:
    reading = await kubernetes.read(settings, {}, None, int(time.time()))
    for fault in reading.faults:
        remedy = "or let the agent's user list and watch pods and resourceclaims"
        yield Finding(fault, f"correct [kubernetes], {remedy}")
    if reading.is_complete:
        running = sum(each.end is None for each in reading.runs.values())
        yield Finding(f"pods and allocated claims: {len(reading.runs)}, without an end {running}")
        yield _clock("the API server", time.time() - reading.at)


async def _slurm(config: Config, settings: SlurmSettings) -> AsyncIterator[Finding]:
    fields = await slurm.run("sacct", "--helpformat")
    told = await slurm.run("scontrol", "show", "config")
    nodes = await slurm.run("sinfo", "-h", "-o", "%G")
    diagnosis, faults = await slurm.diagnose()
    faults += [each.fault for each in (fields, told, nodes) if each.fault]
    for fault in faults:
        yield Finding(
            fault, "run the agent where Slurm's commands work, as a user who may use them"
        )
    if faults or diagnosis is None:
        return
    for name in slurm.missing_fields(fields.text):
        yield Finding(f"sacct has no field {name}", "use Slurm 22.05 or newer")
    for finding in cluster_findings(config, settings.cluster, told.text, nodes.text):
        yield finding
    yield _clock("Slurm", time.time() - diagnosis.at)
    yield await _counts(settings.cluster)


def cluster_findings(config: Config, cluster: str, settings: str, nodes: str) -> Iterator[Finding]:
    """Yield what is wrong with the cluster's name and with the resources that it accounts for."""
    name = _setting(settings, "ClusterName")
    if name != cluster:
        yield Finding(f"this cluster is {name}, not {cluster}", "correct `cluster` in [slurm]")
    declared = set(_setting(settings, "AccountingStorageTRES").lower().split(","))
    mapped = {each.removesuffix(":*") for each in config.map.resources}
    wanted = mapped | {each.partition(":")[0] for each in mapped}
    # Where the map tells types apart, Slurm has to; a shard has the type of its card by itself.
    typed = {each.partition(":")[0] for each in config.map.resources if ":" in each}
    wanted |= {each for each in _types(nodes) if each.partition(":")[0] in typed}
    missing = sorted(each for each in wanted if f"gres/{each}".lower() not in declared)
    for each in missing:
        yield Finding(
            f"Slurm does not account for gres/{each}",
            f"add gres/{each} to AccountingStorageTRES in slurm.conf, and restart slurmctld",
        )
    if not missing:
        yield Finding(f"Slurm accounts for {', '.join(sorted(wanted)) or 'no device of the map'}")


def _setting(settings: str, name: str) -> str:
    found = re.search(rf"^{name}\s*=\s*(\S*)", settings, re.MULTILINE)
    return "" if found is None else found[1]


def _types(nodes: str) -> Iterator[str]:
    """Yield the resources of nodes with their types, from `gpu:h100:8(S:0-1),shard:16`."""
    for item in re.sub(r"\([^)]*\)", "", nodes).replace("\n", ",").split(","):
        name, *rest = item.strip().split(":")
        if name:
            yield ":".join([name, *rest[:-1]])


async def _counts(cluster: str) -> Finding:
    """Return whether accounting and controller show this user the same running jobs."""
    told = ""
    for _ in range(_TRIES):
        squeue = await slurm.run(*slurm.SQUEUE, "-t", "R,S")
        sacct = await slurm.run(*slurm.sacct_command(int(time.time()) - 60))
        diagnosis, _ = await slurm.diagnose()
        rows, _ = slurm.rows_of(sacct.text, cluster)
        confirmed = slurm.confirmed_by(slurm.shown_by(squeue.text)[0])
        runs = slurm.runs_of(rows, confirmed).values()
        unended, shown = sum(each.end is None for each in runs), len(confirmed)
        running = 0 if diagnosis is None else diagnosis.running
        told = f"running by sacct {unended}, squeue {shown}, sdiag {running}"
        # On a cluster where jobs come and go all the time, three looks never agree quite.
        off = max(abs(unended - shown), running - shown)
        if off <= shown // _TOLERANCE:
            return Finding(told)
        await asyncio.sleep(_PAUSE_SECONDS)
    return Finding(
        told,
        "give the agent's user a higher AdminLevel (sacctmgr modify user … set"
        " adminlevel=operator): with PrivateData it sees its own jobs only; or end runaway jobs"
        " (sacctmgr show runaway)",
    )


def _clock(whose: str, ahead_seconds: float) -> Finding:
    told = f"the clock here is {ahead_seconds:+.0f} s from {whose}'s"
    if abs(ahead_seconds) <= MAX_CLOCK_SECONDS:
        return Finding(told)
    return Finding(told, "set the clocks, best by NTP")


async def _service(config: Config) -> AsyncIterator[Finding]:
    settings, provider = config.service, config.provider
    try:
        key = load_key(Path(provider.key))
        token, tls = config.token, config.tls
    except (OSError, ValueError) as error:
        yield Finding(str(error), "correct the file's name in [service] or [provider]")
        return
    async with Service(settings.url, token, tls=tls, attempts=_ATTEMPTS) as service:
        try:
            receipt_key = await service.ask("/v1/receipt-key")
        except ClientError as error:
            yield Finding(str(error), "correct `url` in [service], or start the service")
            return
        yield _clock("the service", service.clock_ahead_seconds)
        if receipt_key.get("public_key") == settings.receipt_key:
            yield Finding("the receipt key is the service's")
        else:
            yield Finding(
                f"the service signs receipts by {receipt_key.get('public_key')}",
                "ask the authority for the receipt key, and correct `receipt_key` in [service]",
            )
        probe = Batch(
            log=settings.log,
            genesis=_NO_LEDGER,
            provider=provider.id,
            stream=provider.stream,
            seq=1,
        )
        try:
            await service.post_unverified(sign_batch(probe, provider.keyid, key))
        except ClientError as error:
            yield _answer(error, settings.genesis)


def _answer(error: ClientError, genesis: str) -> Finding:
    """Return what a service says of a batch for a ledger that nobody has: all else is right."""
    match error:
        case Refused(code="wrong_genesis", facts=facts) if facts.get("genesis") == genesis:
            return Finding("log, genesis, provider and key are the service's")
        case Refused(code="wrong_genesis", facts=facts):
            genesis_there = facts.get("genesis")
            remedy = "ask the authority for the genesis, and correct `genesis` in [service]"
            return Finding(f"the service's genesis is {genesis_there}", remedy)
        case Refused(code="wrong_log"):
            return Finding(str(error), "correct `log` in [service]")
        case Refused(code="provider_mismatch"):
            return Finding(str(error), "correct `id` or `keyid` in [provider]")
        case Refused(code="bad_signature"):
            remedy = "have the key registered, or correct `key` and `keyid` in [provider]"
            return Finding(str(error), remedy)
        case _:
            return Finding(str(error), "see docs/wire.md for the code")
