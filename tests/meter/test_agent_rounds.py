"""What a round costs does not grow with what the spool has of runs that are over."""

from meter.agent.store import Spool
from tests.agents import T0
from tests.pods import over, pod, site


async def test_a_pod_that_runs_for_long_has_no_older_runs_read_in_each_round(
    database, tmp_path, monkeypatch
):
    read: list[str] = []
    settled = Spool.settled

    def counted(self, since):
        found = settled(self, since)
        read.extend(found)
        return found

    monkeypatch.setattr(Spool, "settled", counted)
    async with site(database, tmp_path) as place:
        place.server.put(pod("u1"))
        for number in range(2, 6):
            place.server.put(pod(f"u{number}", statuses=[over(T0 + 9)], phase="Succeeded"))
        await place.once(T0 + 30)
        await place.once(T0 + 1_000)
        assert read == []
        place.server.put(pod("u5", statuses=[over(T0 + 9)], phase="Succeeded", labels={"a": "b"}))
        outcome, _ = await place.once(T0 + 1_100)
        assert read == [f"k8s:k1:u{number}" for number in range(2, 6)]
        assert outcome.records == []
