"""What the pages of people say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "people": Text("人员", "People"),
    "people_sign_in": Text("可以登录的人员", "Who may sign in"),
    "people_none": Text(
        "还没有人可以登录。运营方用 kashi person 添加。",
        "Nobody may sign in yet. An operator adds people by kashi person.",
    ),
    "people_state": Text("状态", "State"),
    "people_active": Text("有效", "active"),
    "people_ended": Text("已于 {date} 停用", "ended {date}"),
    "people_over": Text("已停用", "has ended"),
    "people_end": Text("停用", "End"),
    "people_end_text": Text(
        "停用后，此人的所有登录立即失效，编号不能再用。",
        "All sessions of this person end at once, and the id never comes back.",
    ),
    "people_sessions": Text("当前登录数", "Open sessions"),
    "speakers": Text(
        "代表主管部门的人员及其令牌", "Who speaks for the authority, and their tokens"
    ),
}
