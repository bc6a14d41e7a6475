"""The words of a report, in both languages; a type checker finds a missing one."""

from typing import Final, Literal, TypedDict


class Words(TypedDict):
    """All words of a report's picture."""

    title: str
    auditor: str
    made_at: str
    log: str
    size: str
    root: str
    program: str
    good: str
    none: str
    signatures: str
    checks: str
    totals: str
    rules: str
    exceptions: str
    questions: str
    gaps: str
    name: str
    key_id: str
    check: str
    count: str
    programme: str
    year: str
    budget: str
    not_issued: str
    not_granted: str
    granted: str
    approved: str
    payable: str
    ordered: str
    rule: str
    meaning: str
    threshold: str
    source: str
    subject: str
    detail: str
    entries: str
    question: str
    provider: str
    contracts: str
    stream: str
    first: str
    last: str


_ZH: Final[Words] = {
    "title": "账本审计报告",
    "auditor": "审计人",
    "made_at": "报告时间",
    "log": "账本",
    "size": "条目数",
    "root": "树根",
    "program": "程序版本",
    "good": "已核验：字节、哈希树、账目、每条规则与独立汇总均相符。",
    "none": "无",
    "signatures": "检查点上的签名",
    "checks": "核验项目",
    "totals": "按扶持项目与年度汇总（元）",
    "rules": "例外规则与阈值",
    "exceptions": "例外事项",
    "questions": "待说明事项",
    "gaps": "缺号",
    "name": "名称",
    "key_id": "密钥编号",
    "check": "项目",
    "count": "数量",
    "programme": "扶持项目",
    "year": "年度",
    "budget": "额度",
    "not_issued": "未发放",
    "not_granted": "未核给",
    "granted": "已核给",
    "approved": "已核准",
    "payable": "待下达",
    "ordered": "已兑付",
    "rule": "规则",
    "meaning": "含义",
    "threshold": "阈值",
    "source": "依据",
    "subject": "对象",
    "detail": "说明",
    "entries": "条目",
    "question": "问题",
    "provider": "供应方",
    "contracts": "合同",
    "stream": "上报流",
    "first": "起",
    "last": "止",
}
_EN: Final[Words] = {
    "title": "Audit report on a ledger",
    "auditor": "Auditor",
    "made_at": "Made at",
    "log": "Ledger",
    "size": "Entries",
    "root": "Root",
    "program": "Program",
    "good": "Verified: bytes, tree, books, each rule, and independent sums agree.",
    "none": "None",
    "signatures": "Signatures on the checkpoint",
    "checks": "What was checked",
    "totals": "Totals by programme and year (yuan)",
    "rules": "Rules of exceptions, and their thresholds",
    "exceptions": "Exceptions",
    "questions": "Questions",
    "gaps": "Missing batches",
    "name": "name",
    "key_id": "key id",
    "check": "check",
    "count": "count",
    "programme": "programme",
    "year": "year",
    "budget": "budget",
    "not_issued": "not issued",
    "not_granted": "not granted",
    "granted": "granted",
    "approved": "approved",
    "payable": "payable",
    "ordered": "ordered",
    "rule": "rule",
    "meaning": "meaning",
    "threshold": "threshold",
    "source": "source",
    "subject": "subject",
    "detail": "detail",
    "entries": "entries",
    "question": "question",
    "provider": "provider",
    "contracts": "contracts",
    "stream": "stream",
    "first": "first",
    "last": "last",
}
WORDS: Final[dict[Literal["zh", "en"], Words]] = {"zh": _ZH, "en": _EN}
