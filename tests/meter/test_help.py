"""`--help` in Chinese, where the command speaks it; in English as the code has it."""

import re

import click
import pytest
from click.testing import CliRunner

from meter.cli.help import paragraphs
from meter.cli.main import main
from meter.languages import Speech

CHINESE = {"LC_ALL": "zh_CN.UTF-8"}
SPOKEN = ("verify", "monitor", "entry", "receipt", "audit")


def shown(*words: str, **environment: str) -> str:
    result = CliRunner().invoke(main, [*words, "--help"], env=environment)
    assert result.exit_code == 0, result.output
    return result.output


def commands(*path: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """Return a command that speaks, and those in it, by the words that call them."""
    command: click.Command = main
    for word in path:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    within = command.commands if isinstance(command, click.Group) else {}
    return [(path, command), *(each for name in within for each in commands(*path, name))]


ALL = [each for name in SPOKEN for each in commands(name)]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_each_text_of_a_help_is_told_in_chinese(path, command):
    told, plain = ("".join(shown(*path, **env).split()) for env in (CHINESE, {"LC_ALL": "C"}))
    options = [each.help for each in command.params if isinstance(each, click.Option)]
    for text in (*paragraphs(command), *filter(None, options)):
        chinese = Speech("zh").say(text)
        assert chinese != text
        assert "".join(chinese.split()) in told
        assert "".join(text.split()) in plain
        assert "".join(text.split()) not in told


def test_what_click_says_is_told_too():
    told, plain = shown("audit", "sample", **CHINESE), shown("audit", "sample", LC_ALL="C")
    for chinese, english in (
        ("用法：", "Usage: "),
        ("选项", "Options:"),
        ("显示本帮助并退出。", "Show this message and exit."),
        ("[必填]", "[required]"),
        ("[默认：60；", "[default: 60; "),
    ):
        assert (chinese in told, english in told) == (True, False), english
        assert (chinese in plain, english in plain) == (False, True)
    assert "命令" in shown("audit", **CHINESE)


def test_a_group_lists_its_commands_in_chinese():
    told = shown("audit", **CHINESE)
    assert re.search(r"sample +验证 SOURCE，抽取记录样本", told)
    assert re.search(r"sample +Verify SOURCE", shown("audit", LC_ALL="C"))
    assert re.search(r"verify +验证导出的文件夹", shown(**CHINESE))


def test_an_option_before_decides_and_other_commands_stay_english():
    result = CliRunner().invoke(main, ["verify", "--lang", "zh", "--help"], env={"LC_ALL": "C"})
    assert "以 JSON 输出报告。" in result.output
    result = CliRunner().invoke(main, ["verify", "--lang", "en", "--help"], env=CHINESE)
    assert "Print the report as JSON." in result.output
    assert shown("serve", **CHINESE) == shown("serve", LC_ALL="C")
