"""Pods as an API server tells them, and an agent on a cluster of the stand-in in tests/kube.py."""

import base64
import contextlib
import datetime as dt
from pathlib import Path

import msgspec

from meter.agent.collect.kubernetes import Pod, run_of
from meter.agent.config import KubernetesSettings, read_config
from meter.agent.run import Agent
from meter.agent.status import status_of
from meter.client import load_key, registration
from meter.values.strict import Instant
from tests.agents import NO_PAUSE, NOON, T0, config
from tests.kube import ApiServer
from tests.services import (
    ORIGIN,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)

MAP = """
[[contract]]
account = "team-a"
contract = "A"
[[contract]]
account = "team-b"
contract = "B"
[[device]]
resource = "nvidia.com/gpu"
device = "h100"
[[device]]
resource = "nvidia.com/mig-1g.10gb"
device = "h100-1g.10gb"
[[device]]
resource = "nvidia.com/gpu.shared"
device = "h100"
milli = 250
[[device]]
resource = "huawei.com/Ascend910"
device = "ascend-910b"
[[device]]
resource = "huawei.com/Ascend910B"
device = "ascend-910b"
memory = "huawei.com/Ascend910B-memory"
memory_total = 65536
[[device]]
resource = "volcano.sh/vgpu-number"
device = "h100"
memory = "volcano.sh/vgpu-memory"
memory_total = 80000
[[ignore]]
resource = "volcano.sh/vgpu-cores"
[[ignore]]
resource = "rdma/hca"
"""
SOURCE = '[kubernetes]\ncluster = "k1"\nsince = "2024-01-01T00:00:00+08:00"\nurl = "{url}"\n{more}'
KINDS = {"h100": 1_000, "h100-1g.10gb": 8, "ascend-910b": 64}
SETTINGS = KubernetesSettings(cluster="k1", since=Instant(0))
GPU = {"nvidia.com/gpu": "2"}


def at(instant: int) -> str:
    return dt.datetime.fromtimestamp(instant, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def container(held=GPU, **more) -> dict:
    return {"name": "c", "image": "x", "resources": {"limits": held, "requests": held}} | more


def over(instant: int | None) -> dict:
    """Return the status of a container that finished."""
    ended = {"exitCode": 0} | ({} if instant is None else {"finishedAt": at(instant)})
    return {"name": "c", "state": {"terminated": ended}, "restartCount": 0}


RUNNING = {"name": "c", "state": {"running": {"startedAt": at(T0)}}, "restartCount": 3}
WAITING = {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 9}


def pod(  # noqa: PLR0913 - one argument for each thing that a test chooses
    uid: str = "u1",
    begin: int | None = T0,
    *,
    phase: str = "Running",
    containers=None,
    statuses=(RUNNING,),
    namespace: str = "team-a",
    labels=None,
    spec=None,
    status=None,
    **meta,
) -> dict:
    scheduled = {"type": "PodScheduled", "status": "False" if begin is None else "True"}
    scheduled["lastTransitionTime"] = at(T0 if begin is None else begin)
    head = {"uid": uid, "name": f"pod-{uid}", "namespace": namespace, "labels": labels or {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": head | {"creationTimestamp": at(T0 - 60), "resourceVersion": "1"} | meta,
        "spec": {"containers": [container()] if containers is None else containers} | (spec or {}),
        "status": {"phase": phase, "conditions": [scheduled], "containerStatuses": list(statuses)}
        | (status or {}),
    }


def run_of_json(body: dict, **options):
    return run_of(msgspec.convert(body, Pod), SETTINGS, **options)


ENDED = {"phase": "Succeeded", "statuses": [over(T0 + 100)]}


class Site:
    """A service, an API server, and an agent between them."""

    def __init__(self, service, server: ApiServer, folder: Path) -> None:
        self.service = service
        self.server = server
        self.folder = folder
        self.now = T0

    async def once(self, now: int | None = None):
        self.now = self.now if now is None else now
        file = read_config(self.folder / "agent.toml")
        async with Agent(file, **NO_PAUSE) as agent:
            outcome = await agent.once()
            return outcome, status_of(agent.spool)

    async def approve(self) -> None:
        async with Agent(read_config(self.folder / "agent.toml"), **NO_PAUSE) as agent:
            assert agent.spool.approve([each.name for each in agent.spool.questions()]) == []


@contextlib.asynccontextmanager
async def site(database, folder: Path, *, map_: str = MAP, more: str = "", token=None):
    places: list[Site] = []
    server = ApiServer(lambda: places[0].now if places else T0, token)
    async with serving(database, folder, NOON) as service, server:
        made = config(
            folder / "agent",
            url=service.url,
            genesis=service.intake.state.genesis_hash,
            receipt_key=base64.b64encode(receipt_key(service)).decode(),
            map_=map_,
            source=SOURCE.format(url=server.url, more=more),
        )
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices=KINDS))
        own = registration(load_key(Path(made.provider.key)), ORIGIN, "pcl", "pcl-1")
        await service.ask("/v1/providers/pcl/keys", **own)
        await service.ask("/v1/enterprises", **enterprise_body())
        prices = dict.fromkeys(KINDS, "9.00")
        for contract in ("A", "B"):
            await service.ask("/v1/contracts", **contract_body(contract, prices=prices))
        places.append(Site(service, server, folder / "agent"))
        yield places[0]


def claim(uid: str, *results: dict, since: int | None = T0) -> dict:
    """Return a claim that was given these devices; without any, it waits."""
    requests = [
        {"name": "cards", "exactly": {"deviceClassName": "gpu.example", "count": 2}},
        {
            "name": "any",
            "firstAvailable": [
                {"name": "big", "deviceClassName": "gpu.example"},
                {"name": "small", "deviceClassName": "slice.example"},
            ],
        },
    ]
    allocation = {"devices": {"results": list(results)}}
    if since is not None:
        allocation["allocationTimestamp"] = at(since)
    head = {"uid": uid, "name": f"claim-{uid}", "namespace": "team-a"}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": head | {"resourceVersion": "1"},
        "spec": {"devices": {"requests": requests}},
        "status": {"allocation": allocation} if results else {},
    }


def given(request: str, device: str, **more) -> dict:
    return {"request": request, "driver": "d", "pool": "p", "device": device} | more


CARDS = given("cards", "0"), given("cards", "1")
