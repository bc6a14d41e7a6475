"""What the authority's pages say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "authority": Text("待办与资金", "What waits, and the money"),
    "waits_days": Text("等待天数", "Days waited"),
    "queue_more": Text("还有更多，最早的在前。", "There are more; the oldest stand first."),
    "proposals": Text("等待另一人确认的提案", "Proposals that wait for another person"),
    "proposals_all": Text("全部提案", "All proposals"),
    "no_proposals_of": Text("没有这样的提案。", "There is no such proposal."),
    "no_proposals": Text(
        "没有等待确认的提案。须两人办理的事项提出后会列在这里。",
        "No proposal waits. What needs two persons stands here once the first has asked for it.",
    ),
    "claims_open": Text("处理中的核销申请", "Claims in hand"),
    "claim_asked": Text("申请金额", "Asked for"),
    "claim_entered": Text("已提交", "entered"),
    "claim_checked": Text("已初核", "checked"),
    "claim_noticed": Text("公示中", "noticed"),
    "no_claims_open": Text(
        "没有处理中的核销申请。企业提交后会列在这里，直到公示结束。",
        "No claim is in hand. One stands here from when it was entered until its notice is over.",
    ),
    "pools": Text("资金池", "Pools"),
    "issued_share": Text("已发放比例", "Share issued"),
    "pool_left": Text("剩余", "Left"),
    "no_pools": Text("尚无资金池：先激活政策。", "There is no pool: put a policy in force first."),
    "pool_not_enough": Text("核给不足 14 天，暂不预测", "fewer than 14 days of grants"),
    "pool_forecast_says": Text(
        "预测按最近 28 个完整账本日的核给额，计至核给用尽之日。",
        "The forecast goes by what the last 28 complete days of the ledger granted, until the "
        "money of the year is granted.",
    ),
    "coupons_soonest": Text("最先用完的券", "Coupons that end first"),
    "ends_on": Text("预计用完", "Ends on"),
    "no_soonest": Text(
        "照最近 28 天的速度，没有券会在到期前用完，或用量还不足以预测。",
        "At the rate of the last 28 days no coupon ends before its expiry, or there is too little "
        "usage to foresee that.",
    ),
    "coupons_largest": Text("最大的券", "The largest coupons"),
    "coupons_scarce": Text("余额最少的券", "Coupons with the least left"),
    "left_share": Text("剩余比例", "Share left"),
    "coupons_more": Text("只比较了前 1,000 张券。", "Only the first 1,000 coupons were compared."),
    "no_coupons": Text(
        "尚未发放券。企业和合同登记后即可发放。",
        "No coupon was issued yet. One is issued to an enterprise once its contract is registered.",
    ),
    "troubled": Text("无声或缺号的供应方", "Providers that are silent or lack numbers"),
    "silent": Text("超过一天无批次", "no batch for a day"),
    "never_came": Text("从未报送", "never"),
    "no_troubled": Text(
        "所有供应方在一天内都有批次，且无缺号。",
        "Each provider sent a batch within a day, and no number is missing.",
    ),
    "review": Text("审核记录", "Review the record"),
    "review_says": Text(
        "解除暂扣后，{amount} 的费用计入合同；撤销后，整条记录撤回。下一步先核对金额。",
        "Released, a cost of {amount} counts for the contract; voided, all of the record is taken "
        "back. The figures of either are shown first.",
    ),
    "act_confirm": Text("确认", "Confirm"),
    "act_end": Text("撤回提案", "End the proposal"),
    "proposal_until": Text("有效至", "Until"),
    "proposal_open": Text("待确认", "open"),
    "proposal_confirmed": Text("已确认", "confirmed"),
    "proposal_ended": Text("已撤回", "ended"),
    "proposal_expired": Text("已过期", "expired"),
    "proposal_says": Text(
        "确认者须为另一人；按确认时的状态决定。",
        "Another person confirms it, and it is decided on the state of then.",
    ),
}
