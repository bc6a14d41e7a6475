"""What the pages of alerts say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "alerts": Text("提醒", "Alerts"),
    "alerts_where": Text("提醒发往哪里", "Where alerts go"),
    "alerts_none": Text(
        "还没有地址，所以不会收到提醒。在下面添加一个。",
        "There is no target yet, so nothing is sent. Add one below.",
    ),
    "alerts_add": Text("添加地址", "Add a target"),
    "alerts_change": Text("保存选择", "Save the choice"),
    "alerts_means": Text("方式", "By"),
    "alert_webhook": Text("网址回调", "Webhook"),
    "alert_mail": Text("电子邮件", "Mail"),
    "alerts_address": Text("网址或邮箱", "URL or address of mail"),
    "alerts_kinds": Text("提醒哪些事", "About what"),
    "alerts_choose": Text("至少选择一项。", "Choose one kind at least."),
    "alert_used_80": Text("券已用 80%", "80 % of a coupon are used"),
    "alert_used_95": Text("券已用 95%", "95 % of a coupon are used"),
    "alert_used_100": Text("券已用完", "A coupon is used up"),
    "alert_ends_soon": Text("券将在 30 天内用完或到期", "A coupon ends within 30 days"),
    "alert_expiry": Text("券已到期", "A coupon has expired"),
    "alert_withheld": Text("合同开始有待复核的用量", "Usage of a contract is held back"),
    "alert_gap": Text("上报流缺号", "A stream lacks a number"),
    "alert_silent": Text("供应方一天没有上报", "A provider is silent for a day"),
    "alert_review": Text("有事项等待主管部门处理", "Something waits for the authority"),
    "alert_month_closed": Text("账簿月已月结，待确认", "A month is closed, to be answered"),
    "alert_off": Text("一个地址已停用", "A target is off"),
    "alert_test": Text("测试", "Test"),
    "alerts_on": Text("启用中", "on"),
    "alerts_off_person": Text("已于 {date} 手动停用", "turned off {date}"),
    "alerts_off_failed": Text(
        "三天内无法送达，已于 {date} 停用",
        "off since {date}: nothing reached it for three days",
    ),
    "alerts_off_ended": Text("已于 {date} 停用", "off since {date}"),
    "alerts_turn_on": Text("启用，并补发未送达的", "Turn on, and send what was not taken"),
    "alerts_turn_off": Text("停用", "Turn off"),
    "alerts_send_test": Text("发送测试", "Send a test"),
    "alerts_log": Text("发送记录", "Delivery log"),
    "alerts_log_none": Text(
        "还没有发送过。跨过界线时才会发送。",
        "Nothing was sent yet: something has to cross a line first.",
    ),
    "alerts_what": Text("内容", "What"),
    "alerts_when": Text("时间", "When"),
    "alerts_status": Text("状态", "State"),
    "alerts_attempts": Text("尝试", "Attempts"),
    "alert_waiting": Text("等待，下次 {date}", "waits until {date}"),
    "alert_taken": Text("已送达", "taken"),
    "alert_given_up": Text("未送达", "given up"),
    "alerts_again": Text("重新发送", "Send again"),
    "alerts_key": Text(
        "回调按 Standard Webhooks 签名（v1a），公钥见 /v1/webhook-key。",
        "Webhooks are signed by Standard Webhooks (v1a); the public key is at /v1/webhook-key.",
    ),
}
