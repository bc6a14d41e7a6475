"""The auditor's commands in Chinese: what is for people changes, and nothing else."""

import json

import pytest
from click.testing import CliRunner, Result

from ledger.note import claimed_checkpoint
from meter.auditor.alarms import KINDS
from meter.auditor.monitor_lines import KIND_WORDS, line_of
from meter.cli.main import main
from meter.languages import Speech
from tests.sites import Site

CHINESE = {"LC_ALL": "zh_CN.UTF-8"}


def verify(site: Site, *words: object, **environment: str) -> Result:
    vkey = site.writer.signer.verifier.format()
    command = ["verify", str(site.folder), "--vkey", vkey, *map(str, words)]
    return CliRunner().invoke(main, command, env={"LC_ALL": "C", **environment})


def bend(site: Site) -> None:
    """Change the last entry of the published folder."""
    (bundle,) = (site.folder / "tile/entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"!")


def test_a_good_verdict_is_told_in_chinese_by_the_option_or_the_locale(site):
    site.writer.post([], seq=10_000)
    site.post(1)
    site.publish()
    root = claimed_checkpoint(site.checkpoint).root.hex()
    by_option, by_locale = verify(site, "--lang", "zh"), verify(site, **CHINESE)
    english = verify(site, "--lang", "en", **CHINESE)
    for result in (by_option, by_locale):
        assert result.exit_code == 0
        assert result.stdout.endswith(f"相符：根哈希 {root}\n")
        for told in ("核验项目", "检查点签名", "重放的条目", "独立核算", "缺号：pcl，上报流 main"):
            assert told in result.stdout
        assert "待说明：同一时段的同一批设备以两个编号上报（repeated）：pcl，" in result.stdout
        for told in ("check", "entries", "gap:", "question", "good"):
            assert told not in result.stdout
    assert english.stdout.endswith(f"good: root {root}\n")


def test_a_violation_keeps_its_code_and_exit_code_in_chinese(site):
    bend(site)
    english, chinese = verify(site), verify(site, "--lang", "zh")
    assert english.exit_code == chinese.exit_code == 1
    lines = [line for line in english.output.splitlines() if line.startswith("VIOLATED: ")]
    told = [line for line in chinese.output.splitlines() if line.startswith("违规：")]
    assert len(lines) == len(told) > 0
    for line, chinese_line in zip(lines, told, strict=True):
        code = line.split(": ")[2]
        assert f"：{code}：" in chinese_line or f": {code}: " in chinese_line
        assert line.split(": ", 3)[3] not in chinese_line


def test_what_cannot_be_checked_names_its_remedy_in_chinese(site, tmp_path):
    (bundle,) = (site.folder / "tile/entries").rglob("*.p/*")
    bundle.unlink()
    missing = verify(site, "--lang", "zh")
    assert missing.exit_code == 2
    name = bundle.relative_to(site.folder).as_posix()
    assert f"缺少 {name}。请将检查点以外的文件再复制一次，或重新获取日志" in missing.output
    vkey = site.writer.signer.verifier.format()
    command = ["verify", str(tmp_path / "none"), "--vkey", vkey, "--lang", "zh"]
    nothing = CliRunner().invoke(main, command)
    assert nothing.exit_code == 2
    assert nothing.stderr == f"无法核验：cannot_check: {tmp_path / 'none'} 不是目录\n"


def test_json_is_the_same_in_each_language(site):
    bend(site)

    def report(*words: object) -> dict:
        told = json.loads(verify(site, "--json", *words).stdout)
        return {name: value for name, value in told.items() if name != "checks"}

    assert report("--lang", "zh") == report("--lang", "en")


def test_a_terminal_without_chinese_letters_changes_no_exit_code(site):
    runner = CliRunner(charset="ascii")
    vkey = site.writer.signer.verifier.format()
    command = ["verify", str(site.folder), "--vkey", vkey, "--lang", "zh"]
    result = runner.invoke(main, command)
    assert result.exit_code == 0, result.exception
    assert b"\\u76f8\\u7b26" in result.stdout_bytes


def test_a_language_that_there_is_not_is_refused(site):
    assert verify(site, "--lang", "fr").exit_code == 2


def test_each_kind_of_alarm_has_its_word_and_each_state_its_own_line():
    assert set(KIND_WORDS) == set(KINDS)
    speech, at = Speech("zh"), "2025-03-01T12:00:00+08:00"
    alarm = {"alarm": "silence", "incident": "inc-1", "at": at}
    alarm["detail"] = f"no new checkpoint since {at}"
    lines = [
        line_of(alarm | state, speech)
        for state in (
            {"state": "on"},
            {"state": "acknowledged", "reason": "停机"},
            {"state": "off"},
        )
    ]
    told = f"静默 (silence)，inc-1：自 {at} 起没有新检查点"
    assert lines == [f"{at} 警报 {told}", f"{at} 已确认 {told}：停机", f"{at} 解除 {told}"]
    looked_after = alarm | {"reason": "停机"}
    assert line_of(looked_after | {"state": "on"}, speech) == lines[1]
    assert line_of(looked_after | {"state": "off"}, speech) == f"{lines[2]}：停机"
    line = line_of(alarm | {"state": "on"}, Speech("en"))
    assert line == f"{at} ALARM silence, inc-1: no new checkpoint since {at}"


def test_a_monitor_has_a_line_for_each_of_its_reports_and_for_nothing_else():
    with pytest.raises(ValueError, match="no report of a monitor"):
        line_of({"event": "unknown", "at": "now"}, Speech("en"))
