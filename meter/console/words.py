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
    "tab_streams": Text("数据流", "Streams"),
    "tab_rejected": Text("被拒收", "Refused"),
    "stream": Text("数据流", "Stream"),
    "last_number": Text("最后编号", "Last number"),
    "last_came": Text("到达时间", "It came"),
    "missing_numbers": Text("缺失编号", "Missing numbers"),
    "none_missing": Text("无缺失", "none"),
    "no_streams": Text(
        "尚无批次。登记公钥后，由代理或自有程序报送第一个批次。",
        "There is no batch yet. Once a key is registered, the agent or a program sends the first.",
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
    "rotation_stolen": Text(
        "密钥若可能被盗：先请主管部门吊销，并告知从何时起可疑。",
        "If a key may be stolen, have it revoked first, and say since when it is suspected.",
    ),
    "enlistments": Text("入库", "Enlistments"),
    "serves": Text("服务的项目：", "Serves:"),
    "what_to_do": Text("如何处理", "What to do"),
    "no_rejected": Text("没有被拒收的记录。", "Nothing was refused."),
    "withheld_says": Text(
        "超出一刻钟内容量的部分等待审核；审核方放行或作废。",
        "What did not fit into a quarter-hour waits for a reviewer, who releases or voids it.",
    ),
    "full_quarters": Text("已满的时段（北京时间）", "When it was full (Beijing time)"),
    "limit_contract": Text("合同租用", "rented"),
    "limit_provider": Text("入库设备", "enlisted"),
    "no_withheld": Text("没有待审核的记录。", "Nothing waits for a reviewer."),
    "all_contracts": Text("全部合同", "All contracts"),
    "authority": Text("待办与资金", "What waits, and the money"),
    "waits_days": Text("等待天数", "Days waited"),
    "queue_more": Text("还有更多，最早的在前。", "There are more; the oldest stand first."),
    "proposals": Text("等待另一人确认的提案", "Proposals that wait for another person"),
    "no_proposals": Text("没有等待确认的提案。", "No proposal waits."),
    "claims_open": Text("处理中的申领", "Claims in hand"),
    "claim_asked": Text("申领金额", "Asked for"),
    "claim_entered": Text("已提交", "entered"),
    "claim_checked": Text("已初核", "checked"),
    "claim_noticed": Text("公示中", "noticed"),
    "no_claims_open": Text("没有处理中的申领。", "No claim is in hand."),
    "pools": Text("资金池", "Pools"),
    "issued_share": Text("已发放比例", "Share issued"),
    "pool_left": Text("剩余", "Left"),
    "no_pools": Text("尚无资金池：先激活政策。", "There is no pool: put a policy in force first."),
    "coupons_scarce": Text("余额最少的券", "Coupons with the least left"),
    "left_share": Text("剩余比例", "Share left"),
    "coupons_more": Text("只比较了前 1,000 张券。", "Only the first 1,000 coupons were compared."),
    "no_coupons": Text("尚未发放券。", "No coupon was issued yet."),
    "troubled": Text("无声或缺号的算力提供方", "Providers that are silent or lack numbers"),
    "silent": Text("超过一天无批次", "no batch for a day"),
    "never_came": Text("从未报送", "never"),
    "no_troubled": Text(
        "所有提供方在一天内都有批次，且无缺号。",
        "Each provider sent a batch within a day, and no number is missing.",
    ),
    "review": Text("审核记录", "Review the record"),
    "review_says": Text(
        "放行后，{amount} 的费用计入合同；作废后，整条记录撤回。须两人时，提交的是提案。",
        "Released, a cost of {amount} counts for the contract; voided, all of the record is taken "
        "back. Where it needs two persons, this makes a proposal.",
    ),
    "act_release": Text("放行", "Release"),
    "act_void": Text("作废", "Void"),
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
    "log": Text("账本", "The log"),
    "log_size": Text("已提交条目", "Committed entries"),
    "log_newest": Text("最新条目的时间", "Newest entry"),
    "log_published": Text("检查点条目数", "Entries of the checkpoint"),
    "log_unverified": Text(
        "此页显示检查点所称，未核验任何签名；联署时间由联署方自称。",
        "The page shows what the checkpoint claims, and has verified no signature; "
        "the times are those that cosigners state.",
    ),
    "log_offline": Text(
        "下载并离线核验全部条目；已取得的文件留在文件夹 log 中。",
        "Download all, and verify it offline; what was fetched stays in the folder log.",
    ),
    "cosigners": Text("联署方", "Cosigners"),
    "no_cosigners": Text("没有联署。", "None has cosigned."),
    "growth_title": Text("账本条目数（按日）", "Entries of the ledger by day"),
    "search": Text("查找", "Search"),
    "search_what": Text(
        "编号、统一社会信用代码、摘要、条目编号或名称开头",
        "An id, a USCC, a digest, a number, or the beginning of a name",
    ),
    "search_nothing": Text("没有找到。", "Nothing was found."),
    "search_more": Text("还有更多：请多写几个字。", "There is more: write more of it."),
    "entry_time": Text("时间", "Time"),
    "entry_kind": Text("种类", "Kind"),
    "entry_who": Text("何人", "By whom"),
    "entry_by": Text("令牌或公钥", "By token or key"),
    "entry_person": Text("人员", "Person"),
    "entry_proposal": Text("提案", "Proposal"),
    "entry_reason": Text("理由", "Reason"),
    "entry_moves": Text("资金变动", "What it moved"),
    "entry_no_moves": Text("此条目不涉及资金变动。", "This entry moved no money."),
    "move_amount": Text("金额", "Amount"),
    "move_source": Text("自", "From"),
    "move_target": Text("至", "To"),
    "entry_evidence": Text("证明", "Its proof"),
    "proved_entry": Text("下载条目文件", "Download the entry file"),
    "entry_content": Text("全部内容（金额单位为分）", "All of its content (amounts in fen)"),
    "entries_newest": Text("最新条目", "Newest entries"),
    "entries_found": Text("找到的条目", "Entries that were found"),
    "entries_none": Text("没有这样的条目。", "There is no such entry."),
    "filters_off": Text("显示最新条目", "Show the newest"),
    "next_page": Text("下一页", "Next page"),
    "acts_of_persons": Text("主管部门人员的操作", "What persons of the authority did"),
    "person_ended": Text("已终止", "ended"),
    "found_enterprise": Text("企业", "Enterprise"),
    "found_provider": Text("服务机构", "Provider"),
    "found_contract": Text("合同", "Contract"),
    "found_award": Text("资助", "Award"),
    "found_claim": Text("申领", "Claim"),
    "found_key": Text("公钥", "Key"),
    "found_project": Text("项目", "Project"),
    "found_person": Text("人员", "Person"),
    "found_batch": Text("批次", "Batch"),
    "found_record": Text("记录", "Record"),
    "found_kind": Text("种类", "Kind"),
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
    "live": Text("● 实时", "● Live"),
    "live_lost": Text(
        "○ 自 {time}（北京时间）起连接中断", "○ Connection lost since {time} Beijing time"
    ),
    "live_again": Text("○ 登录已失效，请重新登录", "○ Signed out: sign in again"),
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
