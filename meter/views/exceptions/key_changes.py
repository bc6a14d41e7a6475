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
            case entries.KeyRegistered(provider=owner, keyid=key):
                details = f"key {key} was registered", f"登记密钥 {key}"
            case entries.KeyRevoked(keyid=key):
                owner = self.state.keys[key].registered.provider
                details = f"key {key} was revoked", f"吊销密钥 {key}"
            case entries.LogKeyAdded(vkey=key):
                owner, details = "service", (f"log key {key} was added", f"启用日志密钥 {key}")
            case entries.LogKeyRetired(vkey=key):
                owner, details = "service", (f"log key {key} was retired", f"停用日志密钥 {key}")
            case entries.ReceiptKeyAdded(keyid=key):
                owner, details = "service", (f"receipt key {key} was added", f"启用回执密钥 {key}")
            case entries.ReceiptKeyRetired(keyid=key):
                owner = "service"
                details = f"receipt key {key} was retired", f"停用回执密钥 {key}"
            case _:  # it names no key
                return None
        return self.told(owner, details, number)
