"""What the pages of people say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "people": Text("人员", "People"),
    "people_sign_in": Text("可以登录的人员", "Who may sign in"),
    "people_none": Text(
        "还没有人可以登录。用下面的表单添加。",
        "Nobody may sign in yet. The form below adds people.",
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
    "people_way": Text("登录方式", "Signs in"),
    "way_issuer": Text("统一身份认证", "at the issuer"),
    "way_link": Text("链接", "by a link"),
    "people_subject": Text(
        "所属单位：企业的统一社会信用代码，或供应方编号；审计方不填",
        "Subject: an enterprise's USCC or a provider's id; none for an auditor",
    ),
    "people_add": Text("添加人员", "Add a person"),
    "people_add_text": Text(
        "立即生效，并留下一行操作记录。主管部门的人员须由两人办理，见下。",
        "It holds at once, and a line of acts says so. Of the authority two let in: see below.",
    ),
    "speakers": Text(
        "代表主管部门的人员及其令牌", "Who speaks for the authority, and their tokens"
    ),
    "speakers_more": Text("其余人员见 /v1/persons。", "The others are in /v1/persons."),
    "speakers_text": Text(
        "登记人员和指定账号都是账本条目，须两人办理。之后由运营方以 kashi person 绑定其身份："
        "任何一人都不能独自成为另一人。",
        "A person and an id are entries, by two persons. An operator then says who it is, by"
        " kashi person: nobody alone can become another.",
    ),
    "person_link": Text("生成登录链接", "Make a link"),
    "person_link_made": Text("登录链接", "A link that signs in"),
    "person_link_once": Text(
        "只显示这一次，一小时内可用一次。请只交给本人。",
        "It is shown this once, and signs in once, within an hour. Hand it to this person only.",
    ),
    "person_end_sessions": Text("退出其所有登录", "End all sessions"),
    "person_bind": Text("绑定统一身份认证", "Bind to the issuer"),
    "person_sub": Text("认证方给出的 sub", "The issuer's sub"),
    "person_bind_text": Text(
        "陌生人登录时会看到自己的 sub。绑定后只能这样登录，不再用链接。",
        "A stranger who signs in is told the sub. Once bound, the person signs in so, by no link.",
    ),
    "person_ours": Text(
        "主管部门的账号由运营方以 kashi person 绑定。",
        "An operator binds an id of the authority, by kashi person.",
    ),
    "person_not_so": Text("现在不能这样做。", "That cannot be done now."),
    "person_acts": Text("最近的操作", "Newest acts"),
    "person_no_acts": Text("还没有操作。", "No acts yet."),
    "person_when": Text("时间", "Time"),
    "person_what": Text("操作", "Act"),
    "person_where": Text("页面", "Page"),
    "done_sign_in": Text("登录", "signed in"),
    "done_sign_out": Text("退出登录", "signed out"),
    "done_form": Text("提交表单", "sent a form"),
    "done_export": Text("下载", "downloaded a list"),
    "done_person": Text("添加人员", "added a person"),
    "done_bind": Text("绑定人员", "bound a person"),
    "done_link": Text("生成登录链接", "made a link"),
    "done_end_sessions": Text("退出某人的登录", "ended somebody's sessions"),
    "done_end": Text("停用人员", "ended a person"),
    "done_token": Text("生成令牌", "made a token"),
    "done_revoke": Text("吊销令牌", "revoked a token"),
    "tokens": Text("令牌", "Tokens"),
    "tokens_none": Text("还没有令牌。", "There is no token yet."),
    "token_add": Text("生成令牌", "Make a token"),
    "token_add_text": Text(
        "令牌供程序使用。主管部门的令牌先由两人写入账本，再由运营方生成。",
        "Programs use tokens. Those of the authority are entries by two persons first; then an"
        " operator makes them.",
    ),
    "token_made": Text("新令牌", "The new token"),
    "token_once": Text(
        "只显示这一次，系统只保存它的摘要。请立即妥善保存。",
        "It is shown this once, and only its hash is kept. Put it in a safe place now.",
    ),
    "token_made_at": Text("生成时间", "Made"),
    "token_used_at": Text("最近使用", "Last used"),
    "token_until": Text("有效至 {date}", "until {date}"),
    "token_signs_in": Text("用于登录页面", "signs in to pages"),
    "token_ends": Text("失效日期（可不填）", "Ends on (may be empty)"),
    "token_revoke": Text("吊销", "Revoke"),
    "token_revoke_text": Text(
        "吊销后，下一次请求起即失效，编号不能再用。",
        "It opens nothing from the next request on, and the id never comes back.",
    ),
    "fault_id": Text(
        "1 至 64 个字符：字母、数字和 . _ -，以字母或数字开头。",
        "1 to 64 of letters, digits and . _ -, the first a letter or digit.",
    ),
    "fault_called": Text("写 1 至 200 个可见字符。", "Write 1 to 200 characters that show."),
    "fault_subject": Text(
        "企业写统一社会信用代码，供应方写编号，审计方不填。",
        "An enterprise's USCC, a provider's id, none for an auditor.",
    ),
    "fault_sub": Text(
        "写 1 至 255 个可见 ASCII 字符。", "Write 1 to 255 visible ASCII characters."
    ),
    "fault_until": Text("写一个将来的日期，如 2025-03-01。", "Write a day to come, as 2025-03-01."),
    "refusal_bound": Text("不能这样绑定。", "This cannot be bound."),
}
