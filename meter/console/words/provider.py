"""What a provider's pages say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "tab_streams": Text("上报流", "Streams"),
    "tab_rejected": Text("被拒收", "Refused"),
    "stream": Text("上报流", "Stream"),
    "last_number": Text("最后编号", "Last number"),
    "last_came": Text("到达时间", "It came"),
    "missing_numbers": Text("缺号", "Missing numbers"),
    "none_missing": Text("无缺号", "none"),
    "no_streams": Text(
        "尚无批次。登记公钥后，由代理或自有程序报送第一个批次。",
        "There is no batch yet. Once a key is registered, the agent or a program sends the first.",
    ),
    "tab_batches": Text("批次与回执", "Batches"),
    "batches_say": Text(
        "已证明的回执含批次、回执及二者在账本中的证明，可离线核验。",
        "A proved receipt holds a batch, its receipt, and the proof of both, to verify offline.",
    ),
    "batch_number": Text("编号", "Number"),
    "batch_holds": Text("内容", "Holds"),
    "batch_counts": Text(
        "记录 {records}，采购 {purchases}，撤销 {voids}",
        "records {records}, purchases {purchases}, voids {voids}",
    ),
    "batch_envelope": Text("信封", "envelope"),
    "batch_receipt": Text("已证明的回执", "proved receipt"),
    "batch_files": Text("文件", "Files"),
    "no_batches": Text(
        "此上报流没有批次。收到第一个批次后，可在此下载回执。",
        "There is no batch of this stream. Once the first one came, its receipt is here.",
    ),
    "provider_keys": Text("公钥", "Keys"),
    "key_good": Text("有效", "in use"),
    "key_revoked": Text("已吊销", "revoked"),
    "no_keys": Text(
        "尚未登记公钥：请主管部门登记。", "No key is registered: the authority registers one."
    ),
    "rotation": Text("更换公钥", "Change a key"),
    "rotation_make": Text("在集群上生成新密钥：", "Make a new key at the cluster:"),
    "rotation_register": Text(
        "将输出的一行交主管部门登记；新公钥随即出现在此页。",
        "Hand the line that it prints to the authority, which registers it; it then stands here.",
    ),
    "rotation_switch": Text(
        "让所有发送程序改用新密钥。旧批次照常有效。",
        "Let all senders use the new key. Older batches stay good.",
    ),
    "rotation_revoke": Text("请主管部门吊销旧公钥。", "Ask the authority to revoke the old one."),
    "rotation_two": Text(
        "现有多把有效公钥：确认新批次都由新密钥签署后，再吊销旧的。",
        "Several keys are in use: revoke the older once every new batch is signed by the newest.",
    ),
    "rotation_stolen": Text(
        "密钥若可能被盗：先请主管部门吊销，并告知从何时起可疑。",
        "If a key may be stolen, have it revoked first, and say since when it is suspected.",
    ),
    "enlistments": Text("入库", "Enlistments"),
    "serves": Text("服务的项目：", "Serves:"),
    "what_to_do": Text("如何处理", "What to do"),
    "no_rejected": Text(
        "没有被拒收的记录：报送的都已接受。今后被拒收的会列在这里，并说明如何处理。",
        "Nothing was refused: all that was reported was taken. A refusal stands here with what to "
        "do about it.",
    ),
    "withheld_says": Text(
        "超出一刻钟内容量的部分等待审核；审核方解除暂扣或撤销。",
        "What did not fit into a quarter-hour waits for a reviewer, who releases or voids it.",
    ),
    "full_quarters": Text("已满的时段（北京时间）", "When it was full (Beijing time)"),
    "limit_contract": Text("合同租用", "rented"),
    "limit_provider": Text("入库设备", "enlisted"),
    "no_withheld": Text(
        "没有待审核的记录：所有用量都在容量之内，或已审核完毕。",
        "Nothing waits for a reviewer: all usage fitted, or was looked at.",
    ),
    "all_contracts": Text("全部合同", "All contracts"),
}
