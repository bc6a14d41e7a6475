"""What a provider does about each refusal, in Chinese; the English is the API's own sentence."""

from collections.abc import Mapping
from typing import Final

# By what was refused, and the code.
ADVICE_ZH: Final[Mapping[tuple[str, str], str]] = {
    ("record", "unknown_contract"): (
        "更正合同编号，或请主管部门登记该合同，然后以同一编号重新上报。"
    ),
    ("record", "wrong_meter"): "请写按机时计量的合同：这份合同接收的是采购。",
    ("record", "unknown_device"): "请写合同有单价的设备类型，以同一编号重新上报。",
    ("record", "bad_devices"): "设备数以千分之一卡计，8 张卡写 8000；以同一编号重新上报。",
    ("record", "bad_interval"): "结束时间应晚于开始时间；改正后以同一编号重新上报。",
    ("record", "too_long"): "请切分为每段不超过 31 天的记录，各用各的编号。",
    ("record", "in_future"): "校准时钟，或在结束时间过后以同一编号重新上报。",
    ("record", "too_late"): (
        "请与主管部门联系，主管部门可以开放补报窗口；今后请在用量结束后、政策规定的天数内上报。"
    ),
    ("record", "contract_frozen"): "请向主管部门询问合同为何冻结；解冻后以同一编号重新上报。",
    ("record", "conflict"): (
        "查明哪一条正确：撤销已接收的一条，并以新编号上报另一条；如已接收的正确，则无须处理。"
    ),
    ("purchase", "unknown_contract"): (
        "更正合同编号，或请主管部门登记该合同，然后以同一编号重新上报采购。"
    ),
    ("purchase", "wrong_meter"): "请写采购类合同：这份合同接收的是用量记录。",
    ("purchase", "bad_amount"): "金额以元计，应大于 0.00；以同一编号重新上报采购。",
    ("purchase", "bad_interval"): (
        "服务的起止日期应同时填写，开始日与交付日相距不超过 1461 天，结束日在其后；"
        "或都不填。然后以同一编号重新上报采购。"
    ),
    ("purchase", "too_long"): "请把服务切分为每段不超过 1461 天的采购，各用各的编号。",
    ("purchase", "in_future"): "交付之日开始后，以同一编号重新上报采购。",
    ("purchase", "too_late"): (
        "请与主管部门联系，主管部门可以开放补报窗口；今后请在交付后、政策规定的天数内上报采购。"
    ),
    ("purchase", "contract_frozen"): "请向主管部门询问合同为何冻结；解冻后以同一编号重新上报采购。",
    ("purchase", "second_purchase"): "该扶持项目下每份合同只有一笔采购：如原有一笔有误，请先撤销。",
    ("purchase", "conflict"): (
        "查明哪一笔正确：撤销已接收的一笔，并以新编号上报另一笔；如已接收的正确，则无须处理。"
    ),
    ("void", "unknown_record"): "只能撤销回执写明已接收的记录：没有这个编号的记录。",
    ("void", "already_voided"): "无须处理：该记录已不再计入。",
    ("void", "too_late"): "请与主管部门联系，主管部门可以撤销任何时间的记录。",
    ("batch", "seq_conflict"): (
        "查明为何同一批次编号签了两次，然后以该上报流的新批次编号上报本批内容。"
    ),
}
