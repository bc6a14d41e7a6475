"""What the public page says."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "public_title": Text("公开账本", "The public ledger"),
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
}
