"""What all pages say."""

from collections.abc import Mapping
from typing import Final

from meter.console.words.text import Text

WORDS: Final[Mapping[str, Text]] = {
    "name": Text("卡时", "Kashi"),
    "other_language": Text("English", "中文"),
    "skip": Text("跳到正文", "Skip to the content"),
    "theme": Text("外观", "Colours"),
    "theme_system": Text("跟随系统", "As the system"),
    "theme_light": Text("浅色", "Light"),
    "theme_dark": Text("深色", "Dark"),
    "checkpoint": Text("最新检查点", "Newest checkpoint"),
    "api": Text("接口说明", "The API"),
    "csv": Text("下载为表格（CSV）", "Download as a table (CSV)"),
    "form_refused": Text("表单未被接受：", "The form was not taken:"),
    "stale": Text(
        "数据已变化，尚未执行任何操作。请按新的数据重新确认。",
        "The figures have changed, and nothing was done. Confirm them as they are now.",
    ),
    "only_for": Text("此页仅供以下身份使用：", "This page is for:"),
    "beijing": Text("所有时间均为北京时间。", "All times are Beijing time."),
    "paper_name": Text("名称", "Name"),
    "paper_uscc": Text("统一社会信用代码", "Unified social credit code"),
    "paper_period": Text("期间", "Period"),
    "period_all": Text("自账本开立以来", "Since the ledger began"),
    "paper_as_of": Text("数据截至", "Figures as of"),
    "paper_checkpoint": Text("{origin}，{size} 条，根：", "{origin}, {size} entries, root:"),
    "show": Text("显示", "Show"),
    "see": Text("查看", "See"),
    "all": Text("全部", "All"),
    "download": Text("下载 CSV", "Download CSV"),
    "section_failed": Text("这一部分暂时无法显示。", "This part cannot be shown now."),
    "problem_title": Text("无法显示此页", "This page cannot be shown"),
    "problem_code": Text("代码", "Code"),
    "start": Text("回到首页", "To the start"),
}
