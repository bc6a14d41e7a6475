"""What pods, spool and service say of a day, and a spool of pods that was lost or is older."""

import shutil
from pathlib import Path

from meter.agent.adopt import adopt
from meter.agent.compare import compare_day
from meter.agent.config import read_config
from meter.agent.run import Agent
from meter.values.units import day_of, day_start
from tests.agents import NO_PAUSE, T0, metered
from tests.pods import over, pod, site
from tests.services import authorization

TOKEN = 'token = "pcl.token"'


async def config_of(place):
    """Return the agent's configuration, with a token of the provider."""
    token = await authorization(place.service, "pcl-agent", "provider", "pcl")
    (place.folder / "pcl.token").write_text(token.removeprefix("Bearer "))
    file = place.folder / "agent.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("[service]", f"[service]\n{TOKEN}"), encoding="utf-8")
    return read_config(file)


async def test_a_pod_that_ended_and_is_still_listed_agrees(database, tmp_path):
    async with site(database, tmp_path) as place:
        file = await config_of(place)
        for uid in ("u1", "u2", "u3"):
            place.server.put(pod(uid))
        await place.once(T0 + 10)
        place.server.put(pod("u1", phase="Succeeded", statuses=[over(T0 + 500)]))
        place.server.put(pod("u2", phase="Succeeded", statuses=[over(T0 + 500)]))
        place.server.delete("u2")
        await place.once(T0 + 1_000)
        place.now = T0 + 1_100
        async with Agent(file, **NO_PAUSE) as agent:
            found = await compare_day(agent, file, day_start(day_of(T0)))
        assert [(each.run, each.scheduler, each.reason) for each in found] == [
            ("k8s:k1:u1", 2_000 * 500, ""),
            ("k8s:k1:u2", 0, "gone"),
            ("k8s:k1:u3", 2_000 * 900, ""),
        ]


async def test_an_older_spool_learns_of_pods_that_did_not_change_since(database, tmp_path):
    async with site(database, tmp_path) as place:
        file = await config_of(place)
        spool = Path(file.spool).parent
        await place.once(T0)
        shutil.copytree(spool, tmp_path / "older")
        place.server.put(pod("u1"))
        place.server.put(pod("u2", phase="Succeeded", statuses=[over(T0 + 500)]))
        await place.once(T0 + 1_000)
        before = await metered(place.service)
        shutil.rmtree(spool)
        shutil.copytree(tmp_path / "older", spool)
        place.now = T0 + 1_100
        async with Agent(file, **NO_PAUSE) as agent:
            assert (await adopt(agent, file, T0 + 1_100)).slices == 2
        await place.once(T0 + 1_100)
        assert await metered(place.service) == before
