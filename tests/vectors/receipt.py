"""Receipts: the signed answers of a service to batches."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from tests.vectors import batch, envelope
from tests.vectors.plain import (
    LEAVES,
    NEW_RECEIPTS,
    PROVIDER,
    RECEIPTS,
    STRANGER,
    Key,
    base64,
    loose,
    pae,
    respelled,
    root,
)
from tests.vectors.vector import Format, Vector, bad, changed, flipped, good

PAYLOAD = batch.batch(
    *(batch.RECORD | {"id": f"slurm:4211:{number}"} for number in range(4)), voids=(batch.VOID,)
)
ACCEPTED = {
    "status": "accepted",
    "entry": 42,
    "cost": "288.00",
    "entitled": "144.00",
    "granted": "144.00",
    "uncovered": "0.00",
    "withheld": "0.00",
    "ineligible": "0.00",
    "reasons": {},
    "by_year": {"2025": "144.00"},
    "bound": [],
}
TAKEN_BACK = ACCEPTED | {
    "entry": 41,
    "cost": "-288.00",
    "entitled": "-144.00",
    "granted": "-144.00",
    "by_year": {"2025": "-144.00"},
    "bound": ["coupon"],
}
RESULTS = [
    {"id": "slurm:4211:0"} | ACCEPTED,
    {"id": "slurm:4211:1", "status": "duplicate", "entry": 7},
    {"id": "slurm:4211:2", "status": "conflict", "entry": 8, "detail": "milli_devices differs"},
    {
        "id": "slurm:4211:3",
        "status": "rejected",
        "code": "unknown_contract",
        "detail": "no contract TC-2025-0001",
    },
]
RECEIPT = {
    "batch": sha256(PAYLOAD).hexdigest(),
    **batch.HEAD,
    "before": {"size": 3, "root": base64(root(LEAVES))},
    "entries": {"first": 40, "count": 3},
    "voids": [{"id": "slurm:4100:3"} | TAKEN_BACK],
    "results": RESULTS,
}
SUMMED = batch.batch(summary=batch.SUMMARY)
FIGURES = {"status": "agreed", "entry": 41, "usage": batch.SUMMARY["usage"]}
OLD, NEW = "receipt-1", "receipt-2"


def vectors() -> Format:
    return Format(
        "receipt",
        "The body of an answer to a batch. `payload` (base64) is the batch that was posted,"
        " `header` the answer's `Kashi-Signature`, and `key` (base64) the service's public key that"
        " the provider knows. First the header must hold a signature of that key over the PAE of"
        " `application/vnd.kashi.receipt+json` and the body; then the body must be a receipt of"
        " this batch, with a result for each void and record, in their order. A good one has"
        " `receipt`, its fields, and `signers`, the ids in the header.",
        {"payload": base64(PAYLOAD), "key": base64(RECEIPTS.public)},
        [*_good(), *_bad_signatures(), *_other_batches(), *_bad_receipts()],
    )


def header(body: bytes, keyid: str = OLD, key: Key = RECEIPTS) -> str:
    return _part(key.sign(pae(envelope.RECEIPT_TYPE, body)), keyid)


def _part(signature: bytes, keyid: str = OLD) -> str:
    return f'keyid="{keyid}", sig=:{base64(signature)}:'


def _good() -> list[Vector]:
    empty = batch.batch(seq=18)
    nothing = RECEIPT | {
        "batch": sha256(empty).hexdigest(),
        "seq": 18,
        "entries": {"first": 43, "count": 1},
        "voids": [],
        "results": [],
    }
    differs = FIGURES | {"status": "differs", "usage": [], "replaces": 38}
    early = {"status": "rejected", "code": "in_future", "detail": "2025-02-28 is not over"}
    both = f"{header(_body())}, {header(_body(), NEW, NEW_RECEIPTS)}"
    return [
        _receipt("every kind of result", RECEIPT),
        _receipt("an empty batch", nothing, payload=base64(empty)),
        *(
            _receipt(name, _summed(answer), payload=base64(SUMMED))
            for name, answer in (
                ("a summary that is agreed", FIGURES),
                ("a summary that differs, and replaces another", differs),
                ("a summary of a day that is not over", early),
            )
        ),
        _receipt("with spaces, as it was signed", RECEIPT, json.dumps(RECEIPT, indent=1).encode()),
        _receipt("two keys sign, and the older one is known", RECEIPT, header=both),
        _receipt(
            "two keys sign, and the newer one is known",
            RECEIPT,
            header=both,
            key=base64(NEW_RECEIPTS.public),
        ),
        _receipt(
            "an id that says nothing: the key is known from elsewhere",
            RECEIPT,
            header=header(_body(), "x"),
        ),
    ]


def _summed(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the receipt of a batch that sums a day up."""
    empty = {"voids": [], "results": [], "entries": {"first": 40, "count": 2}}
    return RECEIPT | {"batch": sha256(SUMMED).hexdigest(), "summary": answer} | empty


