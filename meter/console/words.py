"""What the pages say, in Chinese and English: one line for each text, so that none lacks one."""

from collections.abc import Mapping
from types import SimpleNamespace
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
    "issuer_link": Text("用统一身份认证登录", "Sign in with your organisation's account"),
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
    "people": Text("人员", "People"),
    "people_sign_in": Text("可以登录的人员", "Who may sign in"),
    "people_none": Text(
        "还没有人可以登录。运营方用 kashi person 添加。",
        "Nobody may sign in yet. An operator adds people by kashi person.",
    ),
    "people_state": Text("状态", "State"),
    "people_active": Text("有效", "active"),
    "people_ended": Text("已于 {date} 停用", "ended {date}"),
    "people_over": Text("已停用", "has ended"),
    "people_end": Text("停用", "End"),
    "people_end_text": Text(
        "停用后，此人的所有登录立即失效，编号不能再用。",
        "All sessions of this person end at once, and the id never comes back.",
    ),
    "people_sessions": Text("当前登录数", "Open sessions"),
    "speakers": Text(
        "代表主管部门的人员及其令牌", "Who speaks for the authority, and their tokens"
    ),
    "csv": Text("下载为表格（CSV）", "Download as a table (CSV)"),
    "form_refused": Text("表单未被接受：", "The form was not taken:"),
    "stale": Text(
        "数据已变化，尚未执行任何操作。请按新的数据重新确认。",
        "The figures have changed, and nothing was done. Confirm them as they are now.",
    ),
    "only_for": Text("此页仅供以下身份使用：", "This page is for:"),
    # An enterprise's pages
    "tab_balance": Text("余额", "Balance"),
    "tab_usage": Text("用量", "Usage"),
    "tab_records": Text("记录", "Records"),
    "tab_contracts": Text("合同", "Contracts"),
    "tab_refused": Text("未计入", "Not counted"),
    "balance_title": Text("余额", "Balance"),
    "as_of_time": Text("截至 {time}，共 {entries} 条", "As of {time}, {entries} entries"),
    "beijing": Text("所有时间均为北京时间。", "All times are Beijing time."),
    "traceable": Text(
        "每个数字都来自账本条目，可独立核验。",
        "Every figure comes from entries of the ledger, and can be verified.",
    ),
    "show": Text("显示", "Show"),
    "see": Text("查看", "See"),
    "all": Text("全部", "All"),
    "download": Text("下载 CSV", "Download CSV"),
    "nothing_yet": Text("还没有合同", "No contracts yet"),
    "nothing_yet_text": Text(
        "主管部门登记合同并发放券后，这里会显示余额和用量。",
        "Once the authority has registered a contract and issued a coupon, both are shown here.",
    ),
    "remaining": Text("剩余额度", "Remaining"),
    "share_left": Text("占已发放 {money} 的 {share}", "{share} of the {money} issued"),
    "forecast_mean": Text(
        "近 {days} 个完整日应补贴共 {money}，照此可用至",
        "The last {days} complete days were entitled to {money}. At that rate it lasts until",
    ),
    "lasts_until": Text("{date}", "{date}"),
    "between": Text("在 {earliest} 至 {latest} 之间", "Between {earliest} and {latest}"),
    "later": Text("更晚", "later"),
    "lasts_beyond": Text("有效期结束之后", "Beyond its expiry"),
    "forecast_not_enough": Text(
        "近四周只有 {days} 天有用量，不足 14 天，暂不预测。",
        "Only {days} days of the last four weeks had usage; a forecast needs 14.",
    ),
    "forecast_used_up": Text("额度已用完", "Nothing remains"),
    "forecast_over": Text("有效期已过", "Its time is over"),
    "expires": Text(
        "有效期至 {date}，到期未用部分收回", "Valid until {date}; what is left goes back"
    ),
    "bar_says": Text(
        "已核定 {granted}，剩余 {remaining}", "Granted {granted}, remaining {remaining}"
    ),
    "granted": Text("已核定", "Granted"),
    "granted_note": Text("按用量计入的补贴", "for usage that counted"),
    "granted_as_booked": Text("入账时", "as booked"),
    "remaining_note": Text("可用于新用量", "for new usage"),
    "issued_note": Text("由主管部门发放", "by the authority"),
    "uncovered": Text("未覆盖", "Uncovered"),
    "uncovered_note": Text("额度不足的部分", "beyond the coupon"),
    "withheld": Text("待审核", "Under review"),
    "withheld_note": Text("超出容量的费用", "cost beyond capacity"),
    "ineligible": Text("不予补贴", "Not eligible"),
    "attention": Text("需要关注", "Needs attention"),
    "notice_uncovered": Text(
        "额度不足：{money} 的应补贴未能覆盖", "The coupon did not cover {money} of entitled subsidy"
    ),
    "notice_used": Text("已用完 {level}% 的额度", "{level}% of the coupon is used"),
    "notice_withheld": Text(
        "费用 {money} 的用量超出容量，等待审核",
        "Usage of {money} exceeded capacity and waits for review",
    ),
    "notice_refused": Text(
        "{count} 条记录被拒收，未产生费用",
        "Refused records: {count}; nothing was charged for them",
    ),
    "notice_unused": Text(
        "照此速度，到期将有 {money} 未使用",
        "At this rate {money} will be unused when the coupon expires",
    ),
    "section_failed": Text("这一部分暂时无法显示。", "This part cannot be shown now."),
    "burn_down": Text("额度消耗与预测", "Burn-down and forecast"),
    "burn_down_says": Text(
        "每日结束时的剩余额度，以及按近四周最快和最慢一周推算的范围",
        "What remained at the end of each day, and where the busiest and the quietest week lead",
    ),
    "forecast": Text("预测", "Forecast"),
    "alert": Text("已用 {level}%", "{level}% used"),
    "daily": Text("每日应补贴（近 {days} 天）", "Entitled per day, last {days} days"),
    "daily_says": Text("按合同堆叠", "By contract, on each other"),
    "date": Text("日期", "Date"),
    "show_table": Text("查看数据表", "Show the figures"),
    "may_lack": Text("可能有用量尚未报送", "usage may be missing"),
    "contracts": Text("合同", "Contracts"),
    "no_contracts": Text(
        "还没有合同。主管部门登记后会列在这里。",
        "There are no contracts. They are listed once the authority has registered them.",
    ),
    "contract": Text("合同", "Contract"),
    "provider": Text("算力提供方", "Provider"),
    "used_of_contract": Text("合同用量", "Used of the contract"),
    "amount_of_contract": Text("合同金额", "Amount"),
    "last_day": Text("最后一天", "Last day"),
    "frozen": Text("已冻结", "frozen"),
    "newest_records": Text("最新记录", "Newest records"),
    "all_records": Text("全部记录", "All records"),
    "no_records": Text(
        "没有这样的记录。提供方报送的用量被接受后会列在这里。",
        "There are no such records. Usage is listed here once it was reported and accepted.",
    ),
    "starts": Text("开始", "Start"),
    "ends": Text("结束", "End"),
    "device": Text("设备", "Device"),
    "devices_milli": Text("设备数（千分之一）", "Thousandths of devices"),
    "device_hours": Text("卡时", "Device-hours"),
    "cost": Text("费用", "Cost"),
    "entitled": Text("应补贴", "Entitled"),
    "status": Text("状态", "Status"),
    "entry": Text("条目", "Entry"),
    "line": Text("类型", "Line"),
    "record_id": Text("记录编号", "Record"),
    "status_accepted": Text("已计入", "counted"),
    "status_withheld": Text("部分待审", "part under review"),
    "status_released": Text("审核通过", "released"),
    "status_voided": Text("已作废", "voided"),
    "status_rejected": Text("被拒收", "refused"),
    "status_conflict": Text("编号冲突", "conflict"),
    "line_void": Text("作废", "void"),
    "line_release": Text("放行", "release"),
    "from_day": Text("起始日", "From"),
    "until_day": Text("截止日（不含）", "Until, without it"),
    "older": Text("更早的记录", "Older records"),
    "later_ones": Text("后面的记录", "Later ones"),
    "by_day": Text("按日", "By day"),
    "by_week": Text("按周", "By week"),
    "by_month": Text("按月", "By month"),
    "usage_says": Text(
        "应补贴按今天的合同条款计算；核定属于合同和年度，不分到每一天。",
        "Entitled by the terms of today. Grants belong to a contract and year, and have no day.",
    ),
    "no_usage": Text(
        "这一年还没有用量。提供方报送并被接受的用量会按日列在这里。",
        "There is no usage in this year. It is listed by day once it was reported and accepted.",
    ),
    "total": Text("合计", "Total"),
    "reason": Text("原因", "Reason"),
    "refused_says": Text(
        "被拒收的记录不产生费用，提供方可以改正后重新报送。",
        "Nothing is charged for a refused record; its provider can correct it and report it again.",
    ),
    "no_refused": Text(
        "没有被拒收或待审核的记录。", "No record was refused, and none waits for review."
    ),
    "code": Text("代码", "Code"),
    "detail": Text("说明", "Detail"),
    "code_in_future": Text("结束时间在未来", "it ends in the future"),
    "code_too_late": Text("报送太晚", "reported too late"),
    "code_contract_frozen": Text("合同已冻结", "the contract is frozen"),
    "code_unknown_device": Text("合同没有这种设备", "the contract has no such device"),
    "code_bad_devices": Text("设备数有误", "the number of devices is wrong"),
    "code_bad_interval": Text("起止时间有误", "start or end is wrong"),
    "code_too_long": Text("时间太长", "it is too long"),
    "code_conflict": Text("同一编号已有不同内容的记录", "its id has another content already"),
    "code_withheld": Text("超出容量", "beyond capacity"),
    "record_title": Text("记录 #{entry}", "Record #{entry}"),
    "calculation": Text("如何计算", "How it was calculated"),
    "sentence": Text(
        "{devices} 台设备 × {hours} 小时 × {price}/{per} = {amount}",
        "{devices} devices × {hours} h × {price} per {per} = {amount}",
    ),
    "per_hour": Text("卡时", "device-hour"),
    "per_day": Text("卡天", "device-day"),
    "per_month": Text("卡月", "device-month"),
    "rounding_says": Text(
        "合同总费用只取整一次：本记录另计入此前余数凑成的 {money}。",
        "A contract's total is cut once: {money} more comes from the rests of earlier records.",
    ),
    "ratio_sentence": Text(
        "补贴比例 {ratios}：应补贴 {entitled}，其中已核定 {granted}",
        "Ratio {ratios}: entitled {entitled}, of which {granted} was granted",
    ),
    "reached": Text("该合同目前已达到的上限：", "Limits that the contract has reached by now:"),
    "limit_contract_amount": Text("合同金额已用完", "the amount of the contract is used"),
    "limit_combined_support": Text("公共资金合计已达上限", "all public money for it together"),
    "limit_coupon": Text("券额度不足", "the coupon"),
    "evidence": Text("待审核的部分：", "What waits for review:"),
    "evidence_contract": Text(
        "{starts} 至 {ends} 超出合同租用的设备：{hours} 卡时",
        "{starts} to {ends}, beyond the devices rented: {hours} device-hours",
    ),
    "evidence_provider": Text(
        "超出提供方入库的设备：{hours} 卡时",
        "beyond the devices that the provider has enlisted: {hours} device-hours",
    ),
    "reason_related_party": Text("关联方", "related parties"),
    "reason_use": Text("用途不在范围内", "a use that is not funded"),
    "reason_outside_policy": Text("政策有效期之外", "outside the policy's time"),
    "reason_outside_term": Text("合同期之外", "outside the contract's term"),
    "reason_not_enlisted": Text("设备未入库", "devices that are not enlisted"),
    "facts": Text("记录内容", "The record"),
    "of_record": Text("所涉记录", "Of record"),
    "verify_record": Text(
        "下载条目和证明，即可离线核验这条记录在账本中，未被改动。",
        "With both files anyone proves offline that this record is in the ledger, unchanged.",
    ),
    "entry_file": Text("条目 {entry} 的原始字节", "The bytes of entry {entry}"),
    "proof_file": Text("条目证明", "Its proof"),
    "problem_title": Text("无法显示此页", "This page cannot be shown"),
    "problem_code": Text("代码", "Code"),
    "start": Text("回到首页", "To the start"),
}


def spoken(language: Language) -> SimpleNamespace:
    """Return all texts in a language, as attributes: a dict has some of its own."""
    return SimpleNamespace(**words(language))


def words(language: Language) -> dict[str, str]:
    """Return all texts in a language, by name."""
    return {name: getattr(text, language) for name, text in WORDS.items()}
