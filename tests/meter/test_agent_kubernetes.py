"""The agent on Kubernetes: what pods become, and what a list and watches tell of them.

The API server is the stand-in of tests/kube.py, which kubectl accepts; `KASHI_TEST_KUBECONFIG`
names a real cluster for the test that compares both.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from meter.agent.collect import kubernetes
from meter.agent.collect.kubernetes import Api, Pod, run_of
from meter.agent.config import KubernetesSettings, read_config
from meter.agent.doctor import examine
from meter.agent.plan import Known, plan
from meter.agent.run import Agent
from meter.agent.slice import Rhythm
from meter.agent.status import exit_code, status_of
from meter.client import keygen, load_key, registration
from meter.values.strict import Instant
from tests.agents import config
from tests.kube import ApiServer
from tests.kube import status_of as problem
from tests.meter.test_agent import NO_PAUSE, NOON, T0, metered
from tests.services import (
    ORIGIN,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)

PAGE = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text(encoding="utf-8")
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


def conditions(begin: int, **others: int) -> dict:
    found = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(begin)}]
    for name, instant in others.items():
        found.append({"type": name, "status": "False", "lastTransitionTime": at(instant)})
    return {"conditions": found}


# What pods become: thousandths × seconds by device, or why they are not reported

ENDED = {"phase": "Succeeded", "statuses": [over(T0 + 100)]}
GOLDEN = {
    "a pod that ended": (pod(**ENDED), {"h100": 200_000}),
    "a pod that failed": (pod(phase="Failed", statuses=[over(T0 + 7)]), {"h100": 14_000}),
    "the last of its containers counts": (
        pod(phase="Failed", statuses=[over(T0 + 7), over(T0 + 30)]),
        {"h100": 60_000},
    ),
    "restarts change nothing": (
        pod(phase="Succeeded", statuses=[over(T0 + 500) | {"restartCount": 7}]),
        {"h100": 1_000_000},
    ),
    "never scheduled": (pod(begin=None, phase="Pending", statuses=()), None),
    "scheduled, and its image is pulled": (
        pod(phase="Failed", statuses=[WAITING], status=conditions(T0, Ready=T0)),
        {},
    ),
    "evicted while it ran": (
        pod(phase="Failed", statuses=(), status=conditions(T0, Ready=T0 + 40, DisruptionTarget=T0)),
        {"h100": 80_000},
    ),
    "no device": (pod(containers=[container({"cpu": "4", "memory": "1Gi"})], **ENDED), {}),
    "two containers": (pod(containers=[container(), container()], **ENDED), {"h100": 400_000}),
    "an init container that needs more": (
        pod(spec={"initContainers": [container({"nvidia.com/gpu": 5})]}, **ENDED),
        {"h100": 500_000},
    ),
    "an init container that needs less": (
        pod(spec={"initContainers": [container({"nvidia.com/gpu": 1})]}, **ENDED),
        {"h100": 200_000},
    ),
    "a sidecar counts beside": (
        pod(
            spec={
                "initContainers": [
                    container({"nvidia.com/gpu": 1}, restartPolicy="Always"),
                    container({"nvidia.com/gpu": 4}),
                ]
            },
            **ENDED,
        ),
        {"h100": 500_000},
    ),
    "limits alone": (
        pod(containers=[{"name": "c", "resources": {"limits": GPU}}], **ENDED),
        {"h100": 200_000},
    ),
    "a slice of a card": (
        pod(containers=[container({"nvidia.com/mig-1g.10gb": "3"})], **ENDED),
        {"h100-1g.10gb": 300_000},
    ),
    "cards that are shared": (
        pod(containers=[container({"nvidia.com/gpu.shared": "2"})], **ENDED),
        {"h100": 50_000},
    ),
    "both kinds of NPU": (
        pod(containers=[container({"huawei.com/Ascend910": "8"})], **ENDED),
        {"ascend-910b": 800_000},
    ),
    "a share of an NPU by its memory, rounded up": (
        pod(
            containers=[
                container({"huawei.com/Ascend910B": "1", "huawei.com/Ascend910B-memory": "16385"})
            ],
            **ENDED,
        ),
        {"ascend-910b": 25_100},  # 250.02 thousandths are 251
    ),
    "a whole NPU without a share": (
        pod(containers=[container({"huawei.com/Ascend910B": "1"})], **ENDED),
        {"ascend-910b": 100_000},
    ),
    "two virtual cards, their cores ignored": (
        pod(
            containers=[
                container(
                    {
                        "volcano.sh/vgpu-number": "2",
                        "volcano.sh/vgpu-memory": "20k",
                        "volcano.sh/vgpu-cores": "30",
                    }
                )
            ],
            **ENDED,
        ),
        {"h100": 50_000},
    ),
    "what is ignored beside cards": (
        pod(containers=[container(GPU | {"rdma/hca": "1"})], **ENDED),
        {"h100": 200_000},
    ),
    "what the map does not know": (
        pod(containers=[container({"nvidia.com/gpu-next": "1"})], **ENDED),
        "no_device",
    ),
    "memory of no card": (
        pod(containers=[container({"huawei.com/Ascend910B-memory": "1"})], **ENDED),
        "no_device",
    ),
    "a number that is none": (
        pod(containers=[container({"nvidia.com/gpu": "1500m"})], **ENDED),
        "unreadable",
    ),
    "what its claims hold is theirs": (
        pod(spec={"resourceClaims": [{"name": "gpu"}]}, **ENDED),
        {"h100": 200_000},
    ),
    "a namespace without a contract": (pod(namespace="other", **ENDED), "no_contract"),
    "over, nobody knows since when": (pod(phase="Failed", statuses=()), {}),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_pods_become_what_they_held(tmp_path, name):
    body, expected = GOLDEN[name]
    found = run_of_json(body)
    if expected is None:
        assert found is None
        return
    map_ = config(tmp_path, map_=MAP).map
    made = plan(found, Known(), map_, Rhythm(), T0 + 10_000)
    if isinstance(expected, str):
        assert (made.slices, made.quarantine.code) == ([], expected)
        return
    assert made.quarantine is None
    sums: dict[str, int] = {}
    for each in made.slices:
        sums[each.device] = sums.get(each.device, 0) + each.milli_devices * (each.end - each.start)
    assert sums == expected


@pytest.mark.parametrize(
    ("body", "deleted_at", "end"),
    [
        (pod(), None, None),
        (pod(statuses=[over(T0 + 5)]), None, None),  # its container starts again
        (pod(), T0 + 50, T0 + 50),
        (pod(deletionTimestamp=at(T0 + 40)), T0 + 50, T0 + 40),
        (pod(deletionTimestamp=at(T0 + 90)), T0 + 50, T0 + 50),
        (pod(deletionTimestamp=at(T0 + 90)), None, None),
        (pod(statuses=[over(T0 + 33)], deletionTimestamp=at(T0 + 40)), T0 + 50, T0 + 33),
        (pod(statuses=[over(T0 + 33), RUNNING]), T0 + 50, T0 + 50),
        (pod(statuses=[over(None)]), T0 + 50, T0 + 50),
        (pod(statuses=()), T0 - 50, T0),
        (pod(**ENDED), T0 + 500, T0 + 100),
    ],
)
def test_a_pod_ends_when_its_last_container_finished_or_when_it_was_deleted(body, deleted_at, end):
    found = run_of_json(body, deleted_at=deleted_at)
    assert (found.begin, found.end) == (T0, end)
    assert found.standing == ("open" if end is None else "ended")


def test_a_label_can_tell_the_account():
    settings = msgspec.structs.replace(SETTINGS, account_label="example.org/team")
    labelled = pod(labels={"example.org/team": "team-b"})
    found = run_of(msgspec.convert(labelled, Pod), settings)
    assert (found.account, found.partition) == ("team-b", "team-a")
    found = run_of(msgspec.convert(pod(), Pod), settings)
    assert (found.account, found.partition) == ("", "team-a")


# Lists and watches


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


async def test_a_pod_is_seen_while_it_runs_and_whole_once_it_ended(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.server.put(pod())
        await place.once(T0 + 30)
        assert await metered(place.service) == {}
        await place.once(T0 + 960)  # nothing changed, so it goes on
        assert await metered(place.service) == {"k8s:k1:u1": 2_000 * 900}
        place.server.put(pod(statuses=[WAITING]))  # it restarts
        await place.once(T0 + 1_900)
        assert await metered(place.service) == {"k8s:k1:u1": 2_000 * 1_800}
        place.server.put(pod(phase="Succeeded", statuses=[over(T0 + 2_000)]))
        place.server.delete("u1")
        outcome, status = await place.once(T0 + 2_100)
        assert await metered(place.service) == {"k8s:k1:u1": 2_000 * 2_000}
        assert exit_code(status, outcome.faults) == 0
        assert place.server.asked == ["list", "watch", "watch", "watch"]
        await place.once(T0 + 9_000)
        assert await metered(place.service) == {"k8s:k1:u1": 2_000 * 2_000}


async def test_a_pod_that_came_and_went_between_two_readings_is_reported(database, tmp_path):
    async with site(database, tmp_path) as place:
        await place.once(T0)
        place.server.put(pod("u2", T0 + 3))
        place.server.put(pod("u2", T0 + 3, statuses=[over(T0 + 23)], phase="Succeeded"))
        place.server.delete("u2")
        place.server.put(pod("u3", T0 + 4))
        place.server.delete("u3")
        await place.once(T0 + 60)
        assert await metered(place.service) == {
            "k8s:k1:u2": 2_000 * 20,
            "k8s:k1:u3": 2_000 * 56,
        }


@pytest.mark.parametrize("gone_as_event", [False, True])
async def test_a_pod_that_is_gone_unseen_is_reported_to_when_it_was_seen_and_asked_about(
    database, tmp_path, gone_as_event
):
    async with site(database, tmp_path) as place:
        place.server.gone_as_event = gone_as_event
        for uid in ("u1", "u2", "u3"):
            place.server.put(pod(uid))
        for now in (T0 + 10, T0 + 1_000):
            await place.once(now)
        place.server.delete("u1")
        place.server.put(pod("u3", statuses=[over(T0 + 1_500)], phase="Failed"))
        place.server.put(pod("u4", T0 + 1_200))
        place.server.forget()
        outcome, status = await place.once(T0 + 1_900)
        assert place.server.asked[-2:] == ["watch", "list"]
        assert await metered(place.service) == {
            "k8s:k1:u1": 2_000 * 1_000,
            "k8s:k1:u2": 2_000 * 1_800,
            "k8s:k1:u3": 2_000 * 1_500,
            "k8s:k1:u4": 2_000 * 600,
        }
        assert [(each.run, each.trouble.code) for each in status.questions] == [
            ("k8s:k1:u1", "unseen")
        ]
        assert exit_code(status, outcome.faults) == 3
        before = await metered(place.service)
        await place.once(T0 + 1_910)
        await place.approve()
        outcome, status = await place.once(T0 + 1_920)
        assert (await metered(place.service), exit_code(status, outcome.faults)) == (before, 0)


async def test_a_pod_that_was_only_missed_goes_on(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.server.put(pod())
        await place.once(T0 + 1_000)
        missed = place.server.objects.pop("u1")
        place.server.put(pod("u2", T0 + 1_100))
        place.server.forget()
        _, status = await place.once(T0 + 1_900)
        assert len(status.questions) == 1
        place.server.put(missed)
        _, status = await place.once(T0 + 2_800)
        assert status.questions == ()
        assert (await metered(place.service))["k8s:k1:u1"] == 2_000 * 2_700


async def test_a_watch_that_breaks_confirms_nothing_and_loses_nothing(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.server.put(pod("u1"))
        place.server.put(pod("u2"))
        await place.once(T0 + 10)
        place.server.put(pod("u2", phase="Failed", statuses=[over(T0 + 99)]))
        place.server.delete("u1")
        place.server.fail = ["cut"]
        outcome, _ = await place.once(T0 + 1_000)
        assert outcome.faults[0].startswith("kubernetes: ")
        assert set(await metered(place.service)) <= {"k8s:k1:u2"}
        outcome, status = await place.once(T0 + 1_010)
        assert await metered(place.service) == {
            "k8s:k1:u1": 2_000 * 1_010,
            "k8s:k1:u2": 2_000 * 99,
        }
        assert exit_code(status, outcome.faults) == 0


async def test_a_watch_without_a_bookmark_confirms_nothing(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.server.put(pod())
        await place.once(T0 + 10)
        place.server.bookmarks = False
        outcome, status = await place.once(T0 + 1_000)
        assert outcome.faults == ["kubernetes: a watch ended before all was told"]
        assert (await metered(place.service), status.complete_at) == ({}, T0 + 10)
        place.server.bookmarks = True
        await place.once(T0 + 1_010)
        assert await metered(place.service) == {"k8s:k1:u1": 2_000 * 900}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((403, problem(403, "pods is forbidden")), "the API server answers 403: pods is forbidden"),
        ((200, {"metadata": {}, "items": 1}), "Expected `array`"),
        ((200, {"metadata": {}, "items": [{}]}), "missing required field `metadata`"),
        (
            (
                200,
                {
                    "metadata": {},
                    "items": [
                        pod()
                        | {
                            "status": {
                                "conditions": [
                                    {
                                        "type": "PodScheduled",
                                        "status": "True",
                                        "lastTransitionTime": "soon",
                                    }
                                ]
                            }
                        }
                    ],
                },
            ),
            "not an instant",
        ),
    ],
)
async def test_an_answer_that_is_none_is_trouble_and_changes_nothing(
    database, tmp_path, answer, told
):
    async with site(database, tmp_path) as place:
        place.server.put(pod())
        place.server.fail = [answer]
        outcome, status = await place.once(T0 + 1_000)
        assert told in outcome.faults[0]
        assert (status.complete_at, await metered(place.service)) == (None, {})
        assert exit_code(status, outcome.faults) == 1
        await place.once(T0 + 1_010)
        assert await metered(place.service) == {"k8s:k1:u1": 2_000 * 900}


async def test_long_lists_come_in_pages_and_begin_anew_where_one_is_too_old(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(kubernetes, "PAGE", 3)
    async with site(database, tmp_path) as place:
        for number in range(10):
            place.server.put(pod(f"u{number}", **ENDED))
        async with Api.of(msgspec.structs.replace(SETTINGS, url=place.server.url)) as api:
            found = await api.all(kubernetes.PODS)
        assert (len(found.items), found.version) == (10, "1010")
        assert place.server.asked == ["list"] * 4
        await place.once(T0 + 1_000)
        assert len(await metered(place.service)) == 10


async def test_an_unmapped_pod_is_reported_whole_once_it_is_mapped_though_it_is_gone(
    database, tmp_path
):
    unmapped = MAP.replace('"team-b"', '"team-c"') + '[[ignore]]\naccount = "team-d"\n'
    async with site(database, tmp_path, map_=unmapped) as place:
        for uid, namespace in (("u1", "team-b"), ("u2", "team-d")):
            place.server.put(pod(uid, namespace=namespace, **ENDED))
        _, status = await place.once(T0 + 200)
        assert [each.run for each in status.quarantined] == ["k8s:k1:u1"]
        place.server.delete("u1")
        place.server.delete("u2")
        await place.once(T0 + 300)
        text = (place.folder / "agent.toml").read_text()
        text = text.replace('"team-c"', '"team-b"')
        text = text.replace('[[ignore]]\naccount = "team-d"', '[[contract]]\naccount = "team-d"')
        (place.folder / "agent.toml").write_text(text + 'contract = "B"\n')
        await place.once(T0 + 400)
        assert await metered(place.service) == {"k8s:k1:u1": 200_000, "k8s:k1:u2": 200_000}


async def test_the_token_is_read_from_its_file_each_time(database, tmp_path):
    more = 'token = "kube.token"\n'
    async with site(database, tmp_path, more=more, token="second") as place:
        (place.folder / "kube.token").write_text("first\n")
        outcome, _ = await place.once()
        assert outcome.faults == ["kubernetes: the API server answers 401: Unauthorized"]
        (place.folder / "kube.token").write_text("second\n")
        outcome, status = await place.once()
        assert exit_code(status, outcome.faults) == 0


async def test_doctor_tells_whether_pods_are_told(database, tmp_path):
    async with site(database, tmp_path) as place:
        place.server.put(pod())
        file = read_config(place.folder / "agent.toml")
        found = [each async for each in examine(file)]
        assert found[0].what == "pods and allocated claims: 1, without an end 1"
        place.server.fail = [(403, problem(403, "no"))]
        found = [each async for each in examine(file)]
        assert "list and watch pods and resourceclaims" in found[0].remedy


async def test_outside_a_cluster_an_address_is_needed(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = await kubernetes.read(SETTINGS, {}, None, T0)
    assert found.faults == ("kubernetes: this process is no pod, and [kubernetes] has no `url`",)


# Resource claims


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
CLAIM_MAP = MAP + (
    '[[device]]\nresource = "gpu.example"\ndevice = "h100"\n'
    '[[device]]\nresource = "slice.example"\ndevice = "h100-1g.10gb"\n'
)


@pytest.mark.parametrize(
    ("results", "allocation"),
    [
        (CARDS, "milli/gpu.example=2000"),
        (
            (given("any/small", "0"), given("any/big", "1")),
            "milli/gpu.example=1000,milli/slice.example=1000",
        ),
        ((*CARDS, given("cards", "2", adminAccess=True)), "milli/gpu.example=2000"),
        ((given("cards", "0", adminAccess=False),), "milli/gpu.example=1000"),
        ((given("cards", "0", adminAccess=True),), ""),
        ((given("cards", "0", shareID="x"),), "milli/gpu.example=share"),
        ((given("gone", "0"),), "milli/?=1000"),
    ],
)
def test_a_claim_holds_the_devices_that_it_was_given(results, allocation):
    body = msgspec.convert(claim("c1", *results), kubernetes.Claim)
    (found,) = kubernetes.runs_of_claim(body, SETTINGS, {}, T0 + 5)
    assert (found.id, found.begin, found.end) == (f"k8s:k1:claim:c1:{T0}", T0, None)
    assert (found.account, found.allocation) == ("team-a", allocation)


async def test_a_claim_counts_once_however_many_pods_share_it(database, tmp_path):
    async with site(database, tmp_path, map_=CLAIM_MAP) as place:
        shared = {"resourceClaims": [{"name": "x", "resourceClaimName": "claim-c1"}]}
        plain_cpu = [container({"cpu": "1"})]
        place.server.put(claim("c0"))  # it waits
        place.server.put(claim("c1", *CARDS))
        for uid in ("u1", "u2"):
            place.server.put(pod(uid, containers=plain_cpu, spec=shared))
        await place.once(T0 + 30)
        await place.once(T0 + 960)
        run_ = f"k8s:k1:claim:c1:{T0}"
        assert await metered(place.service) == {run_: 2_000 * 900}
        place.server.delete("u1")
        place.server.delete("u2")
        place.server.put(claim("c1"))  # given back
        outcome, status = await place.once(T0 + 1_000)
        assert await metered(place.service) == {run_: 2_000 * 1_000}
        assert exit_code(status, outcome.faults) == 0
        place.server.put(claim("c1", given("any/small", "7"), since=T0 + 1_100))  # and given again
        await place.once(T0 + 1_110)
        place.server.delete("c1")
        await place.once(T0 + 1_200)
        again = f"k8s:k1:claim:c1:{T0 + 1_100}"
        assert await metered(place.service) == {run_: 2_000 * 1_000, again: 1_000 * 100}


async def test_a_claim_whose_begin_is_not_told_began_when_it_was_seen(database, tmp_path):
    async with site(database, tmp_path, map_=CLAIM_MAP) as place:
        await place.once(T0)
        place.server.put(claim("c1", *CARDS, since=None))
        for now in (T0 + 60, T0 + 120, T0 + 180):
            place.server.put(claim("c1", *CARDS, since=None))
            await place.once(now)
        place.server.delete("c1")
        await place.once(T0 + 260)
        assert await metered(place.service) == {f"k8s:k1:claim:c1:{T0 + 60}": 2_000 * 200}


async def test_a_claim_that_is_gone_unseen_is_asked_about(database, tmp_path):
    async with site(database, tmp_path, map_=CLAIM_MAP) as place:
        for uid in ("c1", "c2", "c3"):
            place.server.put(claim(uid, *CARDS))
        await place.once(T0 + 500)
        place.server.delete("c1")
        place.server.put(claim("c2"))
        place.server.forget()
        _, status = await place.once(T0 + 1_900)
        assert await metered(place.service) == {
            f"k8s:k1:claim:c1:{T0}": 2_000 * 500,
            f"k8s:k1:claim:c2:{T0}": 2_000 * 500,
            f"k8s:k1:claim:c3:{T0}": 2_000 * 1_800,
        }
        assert [each.trouble.code for each in status.questions] == ["unseen", "unseen"]


async def test_where_claims_cannot_be_read_pods_that_have_some_are_not_reported(database, tmp_path):
    async with site(database, tmp_path, map_=CLAIM_MAP) as place:
        place.server.has_claims = False
        place.server.put(pod("u1", spec={"resourceClaims": [{"name": "x"}]}, **ENDED))
        place.server.put(pod("u2", **ENDED))
        _, status = await place.once(T0 + 200)
        assert await metered(place.service) == {"k8s:k1:u2": 200_000}
        held = [(each.run, each.trouble.code) for each in status.quarantined]
        assert held == [("k8s:k1:u1", "resource_claims")]
        outcome, _ = await place.once(T0 + 300)
        assert outcome.faults == []


# A real client, and a real cluster


def needs_kubectl() -> str:
    found = shutil.which("kubectl")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kubectl is missing, and CI installs it")
        pytest.skip("kubectl is not installed")
    return found


async def kubectl(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(needs_kubectl(), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return out.decode()


async def test_kubectl_lists_and_watches_the_stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # kubectl caches what a server has
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    needs_kubectl()
    async with ApiServer(lambda: T0) as server:
        for number in range(7):
            server.put(pod(f"u{number}"))
        server.patience_seconds = 1.0
        where = ("--server", server.url, "get", "pods", "--all-namespaces")
        listed = json.loads(await kubectl(*where, "--chunk-size=3", "-o", "json"))
        assert {each["metadata"]["uid"] for each in listed["items"]} == set(server.objects)
        watching = asyncio.create_task(kubectl(*where, "--watch-only", "-o", "name"))
        while server.asked[-1:] != ["watch"]:  # noqa: ASYNC110 - kubectl tells nobody
            await asyncio.sleep(0.05)
        server.put(pod("u9"))
        assert await watching == "pod/pod-u9\n"
        server.put(claim("c1", *CARDS))
        where = ("--server", server.url, "get", "resourceclaims", "--all-namespaces")
        assert await kubectl(*where, "-o", "name") == "resourceclaim.resource.k8s.io/claim-c1\n"


@pytest.mark.skipif("KASHI_TEST_KUBECONFIG" not in os.environ, reason="no real cluster is named")
async def test_a_real_cluster_tells_the_agent_what_it_tells_kubectl():
    """Through `kubectl proxy`: a list, and a watch that confirms it."""
    kubeconfig = f"--kubeconfig={os.environ['KASHI_TEST_KUBECONFIG']}"
    process = await asyncio.create_subprocess_exec(
        *(needs_kubectl(), kubeconfig, "proxy", "--port=0"), stdout=asyncio.subprocess.PIPE
    )
    try:
        line = (await process.stdout.readline()).decode()
        address = re.search(r"127\.0\.0\.1:\d+", line)[0]
        settings = msgspec.structs.replace(SETTINGS, url=f"http://{address}")
        listed = json.loads(await kubectl(kubeconfig, "get", "pods", "-A", "-o", "json"))
        found = await kubernetes.read(settings, {}, None, T0)
        assert found.faults == ()
        runs = {run.id for each in listed["items"] if (run := run_of_json(each)) is not None}
        assert runs == {id_ for id_ in found.runs if ":claim:" not in id_}
        known = {id_: (run, found.at) for id_, run in found.runs.items() if run.end is None}
        later = await kubernetes.read(settings, known, found.cursor, T0)
        assert later.faults == ()
        assert set(known) <= set(later.runs)
    finally:
        process.terminate()
        await process.wait()


# The page


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


async def test_the_page_runs(database, tmp_path):
    async with serving(database, tmp_path, NOON) as service, ApiServer(lambda: T0 + 960) as server:
        await service.activate()
        await service.ask("/v1/providers", **provider_body(devices=KINDS))
        await service.ask("/v1/enterprises", **enterprise_body())
        prices = dict.fromkeys(KINDS, "9.00")
        await service.ask("/v1/contracts", **contract_body("TC-2025-0001", prices=prices))
        folder = tmp_path / "provider"
        folder.mkdir()
        body = keygen(folder / "pcl.key", ORIGIN, "pcl", "pcl-2025a")
        await service.ask("/v1/providers/pcl/keys", **body)
        server.put(pod())
        server.put(pod("u2", namespace="kube-system", containers=[container({"cpu": "1"})]))
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
            "KASHI": service.url,
            "CLUSTER": server.url,
            "LOG": ORIGIN,
            "GENESIS": service.intake.state.genesis_hash,
            "RECEIPT_KEY": base64.b64encode(receipt_key(service)).decode(),
        }
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", block("sh config") + block("sh once")],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert re.sub(r"\d+ s ago", "N s ago", done.stdout) == re.sub(
            r"\d+ s ago", "N s ago", block("text once")
        )
        assert await metered(service) == {"k8s:k1:u1": 2_000 * 900}
