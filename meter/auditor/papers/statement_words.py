"""The words of a statement, in both languages; a type checker finds a missing one."""

from typing import Final, Literal, TypedDict

Language = Literal["zh", "en"]


class Words(TypedDict):
    """All words of a statement's picture."""

    title: str
    contract: str
    firm: str
    provider: str
    month: str
    over: str
    open: str
    log: str
    size: str
    root: str
    range: str
    hash: str
    program: str
    checkpoint: str
    none: str
    totals: str
    amounts: str
    lines: str
    item: str
    service: str
    correction: str
    yes: str
    entries: str
    entry: str
    at: str
    kind: str
    id: str
    cost: str
    withheld: str
    ineligible: str
    entitled: str
    issued: str
    granted: str
    claimed: str
    paid: str


_ZH: Final[Words] = {
    "title": "月度对账单",
    "contract": "合同",
    "firm": "企业",
    "provider": "供应方",
    "month": "入账月份",
    "over": "该月已结束",
    "open": "该月尚未结束",
    "log": "账本",
    "size": "条目数",
    "root": "树根",
    "range": "本月条目",
    "hash": "对账单哈希",
    "program": "程序版本",
    "checkpoint": "检查点",
    "none": "无",
    "totals": "合计（元）",
    "amounts": "按合同与服务月份（元）",
    "lines": "逐条明细（元）",
    "item": "合同",
    "service": "服务月份",
    "correction": "更正",
    "yes": "是",
    "entries": "条目数",
    "entry": "条目",
    "at": "入账时间",
    "kind": "类型",
    "id": "编号",
    "cost": "费用",
    "withheld": "暂扣",
    "ineligible": "不合资格",
    "entitled": "应享补贴",
    "issued": "发放",
    "granted": "已核给",
    "claimed": "核准",
    "paid": "兑付",
}
_EN: Final[Words] = {
    "title": "Statement of a month",
    "contract": "Contract",
    "firm": "Firm",
    "provider": "Provider",
    "month": "Month of booking",
    "over": "the month is over",
    "open": "the month is not over",
    "log": "Ledger",
    "size": "Entries",
    "root": "Root",
    "range": "Entries of the month",
    "hash": "Hash of the statement",
    "program": "Program",
    "checkpoint": "Checkpoint",
    "none": "None",
    "totals": "Totals (yuan)",
    "amounts": "By contract and month of service (yuan)",
    "lines": "By entry (yuan)",
    "item": "contract",
    "service": "service",
    "correction": "correction",
    "yes": "yes",
    "entries": "entries",
    "entry": "entry",
    "at": "booked at",
    "kind": "kind",
    "id": "id",
    "cost": "cost",
    "withheld": "withheld",
    "ineligible": "ineligible",
    "entitled": "entitled",
    "issued": "issued",
    "granted": "granted",
    "claimed": "claimed",
    "paid": "paid",
}
WORDS: Final[dict[Language, Words]] = {"zh": _ZH, "en": _EN}
