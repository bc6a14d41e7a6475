"""What the pages of signing in and of one's account say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "sign_in": Text("登录", "Sign in"),
    "sign_out": Text("退出登录", "Sign out"),
    "sign_in_text": Text(
        "部门、企业和供应方的页面需要登录。",
        "Pages of agencies, enterprises and providers need a sign-in.",
    ),
    "issuer_link": Text("用统一身份认证登录", "Sign in with your organisation's account"),
    "link_text": Text(
        "请打开运营方发给您的登录链接。每个链接只能使用一次。",
        "Open the link that the operator gave you. Each link signs in once.",
    ),
    "link_button": Text("用此链接登录", "Sign in by this link"),
    "account": Text("我的账号", "Account"),
    "account_name": Text("姓名", "Name"),
    "account_role": Text("身份", "Role"),
    "account_subject": Text("所属单位", "Subject"),
    "account_id": Text("账号编号", "Id"),
    "account_person": Text("账本中的人员", "Person in the ledger"),
    "account_until": Text("登录最迟有效至", "Signed in until, at most"),
    "role_authority": Text("主管部门", "Authority"),
    "role_auditor": Text("审计方", "Auditor"),
    "role_provider": Text("供应方", "Provider"),
    "role_enterprise": Text("企业", "Enterprise"),
}
