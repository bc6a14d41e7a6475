"""Files of jobs in parts, with lines that are too long."""

import pytest

from meter.agent.collect import job_file
from tests.meter.test_agent_job_file import HEAD, MAPPING

LONG = "x" * (job_file.MAX_LINE_BYTES + 9)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_first_line_that_is_too_long_keeps_no_other_from_being_read(tmp_path, form):
    """The reader goes on behind each part, or a round would never end."""
    (tmp_path / "jobs.toml").write_text(MAPPING.replace("csv", form))
    head = HEAD if form == "csv" else ""
    (tmp_path / "jobs.csv").write_text(head + f"{LONG}\n" + "\n".join("abcdef") + "\n")
    cursor, numbers = None, []
    for _ in range(5):
        places = tmp_path / "jobs.csv", tmp_path / "jobs.toml"
        reading = job_file.read(*places, cursor, max_lines=2)
        cursor = reading.cursor
        numbers += [each.number for each in reading.part.bad]
    first = 1 + len(head.splitlines())
    assert numbers == list(range(first, first + 7))
    assert not reading.part.has_more
