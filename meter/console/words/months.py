"""What the pages of months and disputes say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "tab_months": Text("月结", "Months"),
    "months": Text("账簿月", "Months of the ledger"),
    "months_and_disputes": Text("月结与用量异议", "Months and disputes"),
    "months_closed": Text("已月结", "Closed months"),
    "months_text": Text(
        "金额为该月入账的变动，与用量发生日无关。请在期限前确认，或对记录提出异议。",
        "What was booked in the month, whatever the day of use. Confirm it in time, or dispute a"
        " record.",
    ),
    "months_served": Text(
        "费用为该月入账的变动，与用量发生日无关。",
        "The cost that was booked in the month, whatever the day of use.",
    ),
    "month_closed_at": Text("月结时间", "Closed at"),
    "no_months": Text("尚无已月结的月份。", "No month is closed yet."),
    "month": Text("月份", "Month"),
    "month_until": Text("确认或异议期限", "To be answered before"),
    "month_confirm": Text("确认", "Confirm"),
    "month_confirmed": Text("已确认", "Confirmed"),
    "month_unanswered": Text("期限已过", "Time is over"),
    "month_running": Text("进行中", "Running"),
    "month_over": Text("待月结", "Not closed"),
    "month_is_closed": Text("已月结", "Closed"),
    "month_gaps": Text("缺号段", "Gaps"),
    "month_booked": Text("入账月份", "Booked in"),
    "booked_in": Text("{month} 入账", "booked in {month}"),
    "disputes": Text("用量异议", "Disputes"),
    "no_disputes": Text("没有用量异议。", "Nothing is disputed."),
    "dispute_new": Text("对记录提出异议", "Dispute a record"),
    "dispute_text": Text(
        "处理完毕前，该合同相关年度的核销申请不予核准。每条记录只能提出一次。",
        "Until it is decided, no claim for the contract and year is approved. A record is disputed"
        " once.",
    ),
    "dispute_send": Text("提出异议", "Dispute it"),
    "dispute_open": Text("待处理", "Open"),
    "dispute_upheld": Text("成立，记录已撤销", "Upheld: voided"),
    "dispute_dismissed": Text("已驳回", "Dismissed"),
}
