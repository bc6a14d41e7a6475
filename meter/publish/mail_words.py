"""What alerts say by mail: a subject and a sentence for each kind, in both languages."""

from collections.abc import Mapping
from typing import Final

from meter.host.destinations import Language

Texts = Mapping[tuple[str, Language], str]

_COUPON_ZH: Final = "{enterprise} 的 {year} 年券（{programme}）"
_COUPON_EN: Final = "The coupon of {enterprise} for {year} ({programme})"
_REST_ZH: Final = "已核给 ¥{granted}，共 ¥{issued}，余额 ¥{remaining}。"
_REST_EN: Final = "¥{granted} of ¥{issued} are granted, ¥{remaining} are left."

SUBJECT: Final[Texts] = {
    ("used_80", "zh"): "算力券已用 80%",
    ("used_80", "en"): "80 % of a coupon are used",
    ("used_95", "zh"): "算力券已用 95%",
    ("used_95", "en"): "95 % of a coupon are used",
    ("used_100", "zh"): "算力券已用完",
    ("used_100", "en"): "A coupon is used up",
    ("ends_soon", "zh"): "算力券将在 30 天内用完或到期",
    ("ends_soon", "en"): "A coupon ends within 30 days",
    ("expiry", "zh"): "算力券已到期",
    ("expiry", "en"): "A coupon has expired",
    ("withheld", "zh"): "有用量超出容量，等待复核",
    ("withheld", "en"): "Usage is held back and waits for a reviewer",
    ("gap", "zh"): "供应方的上报缺少批次",
    ("gap", "en"): "A batch of a provider is missing",
    ("silent", "zh"): "供应方一天没有上报",
    ("silent", "en"): "A provider has sent nothing for a day",
    ("review", "zh"): "有事项等待主管部门处理",
    ("review", "en"): "Something waits for the authority",
    ("month_closed", "zh"): "账簿月已月结，请确认或提出异议",
    ("month_closed", "en"): "A month is closed: confirm it, or dispute a record",
    ("off", "zh"): "一个提醒地址已停用",
    ("off", "en"): "A target of alerts is off",
    ("test", "zh"): "提醒测试",
    ("test", "en"): "A test of alerts",
}
TEXT: Final[Texts] = {
    **{(kind, "zh"): f"{_COUPON_ZH}：{_REST_ZH}" for kind in ("used_80", "used_95", "used_100")},
    **{(kind, "en"): f"{_COUPON_EN}: {_REST_EN}" for kind in ("used_80", "used_95", "used_100")},
    ("ends_soon", "zh"): f"{_COUPON_ZH}将于 {{last_day}} 用完或到期：{_REST_ZH}",
    ("ends_soon", "en"): f"{_COUPON_EN} is used up, or expires, on {{last_day}}: {_REST_EN}",
    ("expiry", "zh"): f"{_COUPON_ZH}已于 {{last_day}} 到期：{_REST_ZH}",
    ("expiry", "en"): f"{_COUPON_EN} expired on {{last_day}}: {_REST_EN}",
    ("withheld", "zh"): "合同 {contract}（供应方 {provider}）有用量超出容量，等待复核。",
    ("withheld", "en"): "Usage under contract {contract} (provider {provider}) is held back.",
    ("gap", "zh"): "供应方 {provider} 的上报缺少批次编号。",
    ("gap", "en"): "A stream of the provider {provider} lacks a number.",
    ("silent", "zh"): "供应方 {provider} 一天没有发来批次。",
    ("silent", "en"): "The provider {provider} has sent no batch for a day.",
    ("review", "zh"): "有事项等待处理：{what}。",
    ("review", "en"): "Something waits: {what}.",
    ("month_closed", "zh"): "{month} 已月结，请在 {answer_until} 之前确认或对记录提出异议。",
    ("month_closed", "en"): "Before {answer_until}, confirm {month} or dispute a record of it.",
    ("off", "zh"): "三天内无法送达 {address}，已停用。",
    ("off", "en"): "Nothing reached {address} for three days: it is off.",
    ("test", "zh"): "这是一条测试。",
    ("test", "en"): "This is a test.",
}
FOOT: Final[Mapping[Language, str]] = {
    "zh": "修改提醒：{url}",
    "en": "To choose other alerts: {url}",
}