def _receipt(
    name: str, fields: Mapping[str, Any], data: bytes | None = None, **given: Any
) -> Vector:
    data = _body(**fields) if data is None else data
    given = {"header": header(data)} | given
    signers = [part.split('"')[1] for part in given["header"].split(", keyid")]
    return good(name, data, {"receipt": fields, "signers": signers}, **given)


def _body(**changes: Any) -> bytes:
    return json.dumps(RECEIPT | changes, ensure_ascii=False, separators=(",", ":")).encode()


def _bad_signatures() -> list[Vector]:
    body = _body()
    signature = RECEIPTS.sign(pae(envelope.RECEIPT_TYPE, body))

    def wrong(name: str, text: str, why: str, data: bytes = body) -> Vector:
        return bad(name, data, "bad_receipt_signature", why, header=text)

    fails = "it is a signature of something else"
    form = 'a part is keyid="…", sig=:…:, and a comma and a space stand between two'
    right = header(body)
    return [
        wrong(
            "a digit of the body",
            right,
            fails,
            changed(body, b'"cost":"288.00"', b'"cost":"188.00"'),
        ),
        wrong("a line feed behind the body", right, "the very bytes are signed", body + b"\n"),
        wrong("a bit of the signature", _part(flipped(signature, 3)), fails),
        wrong("the signature in its other spelling", _part(respelled(signature)), fails),
        wrong(
            "signed as a batch",
            _part(RECEIPTS.sign(pae(envelope.TYPE, body))),
            "the type is signed too",
        ),
        wrong("a signature of the bare body", _part(RECEIPTS.sign(body)), fails),
        wrong(
            "signed by the provider", _part(PROVIDER.sign(pae(envelope.RECEIPT_TYPE, body))), fails
        ),
        wrong(
            "signed by a key that is not known", header(body, key=STRANGER), "the known key has not"
        ),
        wrong(
            "two keys sign, and none is known",
            f"{header(body, key=STRANGER)}, {header(body, NEW, NEW_RECEIPTS)}",
            "the known key has not",
        ),
        wrong("no header", "", form),
        wrong("a header of base64 alone", base64(signature), form),
        wrong("no space behind the comma", right.replace(", ", ","), form),
        wrong("a semicolon", right.replace(", ", "; "), form),
        wrong("without quotes", right.replace('"', ""), form),
        wrong("a space behind it", f"{right} ", form),
        wrong("a comma behind it", f"{right}, ", form),
        wrong("an id with a space", right.replace(OLD, "receipt 1"), form),
        wrong("base64 without padding", right.replace("==", ""), form),
        wrong("base64 with a bit that no byte uses", _respelled(right), "base64 has one spelling"),
        wrong("nine parts", ", ".join([right] * 9), "there are at most eight"),
    ]


def _respelled(text: str) -> str:
    encoded = text.split("sig=:")[1].rstrip(":")
    return text.replace(encoded, loose(encoded))


