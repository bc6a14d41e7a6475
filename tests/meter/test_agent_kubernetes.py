"""The agent on Kubernetes: what lists and watches tell of pods, and what is reported of them.

The API server is the stand-in of tests/kube.py, which kubectl accepts; `KASHI_TEST_KUBECONFIG`
names a real cluster for the test that compares both.
"""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from meter.agent.collect import kubernetes
from meter.agent.collect.kubernetes import Api
from meter.agent.config import read_config
from meter.agent.doctor import examine
from meter.agent.status import exit_code
from meter.client import keygen
from tests.agents import NOON, T0, metered
from tests.kube import ApiServer
from tests.kube import status_of as problem
from tests.pods import (
    CARDS,
    ENDED,
    KINDS,
    MAP,
    SETTINGS,
    WAITING,
    claim,
    container,
    over,
    pod,
    run_of_json,
    site,
)
from tests.programs import program
from tests.services import (
    ORIGIN,
    contract_body,
    enterprise_body,
    provider_body,
    receipt_key,
    serving,
)

PAGE = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text(encoding="utf-8")


# Lists and watches


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


# A real client, and a real cluster


async def kubectl(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(program("kubectl"), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return out.decode()


async def test_kubectl_lists_and_watches_the_stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # kubectl caches what a server has
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    program("kubectl")
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
        *(program("kubectl"), kubeconfig, "proxy", "--port=0"), stdout=asyncio.subprocess.PIPE
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
