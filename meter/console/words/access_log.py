"""What the page of the access log says."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "access_log": Text("查阅记录", "Access log"),
    "access_text": Text(
        "谁在哪一分钟查过什么、几次；不含所见内容。提交用量和办理事项见账本。",
        "Who asked what in which minute, and how often; never what was shown. What was posted and"
        " done stands in the ledger.",
    ),
    "access_days": Text(
        "不选日期则为最近 31 天；一次最多 31 天。",
        "Without dates, the last 31 days; at most 31 days at once.",
    ),
    "access_none": Text("没有符合的记录。", "Nobody asked anything of the kind."),
    "access_none_yet": Text(
        "已查到的部分没有符合的记录，下一页继续。",
        "Nothing of the kind in what was read so far; the next page goes on.",
    ),
    "access_day": Text("日", "Day"),
    "access_digest": Text("当日摘要", "Digest of the day"),
    "access_from": Text("从（含）", "From"),
    "access_until": Text("至（不含）", "Until (not included)"),
    "access_time": Text("分钟", "Minute"),
    "access_token": Text("令牌或登录编号", "Token or sign-in"),
    "access_person": Text("人员", "Person"),
    "access_role": Text("角色", "Role"),
    "access_route": Text("路径", "Route"),
    "access_subject": Text("对象", "Subject"),
    "access_count": Text("次数", "Times"),
}
