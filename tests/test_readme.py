"""The README is a promise: its session runs as it stands, and its commands exist."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_session_by_hand_runs_and_prints_the_balance_that_the_readme_shows(tmp_path):
    blocks = BLOCK.findall(README.partition("## By hand")[2])
    session = "\n".join(code for language, code in blocks if language == "sh")
    shown = "".join(code for language, code in blocks if language == "text")
    result = run_bash(session.replace("8080", str(free_port())), tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert shown in result.stdout
    assert "good: root" in result.stdout
    assert '"granted":"144.00"' in (tmp_path / "receipt.json").read_text()


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", README))
    assert {"demo", "test", "check", "help"} <= named
    assert named <= targets


def test_every_kashi_command_that_the_readme_names_exists_with_its_options():
    for line in re.findall(r"^kashi .*$", README, re.MULTILINE):
        words = line.rstrip(" &").split()
        answer = CliRunner().invoke(main, [words[1], "--help"])
        assert answer.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in answer.output, line


def run_bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            f"trap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n{script}",
        ],
        cwd=folder,
        env={**os.environ, "PATH": path, DATABASE_VARIABLE: ""},
        capture_output=True,
        text=True,
        timeout=120,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
