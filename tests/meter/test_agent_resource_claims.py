"""Resource claims of pods: each is counted once, for as long as it was held."""

import msgspec
import pytest

from meter.agent.collect import kubernetes
from meter.agent.status import exit_code
from tests.agents import T0, metered
from tests.pods import CARDS, ENDED, MAP, SETTINGS, claim, container, given, pod, site

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


async def test_a_claim_as_deep_as_a_server_takes_it_stops_no_reading(database, tmp_path):
    deep = claim("c1", *CARDS)
    parameters = {"opaque": {"driver": "d", "parameters": {"x": "NESTED"}}}
    deep["spec"]["devices"]["config"] = [parameters]
    async with site(database, tmp_path, map_=CLAIM_MAP) as place:
        place.server.nested = 5_000  # of 10 KiB
        place.server.put(deep)
        place.server.put(pod("u1", **ENDED))
        listed, _ = await place.once(T0 + 200)
        place.server.put(deep)
        place.server.put(pod("u2", **ENDED))
        watched, _ = await place.once(T0 + 300)
        assert (listed.faults, watched.faults) == ([], [])
        assert await metered(place.service) == {"k8s:k1:u1": 200_000, "k8s:k1:u2": 200_000}
        place.server.nested = 1_000_000
        place.server.put(deep)
        outcome, status = await place.once(T0 + 400)
        assert outcome.faults == ["kubernetes: an object is nested too deeply"]
        assert exit_code(status, outcome.faults) == 1


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
