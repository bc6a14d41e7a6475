"""Usage beside the turn of a year that arrived late."""

from meter.rules.entries import AnyEntry, UsageAccepted
from meter.values.units import DAY_SECONDS, MICROSECONDS, year_of
from meter.views.exceptions.rule import AuditException, EntryRule

EDGE_DAYS = 7  # on both sides of the turn


class YearEdges(EntryRule):
    """Usage within a week of a turn of the year, which came later than the threshold."""

    name = "year_edge"
    meaning = "usage beside the turn of a year arrived late"
    meaning_zh = "跨年前后的用量迟报"
    source = "judgement: a coupon belongs to the year of the use"
    source_zh = "本项目判断：券归属于使用年度"
    unit = "days"
    unit_zh = "天"
    default = 7

    def judge(self, number: int, entry: AnyEntry) -> AuditException | None:
        if not isinstance(entry, UsageAccepted):
            return None
        start, end, at = (each // MICROSECONDS for each in (entry.start, entry.end, entry.at))
        late = (at - end) // DAY_SECONDS
        edge = EDGE_DAYS * DAY_SECONDS
        is_near = year_of(start - edge) != year_of(start) or year_of(end + edge) != year_of(start)
        if late < self.threshold or not is_near:
            return None
        details = f"{entry.id}: {late} days after its end", f"{entry.id}：结束 {late} 天后入账"
        return self.told(entry.contract, details, number)
