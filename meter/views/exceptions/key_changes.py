"""Keys of providers and of the service that came or went."""

from meter.rules import entries
from meter.rules.entries import AnyEntry
from meter.views.exceptions.rule import AuditException, EntryRule


class KeyChanges(EntryRule):
    """A key that was registered, revoked, added or retired."""

    name = "key_change"
    meaning = "a key came or went"
    meaning_zh = "密钥启用或停用"
    source = "judgement: whoever has a key speaks for its owner"
    source_zh = "本项目判断：持有密钥者即可代其发言"

    def judge(self, number: int, entry: AnyEntry) -> AuditException | None:
        match entry:
            case entries.KeyRegistered():
                return self.told(entry.provider, f"key {entry.keyid} was registered", number)
            case entries.KeyRevoked():
                owner = self.state.keys[entry.keyid].registered.provider
                return self.told(owner, f"key {entry.keyid} was revoked", number)
            case entries.LogKeyAdded() | entries.LogKeyRetired():
                return self.told("service", f"{entry.kind} {entry.vkey}", number)
            case entries.ReceiptKeyAdded() | entries.ReceiptKeyRetired():
                return self.told("service", f"{entry.kind} {entry.keyid}", number)
            case _:  # it names no key
                return None
