"""Promises of each reader of hostile bytes, whatever the bytes.

A target takes any bytes and returns whether the reader accepted them. It raises, as a finding,
where the reader raises an undocumented exception, where a second reading (`tests/fuzz/reading.py`)
sees another value, or where a value is not written back as it was read. Nothing here is random: an
input has the same result each time.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct
from yarl import URL

from ledger import bundle, canon
from ledger.book import Book
from ledger.cosign import CosignatureVerifier, Cosigner, add_cosignatures, open_cosigned
from ledger.errors import (
    BadBundle,
    BadFolder,
    BadKey,
    BadNote,
    BadPolicy,
    BadPosting,
    BadProof,
    CannotCheck,
    FloorBroken,
    NotCanonical,
    NotWitnessed,
)
from ledger.note import Checkpoint, Signer, Verifier, open_checkpoint, open_note, sign
from ledger.proof import Proof, check
from ledger.quorum import TrustPolicy, open_trusted
from ledger.tiles import CHECKPOINT, has_tile, parse_tile_path
from ledger.verify import verify
from ledger.witnessing import Accepted, AddCheckpoint, Witnessed, judge
from meter import client
from meter.api import cursor
from meter.api.routes import Ask
from meter.auditor.replay import Audit
from meter.auditor.sum_rules import read_rules
from meter.demo import trace as traces
from meter.host import sign_in
from meter.host.handover import (
    Answer,
    BadMessage,
    BatchMessage,
    CommandMessage,
    Frames,
    FromFront,
    FromLeader,
    Refused,
    Stored,
    batch_message,
    command_message,
    frame,
    outcome_message,
    outcome_of,
    signed_batch,
)
from meter.host.handover import command_of as command_of_message
from meter.host.tokens import parse_header
from meter.http import forms
from meter.rules.commands import ActivatePolicy, Propose, fields_of
from meter.rules.entries import FLOORED_CLASSES
from meter.rules.kinds.table import BY_COMMAND, BY_ENTRY, command_of, read_entry
from meter.rules.two_persons import proposed_command
from meter.values import units, uscc
from meter.values.policy import USES, Policy
from meter.values.problems import CODES, Problem
from meter.values.strict import convert_query, decode_request
from meter.wire import dsse
from meter.wire.batch import parse_batch
from meter.wire.dsse import BATCH_TYPE, Envelope
from meter.wire.receipt import encode_receipt, parse_receipt
from tests.books import signer
from tests.fuzz import ledgers, reading
from tests.ledger import example
from tests.ledger.exported import LOG, Hashes
from tests.writer import Writer

Target = Callable[[bytes], bool]

# The place in a list, as a client sends it back.
QUESTION = "/v1/contracts/A/records"
KEYED = SimpleNamespace(cursor_key=bytes(32))  # all that a cursor needs of a service
START_OF_LIST = (0, "")
# Signed by the log of the example too, though it excludes the other.
FORK = [*example.ENTRIES[:2], b"another"]
# The first word of an input names one.
COMMANDS = {kind.__name__: kind for kind in BY_COMMAND}


def envelope(data: bytes) -> bool:
    """Every input is refused, or is an envelope of one signature and one meaning."""
    found = attempt(lambda: dsse.parse(data, BATCH_TYPE), "bad_envelope")
    if found is None:
        return False
    assert reading.strict_json(data) == {
        "payloadType": BATCH_TYPE,
        "payload": b64encode(found.payload).decode(),
        "signatures": [{"keyid": found.keyid, "sig": b64encode(found.signature).decode()}],
    }
    return True


def batch(data: bytes) -> bool:
    """A payload is refused, or read as the plain JSON that it is."""
    unproved = Envelope(BATCH_TYPE, data, "pcl-1", b"")
    found = attempt(lambda: parse_batch(unproved, b"").batch, "bad_batch", "too_large")
    if found is None:
        return False
    kinds = ("voids", "records", "purchases")
    again = {kind: [] for kind in kinds} | reading.strict_json(data)
    for record in again["records"]:
        record |= {name: reading.instant(record[name]) for name in ("start", "end")}
    for bought in again["purchases"]:
        bought["amount"] = int(bought["amount"].replace(".", ""))
    for told in again.get("summary", {"usage": []})["usage"]:
        told["device_seconds"] = int(told["device_seconds"].replace(".", ""))
    plain = {name: [_given(each) for each in getattr(found, name)] for name in kinds}
    if found.summary is not UNSET:
        plain["summary"] = _deep(found.summary)
    # As texts: to Python 1, 1.0 and True are equal.
    assert _sorted_json(_given(found) | plain) == _sorted_json(again)
    return True


def signed(data: bytes) -> bool:
    """A payload signed by a registered key is refused, or decided so that the audit agrees."""
    sent = dsse.seal(BATCH_TYPE, data, "pcl-1", signer("pcl-1"))
    return _goes_on(
        lambda writer: writer.send(sent),
        *("bad_batch", "too_large", "wrong_log", "wrong_genesis", "seq_conflict"),
        *("provider_mismatch", "looks_alike"),
    )


def receipt(data: bytes) -> bool:
    """A receipt of any origin is the same after it was read, written and read again."""
    found = attempt(lambda: parse_receipt(data), ValueError)
    if found is not None:
        assert parse_receipt(encode_receipt(found)) == found
    return found is not None


def answer(data: bytes) -> bool:
    """A client takes any response as a refusal, as a receipt for its batch, or as neither."""
    no = client._Response(503, {}, data)
    assert attempt(lambda: client._check_accepted(no), client.Refused) is None
    attempt(lambda: client._object(no), client.ClientError)
    sent = min(ledgers.story().files.items())[1][0]
    return attempt(lambda: client._receipt_for(sent, data), client.BadReceipt) is not None


def header(data: bytes) -> bool:
    """The headers `Kashi-Signature` and `Authorization` have one spelling."""
    # HTTP headers hold stray bytes as surrogates.
    text = data.decode("utf-8", "surrogateescape")
    found = attempt(lambda: dsse.parse_signature_header(text), ValueError)
    if found is not None:
        parts = (f'keyid="{keyid}", sig=:{b64encode(each).decode()}:' for keyid, each in found)
        assert text == ", ".join(parts)
    token = attempt(lambda: parse_header(text), "unauthorized")
    if token is not None:
        secret = text.removeprefix(f"Bearer {token[0]}.")
        assert token[1] == sha256(secret.encode()).digest()
    return found is not None or token is not None


def command(data: bytes) -> bool:
    """A request of the authority is refused, or decided so that the audit agrees."""
    name, _, body = data.partition(b" ")
    kind = COMMANDS.get(name.decode("latin-1"))
    found = attempt(lambda: decode_request(body, kind, {}), ValueError) if kind else None
    if found is None:
        return False
    if kind is Propose and attempt(lambda: proposed_command(found), *CODES) is None:
        return False  # the service refuses it before it is decided
    reading.strict_json(body, may_hold="\n" if kind in (ActivatePolicy, Propose) else "")
    if kind is ActivatePolicy and found.content is UNSET:
        return False  # the service fills in a file of its own
    return _goes_on(lambda writer: writer.do(found), *CODES)


def handover(data: bytes) -> bool:
    """Bytes between front and leader are refused, or messages that are written as they are read."""
    read = [_said(side, data) for side in (FromFront, FromLeader)]
    return any(read)


def _said(side: Any, data: bytes) -> bool:
    found = attempt(lambda: Frames(side).feed(data), BadMessage) or []
    return [each for each in found if _is_meant(side, each)] != []


def _is_meant(side: Any, message: Any) -> bool:
    """Return whether a message holds what can be handed over; then it is written back the same."""
    written = frame(message)
    (again,) = Frames(side).feed(written)
    assert frame(again) == written
    match message:
        case BatchMessage(number, deadline):
            signed = attempt(lambda: signed_batch(message), BadMessage)
            assert signed is None or frame(batch_message(number, deadline, signed)) == written
            return signed is not None
        case CommandMessage(number, deadline, by=by, request=request):
            found = attempt(lambda: command_of_message(message), BadMessage)
            if found is None:
                return False
            told = command_message(number, deadline, found, by, request)
            assert command_of_message(told) == found
        case Stored() | Answer() | Refused():
            outcome = attempt(lambda: outcome_of(message), BadMessage)
            if outcome is None:
                return False
            told = outcome_message(message.number, outcome)
            assert frame(outcome_message(message.number, outcome_of(told))) == frame(told)
    return True


def canonical(data: bytes) -> bool:
    """The bytes of an entry are those of RFC 8785, and no others are accepted."""
    found = attempt(lambda: canon.decode(data), NotCanonical)
    assert found == attempt(lambda: reading.canonical(data), ValueError)
    if found is not None:
        assert canon.encode(found) == data
    return found is not None


def entry(data: bytes) -> bool:
    """An entry of a known kind is written back as it was read, and so is its command."""
    fields = attempt(lambda: _respelled(data), NotCanonical, ValueError, RecursionError)
    found = attempt(lambda: read_entry(fields), ValueError) if fields else None
    if found is None:
        return False
    assert canon.encode(found) == canon.encode({"v": 1} | fields)
    if BY_ENTRY[type(found)].command is not None:
        told = attempt(lambda: command_of(found), ValueError)
        same = told is None or fields_of(told).items() <= _all(found).items()
        assert same
    return True


def postings(data: bytes) -> bool:
    """A book takes an entry's postings whole or not at all; its sum stays zero, its floors hold."""
    given = attempt(lambda: canon.decode(data), NotCanonical)
    items = given.get("postings") if given else None
    if not isinstance(items, list):
        return False
    before = {"treasury:a:2025": -50, "pool:a:2025": 50}
    book = Book(FLOORED_CLASSES, before)
    took = attempt(lambda: (book.post(items), True), BadPosting, FloorBroken) is not None
    assert took or book.balances == before
    assert sum(book.balances.values()) == 0
    floored = (fen for name, fen in book.balances.items() if name.split(":")[0] in FLOORED_CLASSES)
    assert min(floored) >= 0
    return took


