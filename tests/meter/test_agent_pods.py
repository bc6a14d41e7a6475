"""What pods become: thousandths × seconds by device, or why they are not reported."""

import msgspec
import pytest

from meter.agent.collect.kubernetes import Pod, run_of
from meter.agent.plan import Known, plan
from meter.agent.slice import Rhythm
from tests.agents import T0, config
from tests.pods import (
    ENDED,
    GPU,
    MAP,
    RUNNING,
    SETTINGS,
    WAITING,
    at,
    container,
    over,
    pod,
    run_of_json,
)


def conditions(begin: int, **others: int) -> dict:
    found = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(begin)}]
    for name, instant in others.items():
        found.append({"type": name, "status": "False", "lastTransitionTime": at(instant)})
    return {"conditions": found}


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
