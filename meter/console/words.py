"""What the pages say, in Chinese and English: one line for each text, so that none lacks one."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from meter.console.formats import Language


class Text(NamedTuple):
    """One text in each language."""

    zh: str
    en: str


WORDS: Final[Mapping[str, Text]] = {
    "name": Text("卡时", "Kashi"),
    "public_title": Text("公开账本", "The public ledger"),
    "other_language": Text("English", "中文"),
    "skip": Text("跳到正文", "Skip to the content"),
    "programmes": Text("扶持项目", "Programmes"),
    "programme": Text("项目", "Programme"),
    "year": Text("年度", "Year"),
    "amount": Text("资金池", "Set aside"),
    "issued": Text("已发放", "Issued"),
    "few": Text("不足五家，不公布", "fewer than five holders"),
    "as_of": Text(
        "截至 {date} 零时（北京时间），每月更新一次。",
        "As of the beginning of {date} (Beijing time); once a month.",
    ),
    "no_programmes": Text(
        "上月底还没有资金池。首个月结束后，这里会列出各项目的金额。",
        "At the end of last month there was no pool. Pools are shown after their first month.",
    ),
    "ledger": Text("账本", "The ledger"),
    "origin": Text("账本名称", "Origin"),
    "entries": Text("条目数", "Entries"),
    "root": Text("默克尔根", "Merkle root"),
    "keys": Text("签名公钥", "Signing keys"),
    "receipt_key": Text("回执公钥", "Receipt key"),
    "key_caution": Text(
        "本页的公钥来自同一台服务器：请与另一来源（如公告）核对。",
        "This page has its keys from the same server: compare them with another source.",
    ),
    "not_published": Text("账本尚未发布。", "Nothing is published yet."),
    "verify": Text("自行核验", "Verify it yourself"),
    "verify_text": Text(
        "持有条目或回执者，凭条目证明和检查点即可离线核验，无需令牌。"
        "审计方凭令牌核验全部：没有条目被改动、删除或插入，每条规则都已重算。",
        "Who holds an entry or a receipt proves it offline by the checkpoint, without a token. "
        "An auditor verifies all: that nothing was changed, dropped or slipped in, and every rule.",
    ),
    "checkpoint": Text("最新检查点", "Newest checkpoint"),
    "api": Text("接口说明", "The API"),
    "sign_in": Text("登录", "Sign in"),
    "sign_out": Text("退出登录", "Sign out"),
    "sign_in_text": Text(
        "部门和企业的页面需要登录。",
        "Pages of agencies, enterprises and providers need a sign-in.",
    ),
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
    "role_provider": Text("算力提供方", "Provider"),
    "role_enterprise": Text("企业", "Enterprise"),
    "only_for": Text("此页仅供以下身份使用：", "This page is for:"),
    "problem_title": Text("无法显示此页", "This page cannot be shown"),
    "problem_code": Text("代码", "Code"),
    "start": Text("回到首页", "To the start"),
}


def words(language: Language) -> dict[str, str]:
    """Return all texts in a language, by name."""
    return {name: getattr(text, language) for name, text in WORDS.items()}