def note(data: bytes) -> bool:
    """A note that opens holds the signed text; the same text signed anew opens too."""
    found = attempt(lambda: open_note(data, [LOG.verifier]), BadNote)
    if found is not None:
        assert data.startswith(f"{found.text}\n— ".encode())
        assert all(LOG.verifier.has_signed(found.text, each.signature) for each in found.signatures)
    attempt(lambda: open_checkpoint(data, LOG.verifier), BadNote)
    text = data.decode("utf-8", "surrogateescape")
    anew = attempt(lambda: sign(text, LOG), BadNote)
    if anew is not None:
        assert open_note(anew, [LOG.verifier]).text == text
    return found is not None


def checkpoint(data: bytes) -> bool:
    """A checkpoint's text has one spelling."""
    text = data.decode("utf-8", "surrogateescape")
    found = attempt(lambda: Checkpoint.parse(text), BadNote)
    if found is not None:
        assert found.format() == text
        # A key's name holds less than an origin may.
        attempt(lambda: open_checkpoint(sign(text, LOG), LOG.verifier), BadNote)
    return found is not None


def key(data: bytes) -> bool:
    """The texts of keys have one spelling, and a private key is never repeated."""
    text = data.decode("utf-8", "surrogateescape")
    kinds = (Verifier, Signer, CosignatureVerifier, Cosigner)
    read = (attempt(lambda kind=kind: kind.parse(text), BadKey) for kind in kinds)
    found = [key for key in read if key is not None]
    assert [key.format() for key in found] in ([], [text])
    return bool(found)


