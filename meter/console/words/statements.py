"""What the pages of statements say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "statements": Text("月度对账单", "Statements"),
    "statement_of": Text("{month} 对账单", "Statement of {month}"),
    "statement_of_contract": Text(
        "合同 {contract} {month} 对账单", "Statement of {month}, contract {contract}"
    ),
    "statement_of_award": Text(
        "奖补 {award} {month} 对账单", "Statement of {month}, award {award}"
    ),
    "statement_over": Text(
        "该月已结束，内容不再变化。", "The month is over: this changes no more."
    ),
    "statement_open": Text("该月尚未结束。", "The month is not over."),
    "statement_entries": Text("账本条目 #{first} 至 #{last}", "Entries #{first} to #{last}"),
    "statement_none": Text("该月没有条目。", "The month has no entries."),
    "statement_hash": Text("对账单哈希", "Hash of the statement"),
    "statement_how": Text(
        "同一账本可用下列命令重新生成，哈希一致：",
        "This makes it again from the ledger, with the same hash:",
    ),
    "statement_amounts": Text("按合同与服务月份", "By contract and month of service"),
    "statement_services": Text("按服务月份", "By month of service"),
    "statement_lines": Text("逐条明细", "By entry"),
    "statement_more": Text(
        "仅列出前 {count} 条；全部见下载。",
        "Only the first {count} are listed; the file has all.",
    ),
    "statement_earlier": Text("上一月", "Month before"),
    "statement_later": Text("下一月", "Month after"),
    "statement_nothing": Text("该月没有入账。", "Nothing was booked in this month."),
    "service_month": Text("服务月份", "Month of service"),
    "correction": Text("更正", "Correction"),
    "booked_at": Text("入账时间", "Booked at"),
    "kind_of_entry": Text("类型", "Kind"),
    "claimed_sum": Text("已核准", "Approved"),
    "paid_sum": Text("已下达", "Ordered"),
}
