"""A trace becomes usage to the second: read, skipped with a reason, sliced, shifted, placed."""

from itertools import pairwise

import pytest

from meter.demo.trace import (
    NEVER_DELETED,
    NEVER_SCHEDULED,
    NO_DEVICE,
    NO_TIME,
    OTHER_QOS,
    Rule,
    Totals,
    TraceError,
    parse,
    records,
)
from meter.values.units import DAY_SECONDS, parse_instant
from tests.traces import HEADER, trace

BEGINS = parse_instant("2025-09-01T00:00:00+08:00")
RULE = Rule({"LS": ("A", "B"), OTHER_QOS: ("C",)}, ("x", "y", "z"))


def device_time(used) -> int:
    return sum(record.milli_devices * (record.end - record.start) for record in used)


def test_a_task_is_read_with_its_share_of_devices():
    (task,) = parse(trace("openb-pod-0001,6000,12288,2,460,V100,LS,Failed,9,50,20")).tasks
    assert (task.name, task.milli_devices, task.start, task.end) == ("openb-pod-0001", 920, 20, 50)
    assert (task.gpu_spec, task.qos, task.phase) == ("V100", "LS", "Failed")


def test_seconds_may_have_a_fraction_of_zero_and_columns_any_order():
    text = "qos,name,gpu_spec,pod_phase,num_gpu,gpu_milli,scheduled_time,deletion_time,extra\n"
    (task,) = parse(text + "BE,a,,Running,1,1000,0.0,20.0,-\n").tasks
    assert (task.start, task.end) == (0, 20)
    assert Totals.of(text + "BE,a,,Running,1,1000,0.0,20.0,-\n").device_time == 20_000


def test_what_is_skipped_is_counted_by_its_reason():
    text = trace(
        "a,1,1,1,1000,,LS,Running,0,100,0",
        "b,1,1,0,0,,LS,Running,0,100,0",
        "c,1,1,0,0,,LS,Pending,0,,",
        "d,1,1,1,1000,,LS,Pending,0,100,",
        "e,1,1,1,1000,,LS,Running,0,,50",
        "f,1,1,1,1000,,LS,Failed,0,50,50",
    )
    skipped = {NO_DEVICE: 2, NEVER_SCHEDULED: 1, NEVER_DELETED: 1, NO_TIME: 1}
    assert parse(text).skipped == skipped
    assert Totals.of(text) == Totals(100_000, 1, 1, skipped)


def test_of_a_task_without_a_device_the_times_do_not_matter():
    text = trace("a,1,1,0,0,,LS,Pending,0,soon,?", "b,1,1,1,1000,,LS,Running,0,9,0")
    assert parse(text).skipped[NO_DEVICE] == Totals.of(text).skipped[NO_DEVICE] == 1


def test_long_tasks_are_cut_into_contiguous_records():
    days, rest = 70 * DAY_SECONDS, 5
    text = trace(f"a,1,1,8,1000,,LS,Running,0,{days + rest + 7},7")
    made = records(parse(text), RULE, BEGINS)
    assert [(record.id, record.final) for record in made] == [
        ("a:0", False),
        ("a:1", False),
        ("a:2", True),
    ]
    assert all(first.end == second.start for first, second in pairwise(made))
    assert (made[0].start, made[-1].end) == (BEGINS, BEGINS + days + rest)
    assert device_time(made) == Totals.of(text).device_time == 8000 * (days + rest)
    assert Totals.of(text).records == 3


def test_a_task_of_just_31_days_is_one_record():
    text = trace(f"a,1,1,1,1000,,LS,Running,0,{31 * DAY_SECONDS},0")
    assert len(records(parse(text), RULE, BEGINS)) == Totals.of(text).records == 1


def test_records_come_in_the_order_of_their_start():
    text = trace("a,1,1,1,1,,LS,R,0,9,5", "b,1,1,1,1,,LS,R,0,9,3", "c,1,1,1,1,,LS,R,0,4,3")
    made = records(parse(text), RULE, BEGINS)
    assert [(record.run, record.start - BEGINS) for record in made] == [
        ("b", 0),
        ("c", 0),
        ("a", 2),
    ]


def test_the_place_depends_on_qos_spec_and_name_alone():
    lines = [f"task-{i},1,1,1,1000,,{'LS' if i % 2 else 'BE'},Running,0,9,0" for i in range(200)]
    tasks = parse(trace(*lines)).tasks
    places = {task.name: RULE.place(task) for task in tasks}
    assert places == {task.name: RULE.place(task) for task in parse(trace(*lines[::-1])).tasks}
    assert {contract for contract, _ in places.values()} == {"A", "B", "C"}
    assert {device for _, device in places.values()} == {"x", "y", "z"}
    assert all((places[task.name][0] == "C") == (task.qos == "BE") for task in tasks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: no column name"),
        ("name,num_gpu\na,1\n", "line 1: no column gpu_milli"),
        (trace(), "no task"),
        (trace("a,1,1,0,0,,LS,Running,0,9,0"), "no task"),
        (trace("a,1,1"), "line 2: 3 columns, not 11"),
        (trace("a" * 200_000), "line 2: field larger"),
        (trace("a,1,1,1,1000,,LS,Running,0,9,0") * 2, "line 3"),
        (trace(*["a,1,1,1,1000,,LS,Running,0,9,0"] * 2), "line 3: a second task a"),
        (trace("a,1,1,one,1000,,LS,Running,0,9,0"), "line 2: num_gpu is not a whole number: 'one'"),
        (trace("a,1,1,1,-5,,LS,Running,0,9,0"), "gpu_milli"),
        (trace("a,1,1,1,1000,,LS,Running,0,9.5,0"), "deletion_time"),
        (trace("a,1,1,1,1000,,LS,Running,0,9,٣"), "scheduled_time"),
        (trace("a,1,1,1,1000,,LS,Running,0,,.5"), "scheduled_time"),
        (trace("a,1,1,1,1000,,LS,Running,0,8,9"), "deleted before it was scheduled"),
        (trace("a b,1,1,1,1000,,LS,Running,0,9,0"), "name is not"),
        (trace(f"{'a' * 101},1,1,1,1000,,LS,Running,0,9,0"), "name is not"),
        (trace("a,1,1,1,1000,,LS,,0,9,0"), "pod_phase is not"),
    ],
)
def test_a_trace_that_cannot_be_read_is_refused_with_its_line(text, words):
    with pytest.raises(TraceError) as error:
        parse(text)
    assert words in error.value.detail


def test_the_header_is_that_of_the_published_trace(real_data):
    published = (real_data / "cluster-trace-gpu-2023-pods.csv").read_text()
    assert published.startswith(HEADER)


def test_every_device_second_of_the_published_trace_is_read(real_data):
    text = (real_data / "cluster-trace-gpu-2023-pods.csv").read_text()
    read = parse(text)
    made = records(read, RULE, BEGINS)
    assert device_time(made) == Totals.of(text).device_time == 185_294_426_970
    assert len(read.tasks) == Totals.of(text).tasks == 6_203
    assert len(made) == Totals.of(text).records == 6_245
    assert {reason: count for reason, count in read.skipped.items() if count} == {
        NO_DEVICE: 1_088,
        NEVER_SCHEDULED: 861,
    }