def cosigned(data: bytes) -> bool:
    """A note opens with the times of exactly those lines that the cosigner would write."""
    verifiers = (example.LOG.verifier, [example.WITNESS.verifier])
    found = attempt(lambda: open_cosigned(data, *verifiers), BadNote)
    added = attempt(lambda: add_cosignatures(data, [example.WITNESS_LINE]), BadNote)
    if found is None:
        return False
    text = found.checkpoint.format()
    lines = [example.WITNESS.cosign(text, time) for time in found.times.values()]
    assert data.startswith(f"{text}\n".encode())
    assert all(line.encode() in data for line in lines)
    assert added == data if lines else added is None or added.startswith(data)
    return True


def proof(data: bytes) -> bool:
    """A proof file has one spelling, and proves only true things."""
    found = attempt(lambda: Proof.parse(data), BadProof, BadNote)
    if found is None:
        return False
    assert found.format() == data
    for entry_data in (*example.ENTRIES, b"another"):
        checking = (found, entry_data, example.LOG.verifier, [example.WITNESS.verifier])
        proved = attempt(lambda checking=checking: check(*checking), BadProof, BadNote)
        assert proved is None or example.ENTRIES[found.index] == entry_data
    return True


def request(data: bytes) -> bool:
    """A request to a witness has one spelling; an accepted one shows real growth of the log."""
    found = attempt(lambda: AddCheckpoint.parse(data), BadProof, BadNote)
    if found is None:
        return False
    assert found.format() == data
    trees = [example.tree_of(example.ENTRIES), example.tree_of(FORK)]
    for size in range(len(FORK) + 1):
        known = Witnessed(size, trees[0].root(size))
        keys = [example.LOG.verifier] if found.origin == example.LOG.name else []
        answer = judge(found, known, keys)
        if isinstance(answer, Accepted):
            new = answer.checkpoint
            assert new.size >= size == found.old
            assert known.root in {t.root(size) for t in trees if t.root(new.size) == new.root}
    return True