def _other_batches() -> list[Vector]:
    def other(name: str, why: str, **changes: Any) -> Vector:
        body = _body(**changes)
        return bad(name, body, "other_batch", why, header=header(body))

    return [
        other("the receipt of another payload", "its hash is another", batch="00" * 32),
        other("the hash in capitals", "it has one spelling", batch=RECEIPT["batch"].upper()),
        other("another log", "it is another batch's place", log="kashi.example/other"),
        other("another provider", "it is another batch's place", provider="sz"),
        other("another stream", "it is another batch's place", stream="cloudbrain-1"),
        other("another number", "it is another batch's place", seq=18),
    ]


def _bad_receipts() -> list[Vector]:
    """Return what the service itself has signed, so only the receipt is wrong."""

    def wrong(name: str, body: bytes, why: str) -> Vector:
        return bad(name, body, "bad_receipt", why, header=header(body))

    def other(name: str, why: str, **changes: Any) -> Vector:
        return wrong(name, _body(**changes), why)

    def first(name: str, why: str, **changes: Any) -> Vector:
        return other(name, why, results=[RESULTS[0] | changes, *RESULTS[1:]])

    order = "there is a result for each void and record, in their order"
    kinds = "amounts are yuan as text"
    left = {name: value for name, value in RESULTS[0].items() if name != "cost"}
    return [
        wrong("no bytes", b"", "it is JSON"),
        wrong("a list", b"[]", "it is an object"),
        wrong("a text that is no JSON", b"accepted", "it is JSON"),
        wrong("the last bracket is missing", _body()[:-1], "it is JSON"),
        wrong("a second object behind it", _body() + b"{}", "nothing follows it"),
        wrong("bytes that are not UTF-8", changed(_body(), b"cloudbrain", b"\xff"), "it is UTF-8"),
        wrong("a problem in its place", b'{"status":503,"code":"busy"}', "a receipt says more"),
        wrong("10,000 brackets", b'{"results":' + b"[" * 10_000, "no reader has to go so deep"),
        other("a number as text", "numbers are integers", seq="17"),
        other("a number with a fraction", "numbers are integers", seq=17.5),
        other("no tree before it", "it names the tree on which it was built", before=None),
        other(
            "a tree without a root", "it names the tree on which it was built", before={"size": 3}
        ),
        other("a last result that is missing", order, results=RESULTS[:-1]),
        other("a result too many", order, results=[*RESULTS, RESULTS[-1] | {"id": "x"}]),
        other(
            "two results in the other order", order, results=[RESULTS[1], RESULTS[0], *RESULTS[2:]]
        ),
        other(
            "a result of another record", order, results=[*RESULTS[:-1], RESULTS[3] | {"id": "x"}]
        ),
        other("the void among the results", order, voids=[], results=[*RESULTS, *RECEIPT["voids"]]),
        other("results that are an object", "they are a list", results={}),
        other("a result that is a text", "it is an object", results=["accepted"]),
        other("an answer to a summary that was not sent", "there was none", summary=FIGURES),
        *(
            bad(name, data, "bad_receipt", why, header=header(data), payload=base64(SUMMED))
            for name, why, data in _bad_answers()
        ),
        first("a status that nobody knows", "there are four", status="pending"),
        first("a status that is missing", "it says what the result holds", status=None),
        first("a cost as a number", kinds, cost=288),
        other("an accepted record without its cost", kinds, results=[left, *RESULTS[1:]]),
        first("an entry as text", "numbers are integers", entry="42"),
        first("a limit that nobody knows", "there are three", bound=["weather"]),
    ]


def _bad_answers() -> list[tuple[str, str, bytes]]:
    """Return names, reasons and receipts of a summary."""
    left = {name: value for name, value in _summed({}).items() if name != "summary"}
    return [
        ("no answer to the summary", "each has one", json.dumps(left).encode()),
        *(
            (name, why, _body(**_summed(FIGURES | changes)))
            for name, why, changes in (
                ("an answer of a status that nobody knows", "there are three", {"status": "x"}),
                ("an answer without lines", "they are a list", {"usage": None}),
                ("an answer without its entry", "an entry is a number", {"entry": None}),
            )
        ),
    ]
