"""The first inputs of fuzzing: right ones, nearly right ones, and absurd ones.

`seeds(target)` are real shapes, made anew each time, so they follow the formats and need no care.
`ABSURD` inputs are larger than those that coverage grows: each reader must finish with them, by a
documented refusal. The kept corpus (`tests/fuzz/corpus/`) is what coverage found beyond the seeds.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from yarl import URL

from ledger import bundle
from ledger.cosign import Cosigner
from ledger.note import Checkpoint, Signer, sign
from ledger.tiles import tiles_of
from meter.api import cursor
from meter.api.routes import Ask
from meter.client import registration
from meter.host.handover import (
    Answer,
    MetricsAsked,
    MetricsTold,
    MetricsWanted,
    Moved,
    Refused,
    Stored,
    batch_message,
    command_message,
    frame,
)
from meter.rules.commands import ConfirmProposal
from meter.values.problems import Problem
from meter.values.strict import Number, decode_request
from meter.wire import dsse
from meter.wire.batch import parse_batch
from tests.books import (
    ALPHA,
    BETA,
    ORIGIN,
    PROGRAMME,
    SHIPPED,
    line,
    public_text,
    purchase,
    runs,
    signer,
    summary,
    uscc_of,
    void,
)
from tests.fuzz import ledgers, targets
from tests.ledger import example
from tests.ledger.exported import LOG, checkpoint_of, entry_of
from tests.papers import papers
from tests.traces import trace as trace_text

HOME = Path(__file__).parent
MAX_WORDS = 400

ABSURD = (
    b"",
    b"\x00",
    b"\xff" * 9,
    b"9" * 200_000,
    b"-" + b"9" * 5_000,
    b"[" * 200_000,
    b"[" * 200_000 + b"]" * 200_000,
    b'{"a":' * 100_000,
    b'{"records":' + b"[" * 100_000,
    b'{"unknown":' + b"[" * 100_000,
    b'{"kind":"usage","at":' + b"9" * 5_000 + b"}",
    b'{"seq":1e999999999}',
    b'"' + b"\\u0041" * 50_000 + b'"',
    b"a." * 14_990 + b"a = 1",
    b"a = " + b"{a = " * 5_900,
    b"/x000" * 50_000,
    "— ".encode() * 50_000,
    b"\n" * 200_000,
    b"a\n\n" * 50_000,
    b"," * 200_000,
)


def seeds(target: str) -> list[bytes]:
    """Return some inputs that the reader of a target accepts, and some that it refuses."""
    made: list[bytes] = [*globals()[f"_{target}"]()]
    return made


def corpus(target: str, home: Path = HOME) -> Path:
    return home / "corpus" / target


def kept(target: str, home: Path = HOME) -> list[Path]:
    return sorted(corpus(target, home).glob("*"))


def words(target: str) -> str:
    """Return the words of the seeds, quoted, one to a line, for libFuzzer to put anywhere."""
    found = {word for seed in seeds(target) for word in re.findall(rb"[\w./:-]{2,32}", seed)}
    return "".join(f'"{word.decode("latin-1")}"\n' for word in sorted(found)[:MAX_WORDS])


def _envelope() -> Iterator[bytes]:
    sealed = dsse.seal(dsse.BATCH_TYPE, b'{"seq":1}', "pcl-1", signer("pcl-1"))
    yield sealed
    yield json.dumps(json.loads(sealed), indent=1).encode()
    yield sealed.replace(b"+json", b"\\u002bjson")
    yield sealed.replace(b'{"payload"', b'{"payload":"","payload"')
    yield sealed.replace(b"}]", b'},{"keyid":"a","sig":""}]')
    yield sealed.replace(b"pcl-1", b"pcl\\u0000")
    yield b"\xef\xbb\xbf" + sealed


def _batch() -> Iterator[bytes]:
    first = ledgers.usage("r1", run="slurm:1", state="RUNNING", final=False)
    yield _payload([first], [void("r2"), void("r3", "节点故障")])
    yield _payload([first | {"start": "2025-02-28T16:00:00Z", "milli_devices": -1}])
    yield _payload(genesis="0" * 64, seq=2**53 - 1)
    yield _payload([first | {"state": "\ud800"}])
    yield _payload([first | {"state": "\x00"}])
    yield _payload([first | {"milli_devices": 1.0}])
    yield _payload(seq=True)
    bought = purchase("p1", "K", "20.00", "2025-03-01")
    yield _payload(purchases=[bought, bought | {"service_from": "2025-03-01"}])
    yield _payload(purchases=[bought | {"amount": 20}])
    told = summary("2025-03-01", line("A", 1, "0.460"))
    yield _payload(summary=told)
    yield _payload(summary=told | {"scheduler": runs(2) | {"total": {"runs": 1, "seconds": 1}}})
    yield _payload().replace(b'"seq"', b'"seq": 1, "seq"')


def _signed() -> Iterator[bytes]:
    usage = ledgers.usage
    yield _payload([usage("n1"), usage("n1"), usage("n1", "B"), usage("r1")])
    yield _payload([usage("n1", hour=40, milli_devices=9_000), usage("n2", "nobody")])
    yield _payload([usage("n1", device="other"), usage("n2", milli_devices=10**9 + 1)])
    yield _payload(voids=[void("r2"), void("r2"), void("r5"), void("unknown")])
    yield _payload([usage("n1") | {"start": "2024-12-31T23:30:00+08:00"}], stream="other", seq=5)
    yield _payload(seq=1)
    yield _payload(log="kashi.test/other")
    yield _payload(provider="other")
    dates = {"service_from": "2024-12-31", "service_until": "2025-01-02"}
    yield _payload(purchases=[purchase("p1", "A", "20.00", "2025-01-01", **dates)])
    yield _payload([usage("n1")], summary=summary("2025-01-01", line("A", 1, "0.460")))
    yield _payload(summary=summary("2025-12-31"))


def _receipt() -> Iterator[bytes]:
    yield from ledgers.story().receipts
    conflict = {"id": "r1", "status": "conflict", "entry": 13, "detail": "other content"}
    rejected = {"id": "r9", "status": "rejected", "code": "unknown_contract", "detail": "none"}
    receipt = json.loads(ledgers.story().receipts[0])
    duplicate = {"id": "r2", "status": "duplicate", "entry": 14}
    yield json.dumps(receipt | {"results": [duplicate, conflict, rejected]}).encode()
    yield json.dumps(receipt | {"results": [{"status": "other"}]}).encode()
    yield json.dumps(receipt | {"seq": "1", "voids": [[]]}).encode()


def _answer() -> Iterator[bytes]:
    yield from _receipt()
    yield b'{"type":"about:blank","status":503,"code":"busy","detail":"try again"}'


def _header() -> Iterator[bytes]:
    yield from (signature.encode() for signature in ledgers.story().signatures)
    yield f'keyid="a", sig=:{"A" * 85}B==:'.encode()
    yield b'keyid="a";sig=:AAAA:'
    yield from (f"Bearer authority-1.{secret}".encode() for secret in ("A" * 43, "A" * 42 + "é"))


def _command() -> Iterator[bytes]:
    for name in targets.COMMANDS:
        yield from (f"{name} {json.dumps(body)}".encode() for body in _BODIES[name])


def _handover() -> Iterator[bytes]:
    for payload in _batch():
        sealed = dsse.Envelope(dsse.BATCH_TYPE, payload, "pcl-1", b"")
        with suppress(Problem):
            yield frame(batch_message(1, 2, parse_batch(sealed, payload)))
    for name, kind in targets.COMMANDS.items():
        for body in _BODIES[name]:
            with suppress(ValueError):
                asked = decode_request(json.dumps(body).encode(), kind, {})
                yield frame(command_message(3, 4, asked, "li-1", None))
    yield frame(command_message(5, 6, ConfirmProposal(proposal=Number(7)), "li-1", "key"))
    yield frame(MetricsWanted(8, 9)) + frame(MetricsTold(b"# HELP"))
    yield frame(Moved(9, 8, 6, ready=True)) + frame(MetricsAsked())
    yield frame(Stored(1, 9, 3, "00", b"{}", "sig"))
    yield frame(Answer(3, 201, b"{}", replayed=False)) + frame(Refused(5, "busy", "wait", {"a": 1}))
    yield b"\xff\xff\xff\xff"


def _canonical() -> Iterator[bytes]:
    yield from ledgers.story().leaves
    yield entry_of(0)
    yield '{"a":[true,false,[],{}],"b":"\\n\\u0000\\"\\\\/é算€😀","c":-9007199254740991}'.encode()
    yield b'{"b":1,"a":1}'
    yield b'{"a":1.0,"b":null}'
    yield b'{"a":-0}'
    yield '{"é":9007199254740992}'.encode()
    yield b'{"a":' + b"[" * 9 + b"]" * 9 + b"}"


def _entry() -> Iterator[bytes]:
    yield from ledgers.story().leaves
    yield b'{"kind":"none"}'


def _postings() -> Iterator[bytes]:
    yield from ledgers.story().leaves
    pool, coupon = "pool:a:2025", "coupon:a:2025:b"
    for postings in (
        [[pool, coupon, 50], [coupon, "accrued:b:2025", 50]],
        [[pool, coupon, 51]],
        [[coupon, pool, 1], [pool, coupon, 1]],
        [[pool, pool, 1], [pool, coupon, 0], [pool, "a::b", 1], [pool, coupon, True], []],
    ):
        yield json.dumps({"postings": postings}, separators=(",", ":")).encode()


def _note() -> Iterator[bytes]:
    text = Checkpoint(LOG.name, 3, bytes(32)).format()
    other = Signer.from_seed("other.example", bytes(32))
    yield sign(text, LOG)
    yield sign(text, other, LOG)
    yield sign(text, other)
    yield sign("any text\n\nof lines\n", LOG)
    yield sign(text, LOG).replace(b"\n3\n", b"\n4\n")
    yield checkpoint_of([entry_of(0)], origin="other.example")


def _checkpoint() -> Iterator[bytes]:
    yield from (Checkpoint(LOG.name, size, bytes(32)).format().encode() for size in (0, 2**63 - 1))
    yield f"算 力\n7\n{b64encode(bytes(32)).decode()}\n".encode()
    yield f"a\n07\n{b64encode(bytes(32)).decode()}\n".encode()
    yield b"a\n7\nAAAA\nextension\n"


def _key() -> Iterator[bytes]:
    for each in (LOG, Signer.from_seed("算力.example/log", bytes(32)), example.WITNESS):
        yield each.verifier.format().encode()
        yield each.format().encode()
    yield b"a+00000000+AQ=="


def _cosigned() -> Iterator[bytes]:
    yield example.COSIGNED
    yield example.SIGNED
    yield example.COSIGNED + example.WITNESS_LINE.encode()
    yield example.SIGNED + example.WITNESS.cosign(example.TEXT, 2**63 - 1).encode()


def _proof() -> Iterator[bytes]:
    yield example.PROOF
    yield example.PROOF.replace(b"index", b"extra YQ==\nindex")
    yield example.PROOF.replace(b"index 1", b"index 01")


def _request() -> Iterator[bytes]:
    tree = example.tree_of(targets.FORK)
    yield example.REQUEST
    yield b"old 0\n\n" + example.COSIGNED
    yield b"old 3\n\n" + example.signed(tree, 3)
    yield b"old 3\n" + example.SIGNED


def _quorum() -> Iterator[bytes]:
    log, witness = example.LOG_VKEY, example.WITNESS_VKEY
    other = Cosigner.from_seed("算力.example/w", bytes(32)).verifier.format()
    head = f"# both\nlog {log} https://log.example/\nwitness a {witness}\n\twitness b {other} u\n"
    yield f"{head}group g 2 a b\ngroup h any g\nquorum h\n".encode()
    yield f"{head}group g all a\nquorum g\n".encode()
    yield f"{head}quorum none\n".encode()
    yield f"{head}group g 3 a b\nquorum c\n".encode()


def _policy() -> Iterator[bytes]:
    yield SHIPPED.encode()
    yield ledgers.policy(uses=["training", "inference"], version="1").encode()
    yield ledgers.policy(starts="2025-01-01", ends="2025-01-02", cap="0.00").encode()
    yield ledgers.policy(ends="2024-12-18").encode()
    yield ledgers.policy().replace('"', "'").encode()


def _entries() -> Iterator[bytes]:
    leaves = ledgers.story().leaves[2:6]
    yield b"\x04" + bundle.encode_bundle(leaves)
    yield b"\x02" + bundle.encode_bundle([b"", b"\x00" * 300])
    yield b"\x05" + bundle.encode_bundle(leaves)
    yield b"\x00"


def _attachments() -> Iterator[bytes]:
    yield bundle.encode_attachments({0: [b"x", b""], 3: [b"y" * 300], 255: [b"z"]})
    yield bundle.encode_attachment(1, [b"x"]) + bundle.encode_attachment(0, [b"x"])


def _tile() -> Iterator[bytes]:
    yield from (tile.path.encode() for tile in tiles_of(70_000) if tile.index % 200 == 73)
    yield b"tile/7/x999/x999/x999/999.p/255"
    yield b"batches/000.p/1"
    yield b"tile/0/x000/001"
    yield b"tile/0/001.p/256"


def _folder() -> Iterator[bytes]:
    for number, data in enumerate(ledgers.tall().values()):
        yield bytes([number])
        yield bytes([number, 0, 0, 255]) + data[:255]
        yield bytes([number, 0, 9, 1, data[9] ^ 1])


def _audit() -> Iterator[bytes]:
    story = ledgers.story()
    yield from (bytes([number, 0]) + leaf for number, leaf in enumerate(story.leaves))
    for choice, files in enumerate(story.files.values()):
        yield from (bytes([choice, part]) + file for part, file in enumerate(files, 1))


def _unit() -> Iterator[bytes]:
    yield from (b"0.00", b"288.00", b"10000000000000.00", b"10000000000000.01")
    yield from (b"4.5", b"99999.9999", b"0.0001", b"0", "４.50".encode())
    yield from (b"2025-03-01T08:00:00+08:00", b"1900-01-01T00:00:00Z", b"2025-02-29T00:00:00Z")
    yield from (b"9899-12-31T23:59:59-23:59", b"2025-W01-1T00:00:00Z", b"2024-02-29", b"2025-02-29")
    yield from (ALPHA.encode(), b"91350100M000100Y43", b"914403007084611360")


def _place() -> Iterator[bytes]:
    ask = Ask(URL(targets.QUESTION), targets.KEYED, None, cursor.PageQuery())
    for place in ((41, "slurm:4211:0"), (-1, ""), ("a", 1), (2**63, "")):
        yield cursor.cursor(ask, place).encode()
        yield json.dumps(place, separators=(",", ":")).encode()


def _form() -> Iterator[bytes]:
    yield b"session=abc&id=P1&title=%E9%80%82%E9%85%8D+x&key="
    yield b"next=%2Fen%2Faccount%3Fx%3D1&other=%2Fzh%2F..%2F%2Fevil.example&more=%2Fen%2F%5Cevil"
    yield from (b"a=1&a=2", b"a=%ff", b"\xff=1", b"a", b"=", b"&&")


def _trace() -> Iterator[bytes]:
    yield trace_text(
        "a,1,1,1,460,V100,LS,Running,0,100,0",
        "b,1,1,0,0,,LS,Running,0,100,0",
        "c,1,1,1,1000,,LS,Pending,0,,",
        "d,1,1,1,1000,,BE,Failed,0,50.0,50",
        '"e",1,1,8,1000,"T4,P100",LS,Running,0,6048005,7',
    ).encode()
    yield trace_text("a,1,1,1,460,V100,LS,Running,0,-1,0").encode()
    yield b"name,num_gpu"


def _payload(records: Any = (), voids: Any = (), **changes: Any) -> bytes:
    batch = {"log": ORIGIN, "provider": "pcl", "stream": "main", "seq": 3}
    return json.dumps(batch | {"voids": [*voids], "records": [*records]} | changes).encode()


# The authority's requests by the name of their command, first those that the story allows.
_AWARD = {
    "id": "V",
    "programme": "adaptation",
    "enterprise": ALPHA,
    "project": "P",
    "year": 2025,
    "base": "60.00",
    "amount": "10.00",
    "document": "评审",
}
_COUPON = {"programme": PROGRAMME, "enterprise": ALPHA, "year": 2025, "amount": "1.00"}
_ENLISTED = {"batch": "2025-3", "from": "2025-01-01", "until": "2026-01-01"}
_BODIES: dict[str, list[dict[str, Any]]] = {
    "ActivatePolicy": [
        {"programme": PROGRAMME, "version": "next", "content": ledgers.policy(version="next")},
        {"programme": PROGRAMME, "version": "none"},
    ],
    "RegisterProvider": [
        {
            "id": "sz",
            "uscc": uscc_of(7),
            "name": "深圳",
            "devices": {"ascend-910b": 8},
            "enlisted": _ENLISTED,
        }
    ],
    "EnlistProvider": [
        {"provider": "pcl", "devices": {"other": 8}, "enlisted": _ENLISTED},
        {
            "provider": "pcl",
            "devices": {"ascend-910b": 1},
            "enlisted": _ENLISTED | {"batch": "2025-2"},
        },
    ],
    "RegisterKey": [
        {"provider": "pcl"} | registration(signer("pcl-3"), ORIGIN, "pcl", "pcl-3"),
    ],
    "RevokeKey": [
        {"keyid": "pcl-1"},
        {"keyid": "pcl-2", "suspected_since": "2025-03-01T08:00:00+08:00"},
    ],
    "AddLogKey": [{"vkey": Signer.from_seed(ORIGIN, bytes(32)).verifier.format()}],
    "RetireLogKey": [{"vkey": Signer.from_seed(ORIGIN, bytes(32)).verifier.format()}],
    "AddReceiptKey": [
        {
            "keyid": "receipt-2",
            "algorithm": "ed25519",
            "public_key": public_text(signer("receipt-2")),
        }
    ],
    "RetireReceiptKey": [{"keyid": "receipt-1"}],
    "RegisterEnterprise": [
        {"uscc": uscc_of(8), "name": "某某", "kind": "university", "founded_on": "2020-02-29"}
    ],
    "RegisterContract": [
        {
            "id": "C",
            "contract_no": "HT-C",
            "programme": PROGRAMME,
            "enterprise": BETA,
            "provider": "pcl",
            "amount": "500.00",
            "signed_on": "2025-01-15",
            "from": "2025-02-01",
            "until": "2026-02-01",
            "use": "training",
            "prices": {"ascend-910b": "4.50", "other": "0.0001"},
            "max_devices": {"other": 8},
            "related_party": False,
            "project": "P",
            "follows": "A",
        }
    ],
    "SucceedEnterprise": [
        {"uscc": BETA, "successor": ALPHA, "effective": "2025-01-01", "document": "公告"}
    ],
    "FundContract": [
        {
            "contract": "A",
            "reference": "1号",
            "level": "district",
            "amount": amount,
            "document": "通知",
        }
        for amount in ("0.00", "499.99")
    ],
    "AmendContract": [
        {"contract": "A", "mode": "correction", "document": "x", "reason": "a reason"} | changes
        for changes in (
            {"amount": "1200.00", "from": "2024-12-02", "until": "2026-12-01"},
            {"signed_on": "2024-12-02", "use": "training", "related_party": True},
            {"enterprise": BETA, "prices": {"ascend-910b": "4.00"}, "max_devices": {"other": 8}},
            {"mode": "supplement", "effective": "2025-02-01", "signed_on": "2025-01-01"},
        )
    ],
    "AmendEnterprise": [
        {"uscc": ALPHA, "document": "x", "reason": "a reason"} | changes
        for changes in ({"name": "甲"}, {"kind": "university", "founded_on": "2019-01-01"})
    ],
    "AmendProvider": [{"provider": "pcl", "name": "甲", "document": "x", "reason": "a reason"}],
    "OpenLateWindow": [
        {"contract": "A", "from": "2025-01-01", "until": day, "open_until": "2026-01-01"}
        | {"reason": "a reason"}
        for day in ("2025-01-08", "2025-01-01")
    ],
    "FreezeContract": [{"contract": "A"}, {"contract": "none"}],
    "UnfreezeContract": [{"contract": "A"}],
    "SetBudget": [
        {"programme": PROGRAMME, "year": 2025, "amount": amount, "document": "12号"}
        for amount in ("400.00", "399.99")
    ],
    "RegisterProject": [
        {"id": "Q", "title": "项目"},
        {"id": "Q", "title": "项目", "audited_investment": "1.00"},
    ],
    "AuditProject": [{"project": "P", "amount": "7.00", "document": "报告"}],
    "FundProject": [
        {"project": "P", "reference": name, "level": level, "amount": "1.00", "document": "x"}
        for name, level in (("1号", "district"), ("2号", "national"))
    ],
    "MakeAward": [_AWARD, _AWARD | {"amount": "25.01"}, _AWARD | {"class": "standard"}],
    "ChangeAward": [
        {"award": "W", "amount": amount, "reason": "a reason"} for amount in ("0.00", "16.00")
    ],
    "IssueCoupon": [_COUPON, _COUPON | {"enterprise": BETA, "reason": "a reason"}],
    "WithdrawCoupon": [_COUPON, _COUPON | {"amount": "400.00"}],
    "AllocatePool": [
        {"programme": "divided", "year": year, "requests": [[ALPHA, "0.01"], [BETA, "0.50"]]}
        for year in (2025, 2026)
    ],
    "ExpireCoupons": [
        {"programme": "brief", "year": 2024},
        {"programme": PROGRAMME, "year": 2025},
    ],
    "CloseYear": [{"programme": "brief", "year": 2024}, {"programme": PROGRAMME, "year": 2025}],
    "CloseMonth": [
        {"month": "2025-03", "waiver": {"person": "op", "reason": "seen"}},
        {"month": "2025-01"},
    ],
    "ConfirmMonth": [
        {"month": "2025-01", "enterprise": BETA},
        {"month": "2025-02", "enterprise": ALPHA},
    ],
    "DisputeRecord": [{"contract": "A", "provider": "pcl", "id": "r2", "reason": "never ran"}],
    "DismissDispute": [{"provider": "pcl", "id": "r2", "reason": "it ran"}],
    "ReleaseRecord": [
        {"provider": "pcl", "id": "r2", "reason": "looked at"},
        {"provider": "pcl", "id": "r5", "reason": "again"},
    ],
    "EnterClaim": [
        {"id": "C4", "item": "A", "year": 2025} | papers("4" * 20, "P-4", "2025-03-01"),
        {"id": "C3", "item": "A", "year": 2025},
        {"id": "C5", "item": "B", "year": 2026, "amount": "0.00"},
    ],
    "CheckClaim": [{"claim": "C3"}, {"claim": "none"}],
    "EndClaim": [{"claim": "C3", "outcome": "withdrawn"}],
    "ApproveClaim": [{"claim": "C3", "amount": "1.00", "disallowed": [["3" * 20, "0.01"]]}],
    "NoticeClaim": [
        {"claim": "C3", "from": "2025-03-10", "until": "2025-03-20", "url": "https://a.test/"}
    ],
    "EnterObjection": [{"claim": "C3", "sha256": "0f" * 32}],
    "ResolveObjection": [{"claim": "C3", "objection": "1", "outcome": "upheld", "reason": "so"}],
    "RevokeClaim": [{"claim": "C3", "reason": "a mistake"}],
    "OrderClaim": [{"claim": "C3"}],
    "PayClaim": [{"claim": "C3", "bank_reference": "b-1", "paid_on": "2025-03-01"}],
    "ReturnPayment": [{"claim": "C3", "returned_on": "2025-03-01", "reason": "closed"}],
    "RecoverDebt": [
        {"item": "A", "year": 2025, "amount": "0.01", "bank_reference": "b-2"},
        {"item": "A", "year": 2025, "amount": "0.01", "claim": "C3"},
    ],
    "EnterRedInvoice": [
        {
            "number": "3" * 20,
            "red_number": "5" * 20,
            "confirmation": "red-2",
            "year": 2025,
            "amount": "0.01",
            "refunded": "0.01",
            "issued_on": "2025-03-01",
        }
    ],
    "ForfeitGrant": [{"item": "A", "year": 2025, "amount": "2.00", "reason": "a breach"}],
    "RegisterPerson": [{"id": "chen"}, {"id": "op"}, {"id": "li"}],
    "EndPerson": [{"id": "op"}, {"id": "zhao", "reason": "has left"}],
    "MakeToken": [{"id": "op-2", "holder": "op"}, {"id": "li-1", "holder": "op"}],
    "EndToken": [{"token": "op-1"}, {"token": "zhao-1"}, {"token": "none"}],
    "RecoverPerson": [{"id": "chen", "token": "op-1"}],
    "DigestAccesses": [
        {"day": "2025-01-16", "rows": 1, "sha256": "0e" * 32},
        {"day": "2025-01-15", "rows": 2, "sha256": "0d" * 32},
        {"day": "2030-01-01", "rows": 1, "sha256": "0e" * 32},
    ],
    "DigestState": [{}],
    "Propose": [
        {"command": "issue", "body": _COUPON},
        {"command": "release", "body": {"provider": "pcl", "id": "r2", "reason": "looked at"}},
        {"command": "policy", "body": {"programme": PROGRAMME, "version": "x", "content": "a\nb"}},
    ],
    "EndProposal": [{"proposal": "1"}, {"proposal": "0"}],
    "VoidRecord": [{"provider": "pcl", "id": id_, "reason": "found"} for id_ in ("r2", "r5", "r1")],
}