def quorum(data: bytes) -> bool:
    """A trust policy is written back with the same meaning, and judges any note."""
    text = data.decode("utf-8", "surrogateescape")
    found = attempt(lambda: TrustPolicy.parse(text), BadPolicy)
    if found is None:
        return False
    assert TrustPolicy.parse(found.format()) == found
    attempt(lambda: open_trusted(example.COSIGNED, found), BadNote, NotWitnessed)
    return True


def policy(data: bytes) -> bool:
    """A policy file is refused, or a second reading by the independent sums has its figures."""
    text = data.decode("utf-8", "surrogateescape")
    found = attempt(lambda: Policy.parse(text), "bad_policy")
    if found is None:
        return False
    rules = read_rules(text)
    assert (found.cap, found.pool, found.threshold) == (rules.cap, rules.pool, rules.threshold)
    assert (found.meter, found.pool_owner) == (rules.meter, rules.owner)
    assert found.applicants == set(rules.applicants)
    assert found.ratio_bp == {name: 10_000 * ratio for name, ratio in rules.ratio.items()}
    combined = rules.combined or {}
    assert found.combined_bp == {name: 10_000 * ratio for name, ratio in combined.items()}
    assert found.eligible_uses == (USES if rules.uses is None else set(rules.uses))
    assert found.startup_months == rules.startup_months
    assert list(found.years) == list(rules.years)
    return True


def entries(data: bytes) -> bool:
    """A bundle of entries, as many as its first byte says, has one meaning."""
    count = data[0] if data else 0
    found = attempt(lambda: bundle.decode_bundle(data[1:], count), BadBundle)
    if found is not None:
        assert len(found) == count
        assert bundle.encode_bundle(found) == data[1:]
    return found is not None


def attachments(data: bytes) -> bool:
    """A bundle of attachments has one meaning."""
    found = attempt(lambda: bundle.decode_attachments(data), BadBundle)
    if found is not None:
        assert bundle.encode_attachments(found) == data
    return found is not None


def tile(data: bytes) -> bool:
    """A path names one tile or none; the smallest log with the tile is known."""
    text = data.decode("utf-8", "surrogateescape")
    found = attempt(lambda: parse_tile_path(text), BadFolder)
    if found is not None:
        assert found.path == text
        size = (found.index * 256 + found.width) * found.span
        assert has_tile(size, found)
        assert not has_tile(size - 1, found)
    return found is not None


