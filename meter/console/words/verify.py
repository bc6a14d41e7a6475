"""What the page that verifies an entry says."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "verify_text": Text(
        "持有条目或回执者，凭条目证明和检查点即可离线核验，无需令牌。"
        "审计方凭令牌核验全部：没有条目被改动、删除或插入，每条规则都已重算。",
        "Who holds an entry or a receipt proves it offline by the checkpoint, without a token. "
        "An auditor verifies all: that nothing was changed, dropped or slipped in, and every rule.",
    ),
    "verify_title": Text("核验一条", "Verify one entry"),
    "verify_here": Text("在浏览器中核验一条", "Verify one entry in the browser"),
    "verify_about": Text(
        "五步证明账本含有这一条目：检查点的签名、其条目数与根、条目的叶哈希、路径，以及由此得出的根。"
        "文件不会离开浏览器。",
        "Five steps prove that the ledger holds an entry: the checkpoint's signature, its size "
        "and root, the entry's hash, the path, and the root that it leads to. "
        "No file leaves the browser.",
    ),
    "verify_caution": Text(
        "此页的脚本来自同一台服务器：服务器若作假，页面也可作假。离线核验不依赖它。",
        "This page's script comes from the same server: if that lies, so may the page. "
        "Offline verification needs nothing from it.",
    ),
    "verify_no_script": Text(
        "此页需要脚本；没有脚本时，请用下面的命令离线核验。",
        "This page needs script; without it, verify offline by the commands below.",
    ),
    "verify_keys": Text("账本公钥，每行一个", "The log's keys, one to a line"),
    "verify_number": Text("条目编号", "Number of the entry"),
    "verify_fetch": Text("取来并核验", "Fetch and verify"),
    "verify_files": Text("或选择文件，也可拖入", "Or choose files, or drop them here"),
    "verify_files_hint": Text(
        "条目文件（.tlog-proof）、已保存的回执，或证明与条目两个文件。",
        "An entry file (.tlog-proof), a stored receipt, or a proof and its entry.",
    ),
    "verify_signature": Text("检查点的签名", "The checkpoint's signature"),
    "verify_signature_told": Text(
        "账本以上列公钥之一签署了此检查点。", "The log has signed it with one of the keys above."
    ),
    "verify_checkpoint": Text("条目数与根", "Size and root"),
    "verify_checkpoint_told": Text(
        "检查点属于这一账本，且此条目在其中。",
        "It is of this log, and of a size that has the entry.",
    ),
    "verify_leaf": Text("叶哈希", "The entry's hash"),
    "verify_leaf_told": Text(
        "SHA-256（字节 00 与条目）。", "SHA-256 of the byte 00 and the entry (RFC 9162)."
    ),
    "verify_path": Text("路径", "The path"),
    "verify_path_told": Text(
        "从叶到根，每级与一个兄弟哈希合并。", "From the leaf up, with one sibling at each level."
    ),
    "verify_root": Text("得出的根", "The root it leads to"),
    "verify_root_told": Text("须与检查点的根相同。", "It has to be the checkpoint's."),
    "verify_digests": Text("批次与回执", "Batch and receipt"),
    "verify_digests_told": Text(
        "条目记有两者的摘要。谁签署了它们，由命令核验。",
        "The entry has the digests of both. Who signed them is checked by the command.",
    ),
    "verify_good": Text("成立：账本含有此条目。", "Good: the log holds this entry."),
    "verify_bad": Text("不成立：见标出的步骤。", "Not proved: see the step that is marked."),
    "verify_unchecked": Text(
        "路径通向检查点的根，但此处未核验签名：请用下面的命令。",
        "The path leads to the checkpoint's root, but its signature was not checked here: "
        "use the command below.",
    ),
    "verify_unread": Text("无法核验。", "Nothing was verified."),
    "is_good": Text("✓ 成立", "✓ good"),
    "is_bad": Text("✗ 不成立", "✗ bad"),
    "is_unchecked": Text("? 未核验", "? not checked"),
    "is_computed": Text("＝ 已算出", "= computed"),
    "verify_other_log": Text("检查点属于另一账本。", "The checkpoint is of another log."),
    "verify_not_signed": Text(
        "上列公钥均未签署此检查点。", "None of the keys above has signed this checkpoint."
    ),
    "verify_bad_signature": Text("签名与文本不符。", "The signature does not fit the text."),
    "verify_not_checked_here": Text(
        "此处未核验签名：浏览器没有 Ed25519。",
        "Signature not checked here: no Ed25519 in this browser.",
    ),
    "verify_beyond_size": Text("检查点尚无此条目。", "The checkpoint is of before this entry."),
    "verify_wrong_path": Text("路径的长度不对。", "The path has another length."),
    "verify_no_path": Text("路径不成立。", "The path leads nowhere."),
    "verify_other_root": Text(
        "两者不同：条目、编号或路径被改动过。", "They differ: entry, number or path were changed."
    ),
    "verify_not_as_entered": Text(
        "条目记有另外的摘要。", "The entry has other digests than this file."
    ),
    "verify_bad_file": Text("无法读懂此文件：", "A file cannot be read:"),
    "verify_bad_key": Text("这不是账本公钥：", "This is no key of a log:"),
    "verify_no_proof": Text(
        "此回执没有证明：先用 kashi receipt prove。",
        "This receipt has no proof: get one by kashi receipt prove.",
    ),
    "verify_needs_proof": Text(
        "还需要证明：请一并选择，或填写编号。",
        "Its proof is needed too: choose both, or give its number.",
    ),
    "verify_needs_entry": Text("还需要条目：请一并选择。", "Its entry is needed too: choose both."),
    "verify_which_files": Text(
        "请选择一份回执，或一个证明及其条目。", "Choose one receipt, or one proof and its entry."
    ),
    "verify_too_large": Text("文件过大。", "The file is too large."),
    "verify_insecure": Text(
        "浏览器仅在 HTTPS 页面上计算哈希：请用下面的命令。",
        "The browser computes hashes on pages by HTTPS only: use the command below.",
    ),
    "verify_no_answer": Text("服务器没有应答：", "The server did not answer:"),
    "verify_not_given": Text(
        "服务器没有给出（是否已登录？）：", "The server did not give it (are you signed in?):"
    ),
    "verify_other_entry": Text("证明属于另一条目，不是", "The proof is of another entry than"),
    "input_bytes": Text("条目字节数", "Bytes of the entry"),
    "input_leaf": Text("叶哈希", "Leaf"),
    "input_index": Text("条目编号", "Number"),
    "input_path": Text("兄弟哈希，自下而上", "Siblings, from below"),
    "input_computed": Text("算出的根", "Computed root"),
    "input_signed": Text("所签文本", "Signed text"),
    "input_signatures": Text("签名行", "Signature lines"),
    "input_payload": Text("批次的摘要", "Digest of the batch"),
    "input_envelope": Text("信封的摘要", "Digest of the envelope"),
    "input_receipt": Text("回执的摘要", "Digest of the receipt"),
    "verify_offline": Text("离线核验", "Verify offline"),
    "verify_offline_text": Text(
        "公钥应来自另一来源。以下命令只需文件与公钥。",
        "Have the key from another source. These need nothing but the file and the key.",
    ),
}
