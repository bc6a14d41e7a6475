"""What the pages of the log and of an entry say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "log": Text("账本", "The log"),
    "log_size": Text("已提交条目", "Committed entries"),
    "log_newest": Text("最新条目的时间", "Newest entry"),
    "log_published": Text("检查点条目数", "Entries of the checkpoint"),
    "log_unverified": Text(
        "此页显示检查点所称，未核验任何签名；联署时间由联署方自称。",
        "The page shows what the checkpoint claims, and has verified no signature; "
        "the times are those that cosigners state.",
    ),
    "log_offline": Text(
        "下载并离线核验全部条目；已取得的文件留在文件夹 log 中。",
        "Download all, and verify it offline; what was fetched stays in the folder log.",
    ),
    "cosigners": Text("联署方", "Cosigners"),
    "no_cosigners": Text("没有联署。", "None has cosigned."),
    "growth_title": Text("账本条目数（按日）", "Entries of the ledger by day"),
    "search": Text("查找", "Search"),
    "search_what": Text(
        "编号、统一社会信用代码、摘要、条目编号或名称开头",
        "An id, a USCC, a digest, a number, or the beginning of a name",
    ),
    "search_nothing": Text("没有找到。", "Nothing was found."),
    "search_more": Text("还有更多：请多写几个字。", "There is more: write more of it."),
    "entry_time": Text("时间", "Time"),
    "entry_kind": Text("种类", "Kind"),
    "entry_who": Text("何人", "By whom"),
    "entry_by": Text("令牌或公钥", "By token or key"),
    "entry_person": Text("人员", "Person"),
    "entry_proposal": Text("提案", "Proposal"),
    "entry_reason": Text("理由", "Reason"),
    "entry_moves": Text("资金变动", "What it moved"),
    "entry_no_moves": Text("此条目不涉及资金变动。", "This entry moved no money."),
    "move_amount": Text("金额", "Amount"),
    "move_source": Text("自", "From"),
    "move_target": Text("至", "To"),
    "entry_evidence": Text("证明", "Its proof"),
    "proved_entry": Text("下载条目文件", "Download the entry file"),
    "entry_content": Text("全部内容（金额单位为分）", "All of its content (amounts in fen)"),
    "entries_newest": Text("最新条目", "Newest entries"),
    "entries_found": Text("找到的条目", "Entries that were found"),
    "entries_none": Text("没有这样的条目。", "There is no such entry."),
    "older_entries": Text("更早的条目", "Older entries"),
    "filters_off": Text("显示最新条目", "Show the newest"),
    "next_page": Text("下一页", "Next page"),
    "acts_of_persons": Text("主管部门人员的操作", "What persons of the authority did"),
    "person_ended": Text("已终止", "ended"),
    "found_enterprise": Text("企业", "Enterprise"),
    "found_provider": Text("供应方", "Provider"),
    "found_contract": Text("合同", "Contract"),
    "found_award": Text("奖补", "Award"),
    "found_claim": Text("核销申请", "Claim"),
    "found_key": Text("公钥", "Key"),
    "found_project": Text("项目", "Project"),
    "found_person": Text("人员", "Person"),
    "found_batch": Text("批次", "Batch"),
    "found_record": Text("记录", "Record"),
    "found_kind": Text("种类", "Kind"),
}