def folder(data: bytes) -> bool:
    """A folder with any change in one of its files gets the verdict that it is wrong.

    Bytes 0 to 3: which file, from which byte on, how many are replaced; the others stand there.
    """
    path, changed = _changed_file(data)
    report = _verdict(ledgers.tall() | {path: changed}, LOG.verifier, Hashes())
    if report is None:
        return False
    honest = ledgers.tall()[path]
    assert report.ok or changed != honest
    # Beside the signature of a checkpoint, there may be lines of unknown keys.
    text = honest[: honest.index(b"\n\n")] if path == CHECKPOINT else honest
    assert changed.startswith(text) or not report.ok
    return report.ok


def audit(data: bytes) -> bool:
    """An entry or a file beside it that says anything, hashed and signed, gets a verdict.

    Byte 0 chooses an entry; byte 1 chooses its bytes (0) or a file beside it. Then the entry holds
    the right hash of that file.
    """
    leaves, files = _lie(data)
    signed_by = ledgers.story().signer
    report = _verdict(ledgers.layout(leaves, files, signed_by), signed_by.verifier, Audit())
    assert report is not None
    assert report.ok or leaves != ledgers.story().leaves or files != ledgers.story().files
    return report.ok


def unit(data: bytes) -> bool:
    """Money, prices, instants, dates and company codes: one spelling each, and the right value."""
    text = data.decode("utf-8", "surrogateescape")
    money = attempt(lambda: units.parse_money(text), ValueError)
    if money is not None:
        assert (units.format_money(money), money) == (text, reading.times(text, 100))
    price = attempt(lambda: units.parse_price(text), ValueError)
    if price is not None:
        assert price == units.parse_price(units.format_price(price)) == reading.times(text, 10_000)
    instant = attempt(lambda: units.parse_instant(text), ValueError)
    if instant is not None:
        assert instant == reading.instant(text) == reading.instant(units.format_instant(instant))
    date = attempt(lambda: units.parse_date(text), ValueError)
    if date is not None:
        assert (units.format_date(date), date) == (text, reading.midnight(text))
    code = uscc.is_valid(text)
    assert not code or reading.has_check_character(text)
    return code or any(value is not None for value in (money, price, instant, date))


def place(data: bytes) -> bool:
    """An `after` of a client is accepted only if it was given out, in that spelling."""
    given = _follow(data.decode("latin-1"))
    ask = Ask(URL(QUESTION), KEYED, None, cursor.PageQuery())
    forged = cursor._tag(ask, data) + data  # as if the key had come out
    forged_text = urlsafe_b64encode(forged).rstrip(b"=").decode()
    found = _follow(forged_text)
    assert found is None or cursor.cursor(ask, found) == forged_text
    return given is not None or found is not None


def form(data: bytes) -> bool:
    """A form is read as its fields, each once; a page that may come next is one of ours."""
    found = attempt(lambda: forms.parse_form(data), "malformed")
    if found is None:
        return False
    assert dict(URL.build(path="/", query=found).query) == found
    for text in found.values():
        if sign_in.local_page(text) is not None:
            led = URL("https://own.example/zh/sign-in").join(URL(text))
            assert (led.scheme, led.raw_host, led.port) == ("https", "own.example", 443)
            assert led.raw_path.startswith("/")
    return bool(found)


def trace(data: bytes) -> bool:
    """A trace of a cluster is refused with its line, or counted by its plain columns."""
    text = data.decode("utf-8", "replace")
    found = attempt(lambda: traces.parse(text), traces.TraceError)
    if found is None:
        return False
    totals = traces.Totals.of(text)
    times = (task.milli_devices * (task.end - task.start) for task in found.tasks)
    assert (len(found.tasks), sum(times)) == (totals.tasks, totals.device_time)
    assert {name: count for name, count in found.skipped.items() if count} == totals.skipped
    return True


