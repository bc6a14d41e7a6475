"""What the pages of claims, of the public notice and of the bank's payments say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "tab_claims": Text("核销", "Claims"),
    "tab_settling": Text("核销与月结", "Claims and months"),
    "claim": Text("核销申请", "Claim"),
    "claims": Text("核销申请", "Claims"),
    "claim_item": Text("拨付项", "Item"),
    "claim_state": Text("状态", "State"),
    "claim_approved": Text("核准金额", "Approved"),
    "claim_cash": Text("应付现金", "Cash to pay"),
    "claim_payee": Text("收款方", "Payee"),
    "state_entered": Text("已提交", "entered"),
    "state_checked": Text("已初核", "checked"),
    "state_approved": Text("已核准", "approved"),
    "state_noticed": Text("公示中", "under notice"),
    "state_ordered": Text("已下达支付", "ordered"),
    "state_paid": Text("已支付", "paid"),
    "state_ended": Text("已结束", "ended"),
    "claims_all": Text("全部核销申请", "All claims"),
    "claims_more": Text("仅列出前 1,000 条。", "Only the first 1,000 are listed."),
    "no_claims": Text(
        "还没有核销申请。在上表选择拨付项和年度即可开始。",
        "There is no claim yet. Choose an item and year above to begin one.",
    ),
    "no_claims_then": Text("那时还没有核销申请。", "There was no claim then."),
    "no_claims_yet": Text("还没有核销申请。", "There is no claim yet."),
    "no_claims_here": Text("没有这种状态的核销申请。", "No claim is in this state."),
    "claimable": Text("可核销的合同与奖补", "What can be claimed"),
    "no_accounts": Text(
        "还没有已核给的合同或奖补，用量入账后即可核销。",
        "No contract or award was granted anything yet; once usage is booked, it can be claimed.",
    ),
    "claim_new": Text("新的核销申请", "New claim"),
    "claim_begin": Text("申请", "Claim"),
    "account_limit": Text("最多可付（V）", "May be paid in all (V)"),
    "account_payable": Text("待付", "Payable"),
    "account_paid": Text("已付", "Paid"),
    "account_debt": Text("欠款", "Debt"),
    # the operands
    "operands": Text("可付金额如何得出", "What may be paid, and why"),
    "op_granted": Text("已核给（G）", "Granted (G)"),
    "op_forfeited": Text("其中取消（F）", "Forfeited of it (F)"),
    "op_invoiced": Text("发票（I）", "Invoiced (I)"),
    "op_paid": Text("企业付款（P）", "Paid by the enterprise (P)"),
    "op_ratio": Text("比例", "Ratio"),
    "op_ground": Text("依据", "Ground"),
    "op_limit": Text("上限", "Limit"),
    "op_figure": Text("金额", "Figure"),
    "op_bound": Text("决定上限", "binds"),
    "op_claimed": Text("此前已核准", "Approved before"),
    "op_open": Text("本次可核准", "Can be approved"),
    "op_cash": Text("抵扣欠款后的现金", "Cash after debts are set off"),
    "approved_in_all": Text("累计核准", "Approved in all"),
    "op_note": Text(
        "V 是三个上限中最小的一个，不低于零。",
        "V is the smallest of the limits, and never below zero.",
    ),
    "debts": Text("下达支付时先抵扣的欠款", "Debts that the order sets off first"),
    "no_debts": Text("该企业在此政策下没有欠款。", "The firm has no debt in the programme."),
    "ceiling": Text("项目审定投资的余额", "Left of the project's audited investment"),
    "ceiling_unknown": Text("项目尚无审定投资。", "The project has no audited investment yet."),
    "evidence_gap": Text("缺少的材料：{papers}", "Evidence that is missing: {papers}"),
    "evidence_whole": Text(
        "政策要求的材料齐全。", "The evidence that the policy asks for is there."
    ),
    "evidence_invoice": Text("发票", "invoices"),
    "evidence_payment": Text("付款", "payments"),
    "evidence_delivery": Text("交付证明", "the proof of delivery"),
    "rows_incomplete": Text(
        "有 {count} 行尚未填全号码和金额，未计入。",
        "{count} rows have no number or no part yet, and do not count.",
    ),
    "payable_unknown": Text("暂时无法计算：{detail}", "It cannot be computed now: {detail}"),
    "claims_until": Text("本年度核销截至 {date}（不含）", "Claims for the year end before {date}"),
    # the form
    "claim_id": Text("申请编号（全账本唯一）", "Id of the claim, unique in the ledger"),
    "claim_amount": Text("申请金额（留空：全部可付）", "Amount asked for; empty: all that is open"),
    "claim_delivery": Text("交付证明的 SHA-256", "SHA-256 of the proof of delivery"),
    "invoices": Text("发票", "Invoices"),
    "payments": Text("付款", "Payments"),
    "invoice_row": Text("发票 {n}", "Invoice {n}"),
    "payment_row": Text("付款 {n}", "Payment {n}"),
    "claim_field_number": Text("发票号码", "Number"),
    "claim_field_issued_on": Text("开票日期", "Issued on"),
    "claim_field_seller": Text("销售方代码", "Seller’s USCC"),
    "claim_field_buyer": Text("购买方代码", "Buyer’s USCC"),
    "claim_field_amount": Text("金额（元）", "Amount (yuan)"),
    "claim_field_tax": Text("其中税额（元）", "Tax in it (yuan)"),
    "claim_field_part": Text("本次核销的部分（元）", "Part claimed for (yuan)"),
    "claim_field_sha256": Text("文件的 SHA-256", "SHA-256 of the document"),
    "claim_field_file": Text(
        "由文件计算 SHA-256（文件不上传）", "SHA-256 of a file, which stays in the browser"
    ),
    "claim_field_bank": Text("银行代码", "Bank’s code"),
    "claim_field_reference": Text("银行流水号", "Bank’s reference"),
    "claim_field_paid_on": Text("付款日期", "Paid on"),
    "more_rows": Text("增加三行", "Three more rows"),
    "recalculate": Text("重新计算", "Recalculate"),
    "too_long_to_type": Text(
        "行数较多，请按“重新计算”。", "There are many rows: press Recalculate."
    ),
    "continue": Text("下一步：核对", "Continue: check it"),
    "change": Text("返回修改", "Change it"),
    "claim_confirm": Text("核对并提交", "Check and submit"),
    "claim_submit": Text("提交申请", "Submit the claim"),
    "claim_confirm_text": Text(
        "提交后成为账本中的一条记录；初核前后均可撤回。",
        "Submitted, it becomes an entry of the ledger; until its approval you may withdraw it.",
    ),
    "fault_sha256": Text(
        "写 64 个十六进制字符（0–9、a–f）。", "Write 64 hexadecimal characters (0-9, a-f)."
    ),
    "fault_invoice": Text(
        "写 20 位号码；旧式发票写“代码-号码”，如 044002100111-12345678。",
        "Write 20 digits; of an older invoice its code and number, as 044002100111-12345678.",
    ),
    "fault_url": Text("写以 https:// 开头的网址。", "Write an address that begins with https://."),
    "all_open": Text("全部可付金额", "all that is open"),
    # a claim's page
    "papers": Text("凭证", "Papers"),
    "paper": Text("凭证", "Paper"),
    "paper_date": Text("日期", "Date"),
    "paper_part": Text("核销部分", "Part"),
    "paper_disallowed": Text("不予认可", "Disallowed"),
    "shared_invoices": Text(
        "发票 {number} 也在申请 {claim} 中。", "Invoice {number} stands in claim {claim} too."
    ),
    "used_paper": Text(
        "{paper} 已由申请 {claim} 占用。", "{paper} is bound by claim {claim} already."
    ),
    "chain": Text("办理过程", "What was done"),
    "chain_what": Text("事项", "Act"),
    "chain_when": Text("时间", "Time"),
    "chain_who": Text("经办人", "Person"),
    "step_done": Text("下一步", "What can be done"),
    "notice_period": Text("公示期", "Public notice"),
    "objection_open": Text("异议 {entry} 待处理", "Objection {entry} is open"),
    "step_check": Text("初核", "Check"),
    "step_approve": Text("核准", "Approve"),
    "step_refuse": Text("退回或驳回", "Refuse"),
    "step_withdraw": Text("撤回", "Withdraw"),
    "step_notice": Text("公示", "Give notice"),
    "step_objection": Text("登记异议", "Record an objection"),
    "step_resolve": Text("处理异议", "Resolve an objection"),
    "step_revoke": Text("撤销核准", "Take the approval back"),
    "step_order": Text("下达支付", "Order the payment"),
    "step_payment": Text("登记支付到账", "Enter the payment"),
    "step_payment_return": Text("登记支付退回", "Enter a returned payment"),
    "step_impossible": Text(
        "申请目前为“{state}”，不能办理此事项。", "The claim is {state}: this cannot be done now."
    ),
    "step_before": Text("办理前", "Before"),
    "step_after": Text("办理后", "After"),
    "step_review": Text("核对数据", "See the figures"),
    "step_book": Text("确认：{act}", "Confirm: {act}"),
    "step_proposes": Text(
        "退回支付须两人：提交的是提案。", "Two persons give this: it makes a proposal."
    ),
    "claim_field_outcome": Text("结果", "Outcome"),
    "claim_field_reason": Text("原因", "Reason"),
    "claim_field_from": Text("公示开始", "First day of the notice"),
    "claim_field_until": Text("公示结束（不含）", "First day after it"),
    "claim_field_url": Text("公示网址", "Where it can be read"),
    "claim_field_objection": Text("异议的记录号", "Entry of the objection"),
    "claim_field_bank_reference": Text("银行流水号", "Bank’s reference"),
    "claim_field_returned_on": Text("退回日期", "Returned on"),
    "outcome_returned": Text("退回补正", "returned"),
    "outcome_rejected": Text("驳回", "rejected"),
    "outcome_withdrawn": Text("撤回", "withdrawn"),
    "outcome_dismissed": Text("异议不成立", "dismissed"),
    "outcome_upheld": Text("异议成立", "upheld"),
    # the public notice
    "notices": Text("公示", "Public notice"),
    "notices_text": Text(
        "以下核销申请正在公示。申请人、合同和金额见主管部门的公示网址。",
        "These claims are under public notice. Who claims, for what and how much stands in the "
        "authority’s own notice.",
    ),
    "no_notices": Text("{date} 没有公示中的申请。", "No claim is under notice on {date}."),
    "notice_number": Text("公示编号", "Number"),
    "notice_read": Text("查看公示", "Read the notice"),
    "object": Text("如何提出异议", "How to object"),
    "object_text": Text(
        "在公示期内，向主管部门书面提出异议，写明公示编号。主管部门登记异议文本的 SHA-256；"
        "异议处理完毕前不会付款。",
        "Write to the authority before the notice ends, and name the number. The authority records "
        "the SHA-256 of what you wrote, and nothing is paid until it is resolved.",
    ),
    # the bank
    "bank": Text("银行支付", "Payments by the bank"),
    "bank_list": Text("待支付", "To be paid"),
    "bank_empty": Text("没有待支付的申请。", "No claim waits for the bank."),
    "bank_download": Text("下载支付清单（CSV）", "Download the list for the bank (CSV)"),
    "bank_upload": Text("上传银行结果", "The bank’s results"),
    "bank_upload_text": Text(
        "把清单中 result、bank_reference、date 三列填好后上传。所有行检查通过后才会登记。",
        "The same list with result, bank_reference and date filled in. Every line is checked "
        "before any is booked.",
    ),
    "bank_file": Text("CSV 文件", "CSV file"),
    "bank_check": Text("检查文件", "Check the file"),
    "bank_line": Text("行", "Line"),
    "bank_what": Text("登记内容", "What is booked"),
    "bank_will_pay": Text("登记支付到账", "payment"),
    "bank_will_return": Text("提议登记支付退回", "proposal: payment returned"),
    "bank_known": Text("已登记，不再登记", "booked already, and not again"),
    "bank_other": Text("此流水号已用于", "this reference paid already"),
    "bank_nothing": Text("无结果，不登记", "no result, nothing is booked"),
    "bank_bad": Text(
        "有错误的行，全部未登记：", "Lines are wrong, and nothing of the file is booked:"
    ),
    "bank_confirm": Text("确认登记", "Book them"),
    "bank_done": Text("已登记", "Booked"),
    "bank_name": Text("名称", "Name"),
}
