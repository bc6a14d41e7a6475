"""What the lists of what is registered say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "tab_authority": Text("待办", "To do"),
    "registers_enterprises": Text("企业", "Enterprises"),
    "registers_contracts": Text("合同", "Contracts"),
    "registers_providers": Text("供应方", "Providers"),
    "registers_policies": Text("政策", "Policies"),
    "pools_all": Text("全部资金池，可看过去某时", "All pools, also as of a past time"),
    "coupons_all": Text("全部券，可看过去某时", "All coupons, also as of a past time"),
    "registers_coupons": Text("券", "Coupons"),
    "registers_pools": Text("资金池", "Pools"),
    "as_of_field": Text(
        "截至（北京日期或时间，或条数）", "As of (day or time in Beijing, or entries)"
    ),
    "as_of_past": Text(
        "以下为截至 {time} 的数据（账本共 {entries} 条），不是现在的",
        "As of {time}, when the ledger had {entries} entries; not as of now",
    ),
    "as_of_now": Text("看现在的", "Show it as of now"),
    "sought_party": Text("编号、代码或名称的开头", "How an id, a USCC or a name begins"),
    "sought_contract": Text(
        "合同编号、企业代码或企业名称的开头",
        "How the id or number, or the enterprise's USCC or name begins",
    ),
    "nothing_sought": Text("没有符合的登记。", "Nothing of the kind is registered."),
    "nothing_registered": Text("尚无登记。", "Nothing is registered yet."),
    "act_column": Text("办理", "Acts"),
    "act_issue_short": Text("发券", "Issue"),
    "act_contract_short": Text("登记合同", "Contract"),
    "act_amend_short": Text("变更", "Amend"),
    "act_freeze_short": Text("冻结", "Freeze"),
    "act_unfreeze_short": Text("解冻", "Unfreeze"),
    "act_key_short": Text("登记公钥", "Key"),
    "act_enlist_short": Text("入库", "Enlist"),
    "act_revoke_short": Text("吊销", "revoke"),
    "contracts_count": Text("合同数", "Contracts"),
    "succeeded_by": Text("由 {uscc} 承继", "succeeded by {uscc}"),
    "enlisted": Text("入库", "Enlisted"),
    "keys_of": Text("公钥", "Keys"),
    "policy_version": Text("版本", "Version"),
    "policy_valid": Text("有效期", "Valid"),
    "policy_classes": Text("类别与比例", "Classes and ratios"),
    "policy_cap": Text("企业上限", "Cap of a firm"),
    "policy_pool": Text("资金池", "Pool"),
    "policy_file": Text("政策文件全文", "The whole policy file"),
    "policy_in_force": Text("生效条目", "In force by entry"),
}