TARGETS: MappingProxyType[str, Target] = MappingProxyType(
    {
        target.__name__: target
        for target in (
            *(
                envelope,
                batch,
                signed,
                receipt,
                answer,
                header,
                command,
                handover,
                canonical,
                entry,
            ),
            *(postings, note, checkpoint, key, policy, entries, attachments, tile, folder),
            *(audit, unit, place, trace, cosigned, proof, request, quorum, form),
        )
    }
)


def attempt(read: Callable[[], Any], *refusals: type[Exception] | str) -> Any:
    """Return what `read` returns, or None for a documented refusal (exception or code)."""
    try:
        return read()
    except Problem as problem:
        if problem.code not in refusals:
            raise
    except tuple(kind for kind in refusals if not isinstance(kind, str)):
        pass
    return None


def _goes_on(do: Callable[[Writer], object], *codes: str) -> bool:
    """Let the writer of the story do one thing more; returns whether it was accepted."""

    def write_and_audit() -> bool:
        ledgers.goes_on(do)
        return True

    return bool(attempt(write_and_audit, *codes))


def _given(struct: Struct) -> dict[str, Any]:
    """Return the fields that were given, by name."""
    return {name: value for name, value in _all(struct).items() if value is not UNSET}


def _all(struct: Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _deep(value: Any) -> Any:
    """Return a struct of structs as plain values."""
    if isinstance(value, list):
        return [_deep(each) for each in value]
    if isinstance(value, Struct):
        return {name: _deep(each) for name, each in _given(value).items()}
    return value


def _sorted_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _respelled(data: bytes) -> dict[str, Any]:
    """Return the fields of JSON in any spelling, as a ledger holds them."""
    return canon.decode(canon.encode(msgspec.json.decode(data, type=dict[str, Any])))


def _changed_file(data: bytes) -> tuple[str, bytes]:
    paths = list(ledgers.tall())
    path = paths[data[0] % len(paths)] if data else paths[0]
    honest = ledgers.tall()[path]
    start = int.from_bytes(data[1:3]) % (len(honest) + 1)
    end = start + int.from_bytes(data[3:4])
    return path, honest[:start] + data[4:] + honest[end:]


def _lie(data: bytes) -> tuple[list[bytes], dict[int, list[bytes]]]:
    """Return the leaves and files of the story, with a lie in one of them."""
    story, told = ledgers.story(), data[2 : 2 + canon.MAX_ENTRY_BYTES]
    leaves, files = list(story.leaves), dict(story.files)
    choice, part = data[0] if data else 0, data[1] % 4 if len(data) > 1 else 0
    if part == 0:
        leaves[choice % len(leaves)] = told
        return leaves, files
    number = sorted(files)[choice % len(files)]
    files[number] = [*files[number][: part - 1], told, *files[number][part:]]
    name = ("envelope", "receipt", None)[part - 1]
    if name is not None:
        fields = canon.decode(leaves[number])
        leaves[number] = canon.encode(fields | {name: sha256(told).hexdigest()})
    return leaves, files


def _verdict(files: dict[str, bytes], verifier: Verifier, replay: Any) -> Any:
    """Return the report on a folder of these files, or None where no verdict is possible."""
    scratch = _scratch(frozenset(files))
    scratch.hold(files)
    report = attempt(lambda: verify(scratch.path, verifier, replay), CannotCheck)
    assert report is None or all(problem.detail.isprintable() for problem in report.findings)
    return report


@cache
def _scratch(_paths: frozenset[str]) -> ledgers.Scratch:
    """Return a folder for files of these paths."""
    return ledgers.Scratch()


def _follow(text: str) -> Any:
    """Return the place to which `after` leads."""
    url = URL(f"{QUESTION}?after={quote(text)}", encoded=True)
    query = attempt(lambda: convert_query(dict(url.query), cursor.PageQuery), ValueError)
    # A cursor reads only path and query of a request; a URL has both.
    ask = Ask(url, KEYED, None, query)
    return query and attempt(lambda: cursor.place(ask, START_OF_LIST), "malformed")
