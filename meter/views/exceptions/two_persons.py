"""Acts of the authority by the persons who proposed and confirmed them."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec import UNSET

from meter.rules import entries
from meter.rules.entries import AnyEntry, AuthorityEntry
from meter.rules.state import State
from meter.views.exceptions.rule import AuditException, Rule

MAX_NAMED = 20  # entries of one pair: enough to begin with


class TwoPersons(Rule):
    """Acts that needed two persons, by the pair that did them."""

    name = "two_persons"
    meaning = "these two decided together"
    meaning_zh = "由这两人共同决定"
    source = "judgement: a pair that decides alone for long is no check"
    source_zh = "本项目判断：长期由同一对人员决定即失去制衡"
    unit = "acts"
    unit_zh = "次"
    default = 1

    def __init__(self, state: State, threshold: int | None = None) -> None:
        super().__init__(state, threshold)
        self._made: dict[int, str] = {}
        self._acts: dict[tuple[str, str], list[int]] = defaultdict(list)

    def entry(self, number: int, entry: AnyEntry) -> None:
        if isinstance(entry, entries.ProposalMade):
            self._made[number] = entry.person
        elif isinstance(entry, AuthorityEntry) and entry.proposal is not UNSET:
            maker = self._made[entry.proposal]
            if not isinstance(entry, entries.ProposalEnded):
                self._acts[maker, entry.person].append(number)

    def found(self) -> Iterable[AuditException]:
        for (maker, other), numbers in sorted(self._acts.items()):
            if len(numbers) >= self.threshold:
                details = (
                    f"{maker} proposed and {other} confirmed, {len(numbers)} times",
                    f"{maker} 提出、{other} 确认，共 {len(numbers)} 次",
                )
                yield self.told(f"{maker}, {other}", details, *numbers[:MAX_NAMED])
