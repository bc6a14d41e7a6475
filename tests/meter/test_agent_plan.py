"""Slices of a run, for any order of readings; corrections, and what waits for a person."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.agent.devices import Unvaluable, devices_in
from meter.agent.plan import MAX_AGE_SECONDS, Known, Plan, plan, vanished
from meter.agent.slice import Rhythm, due
from tests.agents import MAP, config, run

RHYTHM = Rhythm()
DAY = 86_400
T0 = 1_795_910_400  # an hour of the day that is a boundary of slices


def spans(made: Plan) -> list[tuple[int, int]]:
    return [(each.start, each.end) for each in made.slices]


def settle(known: Known, made: Plan, terms) -> Known:
    """Return what is known once the ledger has taken what a plan says."""
    gone = {each.id for each in made.voids}
    kept = [replace(each, standing="void") if each.id in gone else each for each in known.slices]
    return Known([*kept, *(replace(each, standing="held") for each in made.slices)], terms)


# Slices


def test_a_running_job_is_cut_at_quarters_of_an_hour_and_at_its_end(tmp_path):
    """A job of two cards from 00:39:02 to 01:04:02 UTC, read each minute."""
    begin, end, known, reported = T0 + 2_342, T0 + 3_842, Known(), []
    for at in range(begin, end + 120, 60):
        seen = run(1, begin) if at < end else run(1, begin, end)
        made = plan(seen, known, config(tmp_path).map, RHYTHM, at)
        known = settle(known, made, seen.terms)
        reported += [(at >= end, 2 * (to - since)) for since, to in spans(made)]
    assert reported == [(False, 716), (False, 1_800), (True, 484)]
    assert [each.final for each in known.slices] == [False, False, True]


def test_a_boundary_is_reported_once_a_later_reading_confirms_it():
    seen = run(1, T0)
    assert due(seen, [], T0 + 959, RHYTHM, charges_suspended=False) == []
    assert due(seen, [], T0 + 960, RHYTHM, charges_suspended=False) == [(T0, T0 + 900)]


def test_what_is_held_is_not_computed_again_when_the_length_of_slices_changes():
    held = [(T0, T0 + 300), (T0 + 300, T0 + 600)]
    found = due(run(1, T0), held, T0 + 1_000, Rhythm(420, 60), charges_suspended=False)
    assert all(start >= T0 + 600 for start, _ in found)
    assert found[0][0] == T0 + 600
    assert due(run(1, T0, T0 + 700), held, T0 + 800, Rhythm(420, 60), charges_suspended=False) == [
        (T0 + 600, T0 + 700)
    ]


@dataclass
class Life:
    """A run that truly happened: its end, and when it was suspended."""

    end: int
    suspended: list[tuple[int, int]]

    def ran(self, at: int) -> int:
        """Return the seconds that it had run at an instant, its begin being 0."""
        off = sum(max(0, min(at, self.end, end) - min(start, at)) for start, end in self.suspended)
        return min(at, self.end) - off

    def seen(self, at: int):
        is_over = at >= self.end
        was_suspended = any(start < min(at, self.end) for start, _ in self.suspended)
        return replace(
            run(1, T0, T0 + self.end if is_over else None),
            ran=self.ran(at),
            was_suspended=was_suspended,
        )


@st.composite
def lives(draw) -> Life:
    end = draw(st.integers(0, 5_000))
    edges = draw(st.lists(st.integers(0, 5_000), unique=True, max_size=6).map(sorted))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return Life(end, [(start, min(to, end)) for start, to in pairs if start < end])


READINGS = st.lists(
    st.tuples(
        st.integers(0, 900),
        st.sampled_from([Rhythm(300, 30), Rhythm(420, 60), Rhythm(900, 60), Rhythm(10, 2)]),
    ),
    max_size=30,
)


@given(lives(), READINGS, st.booleans())
def test_slices_are_disjoint_lie_inside_the_run_and_add_up_to_its_seconds(life, readings, charges):
    held, at, most = [], 0, 0
    for pause, rhythm in [*readings, (10_000, RHYTHM)]:
        at += pause
        found = due(life.seen(at), held, T0 + at, rhythm, charges_suspended=charges)
        held += found
        assert found == sorted(found)
        # Never more than what had truly run at the boundary: nothing has to be taken back.
        until = max(0, at if at >= life.end else rhythm.boundary(T0 + at) - T0)
        most = max(most, min(until, life.end) if charges else life.ran(until))
        assert sum(end - start for start, end in held) <= most
    ordered = sorted(held)
    assert all(start < end for start, end in ordered)
    assert all(one[1] <= two[0] for one, two in pairwise(ordered))
    assert all(start >= T0 and end <= T0 + life.end for start, end in ordered)
    seconds = life.end if charges else life.ran(life.end)
    assert sum(end - start for start, end in ordered) == seconds


# The map


def rules(folder, text: str):
    return config(folder, map_=MAP + text).map


def test_a_run_is_cut_where_its_contract_changes_at_a_shanghai_midnight(tmp_path):
    map_ = config(
        tmp_path,
        map_=MAP.replace('contract = "A"', 'contract = "A"\n    until = "2026-11-27"')
        + '\n[[contract]]\naccount = "acc-a"\ncontract = "A2"\nfrom = "2026-11-27"\n',
    ).map
    midnight = 1_795_708_800  # 2026-11-27 in Shanghai
    made = plan(run(1, midnight - 50, midnight + 70), Known(), map_, RHYTHM, T0)
    assert [(each.contract, each.start, each.end) for each in made.slices] == [
        ("A", midnight - 50, midnight),
        ("A2", midnight, midnight + 70),
    ]


def test_what_ran_before_a_contract_ended_is_reported_and_the_rest_waits(tmp_path):
    text = MAP.replace('contract = "A"', 'contract = "A"\n    until = "2026-11-27"')
    map_ = config(tmp_path, map_=text).map
    midnight = 1_795_708_800
    made = plan(run(1, midnight - 50, midnight + 70), Known(), map_, RHYTHM, T0)
    assert spans(made) == [(midnight - 50, midnight)]
    assert made.quarantine is not None
    assert made.quarantine.code == "no_contract"


def test_a_run_of_more_than_a_month_is_cut(tmp_path):
    begin = T0 - 70 * DAY
    made = plan(run(1, begin, T0), Known(), config(tmp_path).map, RHYTHM, T0)
    assert [end - start for start, end in spans(made)] == [31 * DAY, 31 * DAY, 8 * DAY]


def test_an_entry_that_names_more_wins(tmp_path):
    text = '\n[[contract]]\naccount = "acc-a"\npartition = "urgent"\ncontract = "U"\n'
    text += '\n[[device]]\nresource = "gpu:h100"\npartition = "urgent"\ndevice = "h800"\n'
    made = plan(
        run(1, T0, T0 + 9, partition="urgent"), Known(), rules(tmp_path, text), RHYTHM, T0 + 99
    )
    assert [(each.contract, each.device) for each in made.slices] == [("U", "h800")]


@pytest.mark.parametrize(
    ("text", "changes", "code"),
    [
        ("", {"account": "acc-none"}, "no_contract"),
        ('[[contract]]\naccount = "acc-a"\ncontract = "C"', {}, "ambiguous"),
        ('[[ignore]]\npartition = "batch"', {}, "ambiguous"),
        ("", {"allocation": "cpu=1,gres/gpu=2"}, "no_device"),
        ("", {"allocation": "cpu=1,gres/gpu:a100=2,gres/gpu=2"}, "no_device"),
        ("", {"allocation": "cpu=1,gres/nic=1"}, "no_device"),
        ("", {"allocation": "gres/gpu:h100=1,gres/gpu=3"}, "types_differ"),
        ("", {"allocation": "gres/gpu:h100=1"}, "types_differ"),
        ("", {"allocation": "gres/gpu=two"}, "unreadable"),
        ("", {"allocation": f"gres/gpu={10**9}"}, "unreadable"),
        ("", {"allocation": "gres/gpu=1,gres/gpu=2"}, "unreadable"),
        ("", {"standing": "twice"}, "twice"),
    ],
)
def test_nothing_is_guessed(tmp_path, text, changes, code):
    seen = run(1, T0, T0 + 9, **changes)
    made = plan(seen, Known(), rules(tmp_path, f"\n{text}\n"), RHYTHM, T0 + 99)
    assert made.slices == []
    assert made.quarantine is not None
    assert made.quarantine.code == code


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ('[[ignore]]\naccount = "staff"', {"account": "staff"}),
        ('[[ignore]]\naccount = "acc-a"\npartition = "batch"', {}),
        ('[[ignore]]\nresource = "gpu:h100"', {}),
        ('[[ignore]]\nresource = "gpu:h100"\npartition = "batch"', {}),
        ("", {"allocation": "billing=1,cpu=1,mem=100M,node=1"}),
        ("", {"allocation": "", "account": "acc-none"}),
        ("", {"allocation": "gres/gpu=0", "account": "acc-none"}),
        ("", {"standing": "doubtful", "end": None}),
    ],
)
def test_what_is_ignored_or_holds_no_device_is_no_trouble(tmp_path, text, changes):
    seen = run(1, T0, **({"end": T0 + 9, "standing": "ended"} | changes))
    made = plan(seen, Known(), rules(tmp_path, f"\n{text}\n"), RHYTHM, T0 + 99)
    assert made == Plan()


def test_a_partition_can_say_what_cards_without_a_type_are(tmp_path):
    text = '\n[[device]]\nresource = "gpu"\npartition = "old"\ndevice = "v100"\n'
    map_ = rules(tmp_path, text)
    seen = run(1, T0, T0 + 9, allocation="gres/gpu=2", partition="old")
    made = plan(seen, Known(), map_, RHYTHM, T0 + 99)
    assert [(each.device, each.milli_devices) for each in made.slices] == [("v100", 2_000)]
    # A type that nobody mapped is no card without a type.
    typed = replace(seen, allocation="gres/gpu:1g.10gb.me=2,gres/gpu=2")
    assert plan(typed, Known(), map_, RHYTHM, T0 + 99).slices == []


@pytest.mark.parametrize(
    "text",
    [
        "spoon = 1",
        "[[contract]]\naccount = 'acc-a'",
        "[[contract]]\naccount = 'acc-a'\ncontract = 'A'\nfrom = '2026-02-30'",
        "[[contract]]\naccount = 'a'\ncontract = 'A'\nfrom = '2026-03-01'\nuntil = '2026-03-01'",
        "[[device]]\nresource = 'gpu:h100'\ndevice = 'x'",
        "[[device]]\nresource = 'gpu:a'\ndevice = 'x'\nmilli = 1001",
        "[[ignore]]",
        "[[ignore]",
    ],
)
def test_a_file_with_a_fault_is_refused_with_its_place(tmp_path, text):
    with pytest.raises(ValueError, match=r"agent\.toml: .+"):
        config(tmp_path, map_=f"{MAP}\n{text}\n")


@pytest.mark.parametrize(
    "url", ["kashi.example", "ftp://kashi.example", "http://", "http://k:99999", "http://k?a=b"]
)
def test_an_url_that_is_none_is_refused(tmp_path, url):
    with pytest.raises(ValueError, match=r"agent\.toml: `url`"):
        config(tmp_path, url=url)
    cluster = f'[kubernetes]\ncluster = "k1"\nsince = "2026-01-01T00:00:00+08:00"\nurl = "{url}"\n'
    with pytest.raises(ValueError, match=r"agent\.toml: `url` in \[kubernetes\]"):
        config(tmp_path, source=cluster)


def test_devices_are_those_of_all_nodes():
    assert devices_in("billing=2,gres/gpu:h100=4,gres/gpu=4,mem=200M,node=2") == {"gpu:h100": 4}
    assert devices_in("gres/npu=4,gres/gpu:a=1,gres/gpu:b=2,gres/gpu=3") == {
        "npu": 4,
        "gpu:a": 1,
        "gpu:b": 2,
    }
    with pytest.raises(Unvaluable, match="types_differ"):
        devices_in("gres/gpu:a=1,gres/gpu:b=2,gres/gpu=4")


# Corrections


def held(folder, seen, at=T0 + 100_000) -> Known:
    return settle(Known(), plan(seen, Known(), config(folder).map, RHYTHM, at), seen.terms)


def test_a_run_that_turns_out_longer_gets_more_slices(tmp_path):
    known = held(tmp_path, run(1, T0, T0 + 100))
    made = plan(run(1, T0, T0 + 130), known, config(tmp_path).map, RHYTHM, T0 + 999)
    assert (spans(made), made.voids) == ([(T0 + 100, T0 + 130)], [])


def test_of_a_run_that_turns_out_shorter_the_first_wrong_slice_and_all_later_are_taken_back(
    tmp_path,
):
    map_, known = config(tmp_path).map, Known()
    for at in (T0 + 960, T0 + 1_860, T0 + 2_760):
        known = settle(known, plan(run(1, T0), known, map_, RHYTHM, at), run(1, T0).terms)
    seen = run(1, T0, T0 + 1_700)
    made = plan(seen, known, map_, RHYTHM, T0 + 3_000)
    assert [(each.start, each.end) for each in made.voids] == [
        (T0 + 900, T0 + 1_800),
        (T0 + 1_800, T0 + 2_700),
    ]
    # Not before the ledger has taken the voids.
    assert (spans(made), made.is_unfinished) == ([], True)
    gone = {each.id for each in made.voids}
    leaving = [replace(s, standing="voiding") if s.id in gone else s for s in known.slices]
    waits = plan(seen, replace(known, slices=leaving), map_, RHYTHM, T0 + 4_000)
    assert waits == Plan(is_unfinished=True)
    known = settle(known, made, seen.terms)
    rest = plan(seen, known, map_, RHYTHM, T0 + 4_000)
    assert (spans(rest), rest.is_unfinished) == ([(T0 + 900, T0 + 1_700)], False)
    assert rest.slices[0].id == f"{seen.id}:h100:{T0 + 900}:1"
    assert plan(seen, settle(known, rest, seen.terms), map_, RHYTHM, T0 + 4_000) == Plan()


def test_while_voids_are_on_their_way_a_run_that_goes_on_is_reported_beside_them(tmp_path):
    map_, known = config(tmp_path).map, held(tmp_path, run(1, T0), at=T0 + 960)
    leaving = replace(known, slices=[replace(known.slices[0], standing="voiding")])
    made = plan(run(1, T0), leaving, map_, RHYTHM, T0 + 1_860)
    assert (spans(made), made.is_unfinished) == ([(T0 + 900, T0 + 1_800)], True)
    assert [each.revision for each in made.slices] == [1]


@pytest.mark.parametrize(
    ("changes", "at", "code"),
    [
        ({"end": T0 + 49}, T0 + 999, "shrunk"),
        ({"account": "acc-b"}, T0 + 999, "changed"),
        ({"allocation": "gres/gpu:h100=1,gres/gpu=1"}, T0 + 999, "changed"),
        ({"allocation": "cpu=1"}, T0 + 999, "changed"),
        ({"end": T0 + 99}, T0 + 100 + MAX_AGE_SECONDS, "old"),
    ],
)
def test_some_corrections_wait_for_a_person(tmp_path, changes, at, code):
    map_, known = config(tmp_path).map, held(tmp_path, run(1, T0, T0 + 100))
    seen = replace(run(1, T0, T0 + 100), **changes)
    made = plan(seen, known, map_, RHYTHM, at)
    assert (made.slices, made.voids) == ([], [])
    assert made.question is not None
    assert made.question.code == code
    known = replace(known, approved=made.question.mark)
    approved = plan(seen, known, map_, RHYTHM, at)
    assert [each.id for each in approved.voids] == [each.id for each in known.slices]
    assert approved.slices == []
    rest = plan(seen, settle(known, approved, seen.terms), map_, RHYTHM, at)
    assert sum(end - start for start, end in spans(rest)) == (
        0 if seen.allocation == "cpu=1" else (seen.end or 0) - T0
    )
    assert all(each.revision == 1 for each in rest.slices)


def test_a_correction_is_old_where_any_slice_of_it_is(tmp_path):
    """The run ended in time for a void, and its wrong slice did not."""
    map_, known = config(tmp_path).map, held(tmp_path, run(1, T0), at=T0 + 960)
    seen = replace(run(1, T0, T0 + 1_800), ran=899, was_suspended=True)
    edge = T0 + 900 + MAX_AGE_SECONDS
    assert plan(seen, known, map_, RHYTHM, edge).question is None
    assert plan(seen, known, map_, RHYTHM, edge + 1).question.code == "old"


def test_a_void_that_was_refused_waits_for_a_person_and_keeps_its_time(tmp_path):
    map_, known = config(tmp_path).map, held(tmp_path, run(1, T0, T0 + 100))
    seen = run(1, T0, T0 + 90)
    refused = replace(known, slices=[replace(known.slices[0], code="too_late")])
    made = plan(seen, refused, map_, RHYTHM, T0 + 999)
    assert (made.slices, made.voids, made.question.code) == ([], [], "not_voided")
    assert refused.slices[0].id in made.question.detail
    again = plan(seen, replace(refused, approved=made.question.mark), map_, RHYTHM, T0 + 999)
    assert (again.slices, again.voids, again.question) == ([], refused.slices, None)
    # Where the slice turns out right after all, nobody is asked any more.
    right = plan(run(1, T0, T0 + 100), refused, map_, RHYTHM, T0 + 999)
    assert right == Plan()
    # Of another account: what the ledger keeps is not reported a second time.
    other = replace(run(1, T0, T0 + 100), account="acc-b")
    made = plan(other, replace(refused, terms=other.terms), map_, RHYTHM, T0 + 999)
    assert (made.slices, made.voids, made.question.code) == ([], [], "not_voided")


def test_a_record_that_was_refused_is_replaced_at_once(tmp_path):
    map_, known = config(tmp_path).map, held(tmp_path, run(1, T0, T0 + 100))
    seen = run(1, T0, T0 + 90)
    waits = replace(known.slices[0], standing="waiting", code="unknown_contract")
    made = plan(seen, replace(known, slices=[waits]), map_, RHYTHM, T0 + 999)
    assert (made.question, made.voids, spans(made)) == (None, [waits], [(T0, T0 + 90)])


def test_a_run_of_exactly_half_is_corrected_and_one_second_less_waits(tmp_path):
    map_, known = config(tmp_path).map, held(tmp_path, run(1, T0, T0 + 100))
    assert plan(run(1, T0, T0 + 50), known, map_, RHYTHM, T0 + 999).question is None


def test_a_run_that_is_gone_is_taken_back_only_when_a_person_says_so(tmp_path):
    seen = run(1, T0, T0 + 100)
    known = held(tmp_path, seen)
    made = vanished(seen, known)
    assert (made.voids, made.question.code) == ([], "vanished")
    assert vanished(seen, replace(known, approved=made.question.mark)).voids == known.slices
    stuck = replace(known, slices=[replace(each, code="too_late") for each in known.slices])
    assert vanished(seen, stuck).question.code == "not_voided"
    assert vanished(seen, Known()) == Plan()


def test_a_refused_slice_is_planned_anew_once_the_map_says_another_thing(tmp_path):
    seen = run(1, T0, T0 + 100)
    known = held(tmp_path, seen)
    refused = replace(known, slices=[replace(known.slices[0], standing="refused", code="x")])
    assert plan(seen, refused, config(tmp_path).map, RHYTHM, T0 + 999) == Plan()
    other = config(tmp_path, map_=MAP.replace('device = "h100"', 'device = "h800"', 1)).map
    made = plan(seen, refused, other, RHYTHM, T0 + 999)
    assert [each.device for each in made.slices] == ["h800"]
    assert made.dropped == list(refused.slices)
    # What the ledger holds stays, and so does an id that it holds otherwise.
    assert plan(seen, known, other, RHYTHM, T0 + 999) == Plan()
    conflict = replace(known, slices=[replace(refused.slices[0], code="conflict")])
    assert plan(seen, conflict, other, RHYTHM, T0 + 999) == Plan()


def test_of_a_run_with_two_kinds_of_devices_the_one_that_was_refused_is_planned_anew(tmp_path):
    both = "gres/gpu:h100=1,gres/gpu:1g.10gb=2,gres/gpu=3"
    seen = run(1, T0, T0 + 100, allocation=both)
    known = held(tmp_path, seen)
    assert [each.device for each in known.slices] == ["h100", "h100-1g.10gb"]
    slices = [known.slices[0], replace(known.slices[1], standing="refused", code="unknown_device")]
    refused = replace(known, slices=slices)
    other = config(tmp_path, map_=MAP.replace('device = "h100-1g.10gb"', 'device = "mig"')).map
    made = plan(seen, refused, other, RHYTHM, T0 + 999)
    assert [(each.device, each.milli_devices) for each in made.slices] == [("mig", 2_000)]
    assert made.dropped == slices[1:]
    again = settle(replace(known, slices=slices[:1]), made, seen.terms)
    assert plan(seen, again, other, RHYTHM, T0 + 999) == Plan()
    # What the ledger holds under another name is the same card.
    assert plan(seen, known, other, RHYTHM, T0 + 999) == Plan()


def test_slices_of_two_devices_that_do_not_meet_are_each_judged_by_themselves(tmp_path):
    both = "gres/gpu:h100=1,gres/gpu:1g.10gb=2,gres/gpu=3"
    seen = run(1, T0, T0 + 1_800, allocation=both)
    map_, known = config(tmp_path).map, held(tmp_path, seen)
    first, second = known.slices
    halves = [replace(first, end=T0 + 900), replace(first, id="x", start=T0 + 900), second]
    known = replace(known, slices=halves)
    assert plan(seen, known, map_, RHYTHM, T0 + 9_999) == Plan()
    made = plan(replace(seen, end=T0 + 1_000), known, map_, RHYTHM, T0 + 9_999)
    assert [each.id for each in made.voids] == ["x", second.id]
