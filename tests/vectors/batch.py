"""Usage batches: what a provider signs, as the payload of its envelope."""

import json
from hashlib import sha256
from typing import Any

from tests.vectors.vector import Format, Vector, bad, changed, good

RECORD = {
    "id": "slurm:4211:0",
    "contract": "TC-2025-0001",
    "device": "ascend-910b",
    "milli_devices": 64_000,
    "start": "2025-03-01T08:00:00+08:00",
    "end": "2025-03-01T09:00:00+08:00",
}
OPTIONAL = {"run": "slurm:4211", "state": "RUNNING", "final": False}
VOID = {"id": "slurm:4100:3", "reason": "node failed, not charged"}
HEAD = {"log": "kashi.example/shenzhen", "provider": "pcl", "stream": "cloudbrain-2", "seq": 17}
PURCHASE = {
    "id": "order-7001",
    "contract": "CC-2025-0001",
    "amount": "333333.33",
    "delivered_on": "2025-03-01",
}
DATES = {"service_from": "2025-03-01", "service_until": "2026-03-01"}
LINE = {"contract": "TC-2025-0001", "device": "ascend-910b", "records": 96}
SUMMARY = {
    "day": "2025-02-28",
    "usage": [LINE | {"device_seconds": "5529600.460"}],
    "scheduler": {
        "reported": {"runs": 12, "seconds": 402_310},
        "refused": {"runs": 0, "seconds": 0},
        "quarantined": {"runs": 1, "seconds": 2},
        "doubtful": {"runs": 0, "seconds": 0},
        "ignored": {"runs": 3, "seconds": 811},
        "total": {"runs": 16, "seconds": 403_123},
    },
}
BOUGHT = {**PURCHASE, "amount": 333_333_33}
# 2025-03-01 00:00 and 01:00 UTC.
EIGHT, NINE = 1_740_787_200, 1_740_790_800
READ = {**RECORD, "start": EIGHT, "end": NINE}
LARGEST = 2**53 - 1


def vectors() -> Format:
    return Format(
        "batch",
        "The payload of a usage batch, which the signature of its envelope covers. A good one has"
        " `id` (the SHA-256 of these bytes, by which the batch is known) and `batch`, its fields;"
        " instants are seconds since 1970 UTC, amounts fen, device-seconds thousandths, lists that"
        " are left out are empty. A"
        " batch of this form may still be refused, and so may each of its records and purchases, by"
        " what the ledger holds.",
        {},
        [
            *(*_good(), *_bad_json(), *_bad_texts(), *_bad_fields()),
            *(*_bad_records(), *_bad_instants(), *_bad_purchases()),
            *(*_bad_summaries(), *_too_large()),
        ],
    )


def batch(*records: dict[str, Any], voids: tuple[dict[str, Any], ...] = (), **more: Any) -> bytes:
    fields = HEAD | {"voids": voids, "records": records} | more
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _good() -> list[Vector]:
    two = [RECORD, RECORD | {"id": "slurm:4211:1"}]
    spaced = json.dumps(HEAD | {"records": [RECORD]}, indent=2).encode() + b"\n"
    escaped = changed(batch(RECORD | {"state": "算"}), "算".encode(), b"\\u7b97")
    paired = changed(batch(RECORD | {"state": "𠀀"}), "𠀀".encode(), b"\\ud840\\udc00")
    name = "a:/?#[]@!$&'()*+,;=%\"\\<>^`{|}~"
    return [
        _batch("one record", batch(RECORD), [READ]),
        _batch("two records", batch(*two), [READ, READ | {"id": "slurm:4211:1"}]),
        _batch(
            "a void and a record, with all that is optional",
            batch(RECORD | OPTIONAL, voids=(VOID,)),
            [READ | OPTIONAL],
            [VOID],
        ),
        _batch("nothing: it fills its number", batch(), []),
        _batch("lists that are left out", json.dumps(HEAD).encode(), []),
        _batch("with spaces and line feeds, as it was signed", spaced, [READ]),
        _batch(
            "with the fields in another order",
            json.dumps(dict(reversed((HEAD | {"records": [RECORD]}).items()))).encode(),
            [READ],
        ),
        _batch("with an escape that was not needed", escaped, [READ | {"state": "算"}]),
        _batch("with a character of two surrogates, escaped", paired, [READ | {"state": "𠀀"}]),
        _batch("the hash of entry 0", batch(genesis="0f" * 32), [], genesis="0f" * 32),
        _batch("the largest number of a stream", batch(seq=LARGEST), [], seq=LARGEST),
        _batch(
            "the longest ids",
            batch(RECORD | {"id": "~" * 128, "contract": "c" * 64}, stream="s" * 64),
            [READ | {"id": "~" * 128, "contract": "c" * 64}],
            stream="s" * 64,
        ),
        _batch(
            "a record's id of all that is visible",
            batch(RECORD | {"id": name}),
            [READ | {"id": name}],
        ),
        _batch(
            "a reason that is not ASCII",
            batch(voids=(VOID | {"reason": "节点故障，不计费"},)),
            [],
            [VOID | {"reason": "节点故障，不计费"}],
        ),
        _timed("an instant in UTC", "2025-03-01T00:00:00Z", EIGHT),
        _timed("an instant west of Greenwich", "2025-02-28T18:30:00-05:30", EIGHT),
        _timed("the first instant that there is", "1900-01-01T00:00:00Z", -2_208_988_800),
        _timed("a leap day", "2024-02-29T00:00:00Z", 1_709_164_800),
        _timed("an offset of a minute less than a day", "2025-03-01T23:59:00+23:59", EIGHT),
        _batch(
            "an end at the start: the record will be refused, not the batch",
            batch(RECORD | {"end": RECORD["start"]}),
            [READ | {"end": EIGHT}],
        ),
        _batch(
            "fewer devices than none: the record will be refused, not the batch",
            batch(RECORD | {"milli_devices": -1}),
            [READ | {"milli_devices": -1}],
        ),
        _batch(
            "2^53 - 1 devices: the record will be refused, not the batch",
            batch(RECORD | {"milli_devices": LARGEST}),
            [READ | {"milli_devices": LARGEST}],
        ),
        _batch(
            "two equal records: the second will be a duplicate",
            batch(RECORD, RECORD),
            [READ, READ],
        ),
        _batch(
            "the summary of a day",
            batch(summary=SUMMARY),
            [],
            summary=SUMMARY | {"usage": [LINE | {"device_seconds": 5_529_600_460}]},
        ),
        _batch(
            "the summary of a day without usage",
            batch(summary=SUMMARY | {"usage": []}),
            [],
            summary=SUMMARY | {"usage": []},
        ),
        _bought("a purchase, with a void", [PURCHASE], [BOUGHT], voids=(VOID,)),
        _bought("a purchase of a service", [PURCHASE | DATES], [BOUGHT | DATES]),
        _bought(
            "a purchase for nothing: it will be refused, not the batch",
            [PURCHASE | {"amount": "0.00"}],
            [BOUGHT | {"amount": 0}],
        ),
        _bought(
            "a service with one date: it will be refused, not the batch",
            [PURCHASE | {"service_from": "2025-03-01"}],
            [BOUGHT | {"service_from": "2025-03-01"}],
        ),
    ]


def _batch(
    name: str, data: bytes, records: list[Any], voids: list[Any] | None = None, **more: Any
) -> Vector:
    fields = HEAD | {"purchases": []} | more | {"voids": voids or [], "records": records}
    return good(name, data, {"id": sha256(data).hexdigest(), "batch": fields})


def _bought(name: str, sent: list[Any], read: list[Any], voids: tuple[Any, ...] = ()) -> Vector:
    return _batch(name, batch(purchases=sent, voids=voids), [], list(voids), purchases=read)


def _timed(name: str, text: str, seconds: int) -> Vector:
    return _batch(name, batch(RECORD | {"start": text}), [READ | {"start": seconds}])


def _wrong(name: str, data: bytes, why: str) -> Vector:
    return bad(name, data, "bad_batch", why)


def _bad_json() -> list[Vector]:
    plain = batch(RECORD)
    twice = "two readers could read two meanings"
    control = "no text holds control characters"
    surrogate = "it is no character"
    return [
        _wrong("no bytes", b"", "it is JSON"),
        _wrong("no JSON", b"records", "it is JSON"),
        _wrong("null", b"null", "it is an object"),
        _wrong("a list", b"[]", "it is an object"),
        _wrong("the last bracket is missing", plain[:-1], "it is JSON"),
        _wrong("a letter behind it", plain + b"x", "nothing follows it"),
        _wrong("a second batch behind it", plain + plain, "nothing follows it"),
        _wrong("a byte order mark", b"\xef\xbb\xbf" + plain, "JSON has none"),
        _wrong("in UTF-16", plain.decode().encode("utf-16-le"), "it is UTF-8"),
        _wrong("bytes that are not UTF-8", changed(plain, b"slurm", b"\xc3\x28"), "it is UTF-8"),
        _wrong(
            "a slash in two bytes",
            changed(plain, b"example/", b"example\xc0\xaf"),
            "UTF-8 has one spelling",
        ),
        _wrong("single quotes", changed(plain, b'"seq"', b"'seq'"), "it is JSON"),
        _wrong("a comma too many", changed(plain, b"}]}", b"},]}"), "it is JSON"),
        _wrong("not a number", changed(plain, b"64000", b"NaN"), "it is JSON"),
        _wrong("a number with a leading zero", changed(plain, b":17", b":017"), "it is JSON"),
        _wrong("a number with a plus sign", changed(plain, b":17", b":+17"), "it is JSON"),
        _wrong("a field twice", changed(plain, b'"seq":17', b'"seq":18,"seq":17'), twice),
        _wrong("a field twice, the same", changed(plain, b'"seq":17', b'"seq":17,"seq":17'), twice),
        _wrong(
            "a field twice, once with an escape",
            changed(plain, b'"seq":17', b'"\\u0073eq":18,"seq":17'),
            twice,
        ),
        _wrong("a record's field twice", changed(plain, b'"id"', b'"id":"x","id"'), twice),
        _wrong(
            "a lone surrogate, escaped",
            batch(RECORD | {"state": "X"}).replace(b'"X"', b'"\\ud800"'),
            surrogate,
        ),
        _wrong(
            "two surrogates the wrong way round",
            batch(RECORD | {"state": "X"}).replace(b'"X"', b'"\\ude00\\ud83d"'),
            surrogate,
        ),
        _wrong(
            "a lone surrogate in UTF-8",
            batch(RECORD | {"state": "X"}).replace(b'"X"', b'"\xed\xa0\x80"'),
            surrogate,
        ),
        _wrong(
            "a line feed in a text",
            batch(RECORD | {"state": "X"}).replace(b'"X"', b'"\n"'),
            "JSON escapes it",
        ),
        _wrong("a line feed in a text, escaped", batch(RECORD | {"state": "\n"}), control),
        _wrong("a NUL in a text, escaped", batch(RECORD | {"state": "\0"}), control),
        _wrong("a delete character in a text", batch(RECORD | {"state": "\x7f"}), control),
        _wrong("a control character beyond ASCII", batch(RECORD | {"state": "\x85"}), control),
        _wrong("10,000 brackets", b'{"records":' + b"[" * 10_000, "no reader has to go so deep"),
    ]


def _bad_texts() -> list[Vector]:
    def state(name: str, text: str, why: str) -> Vector:
        return _wrong(name, batch(RECORD | {"state": text}), why)

    hides = "no text that people see hides something or turns what follows around"
    blank = "a text that people see is not blank"
    form_c = "texts are in form C (NFC) of Unicode"
    return [
        state("an override of the direction", "paid\u202edeiraw", hides),
        state("an isolate", "a\u2066b\u2069", hides),
        state("a zero width space", "a\u200bb", hides),
        state("a soft hyphen", "a\u00adb", hides),
        state("a line separator", "a\u2028b", hides),
        state("a variation selector", "a\ufe0f", hides),
        state("private use", "a\ue000b", hides),
        state("a number that is no character", "a\u0378b", hides),
        state("a character later than Unicode 3.2 that is no ideograph", "\U0001f600", hides),
        state("spaces alone", "  ", blank),
        state("an ideographic space alone", "\u3000", blank),
        state("a letter and its accent apart", "e\u0301", form_c),
        state("a sign that form C writes as a letter", "\u212b", form_c),
        state("a compatibility ideograph", "\uf900", form_c),
        _wrong(
            "a void whose reason is turned around",
            batch(voids=({"id": "slurm:4100:3", "reason": "paid\u202edeiraw"},)),
            hides,
        ),
    ]


def _bad_fields() -> list[Vector]:
    def other(name: str, why: str, **changes: Any) -> Vector:
        return _wrong(name, batch(RECORD, **changes), why)

    def without(name: str) -> Vector:
        fields = {key: value for key, value in HEAD.items() if key != name}
        return _wrong(f"{name} is missing", json.dumps(fields).encode(), "it is needed")

    number = "numbers of a stream are integers from 1 to 2^53 - 1"
    ids = "ids are 1 to 64 of letters, digits and . _ -, and begin with a letter or digit"
    return [
        *map(without, HEAD),
        other("a field that nobody knows", "there are no other fields", note="x"),
        other("the number 0", number, seq=0),
        other("a number below zero", number, seq=-1),
        other("the number 2^53", number, seq=2**53),
        other("the number 2^64", number, seq=2**64),
        other("a number as text", number, seq="17"),
        other("a number that is true", number, seq=True),
        other("a number that is null", number, seq=None),
        other("a number with a fraction of zero", number, seq=17.0),
        other("a number with a fraction", number, seq=17.5),
        _wrong("a number with an exponent", changed(batch(), b":17", b":17e0"), number),
        other("no log", "it has at least one character", log=""),
        other("a log of 201 characters", "it has at most 200", log="a" * 201),
        other("an empty provider", ids, provider=""),
        other("a provider with a colon", ids, provider="p:cl"),
        other("a provider with a slash", ids, provider="p/cl"),
        other("a provider that begins with a dot", ids, provider=".pcl"),
        other("a provider that is not ASCII", ids, provider="鹏城"),
        other("a provider with a line feed behind it", ids, provider="pcl\n"),
        other("a stream of 65 letters", ids, stream="s" * 65),
        other("a stream that is a number", ids, stream=2),
        other("the hash of entry 0 in capitals", "it has one spelling", genesis="0F" * 32),
        other("the hash of entry 0 of 31 bytes", "it has 32", genesis="0f" * 31),
        other("a hash of entry 0 that is null", "what is not known is left out", genesis=None),
        other("voids that are null", "what is empty is left out", voids=None),
        other("records that are null", "what is empty is left out", records=None),
        other("records that are an object", "they are a list", records={}),
        other("a record that is a text", "it is an object", records=["slurm:4211:0"]),
        other("a record that is null", "it is an object", records=[None]),
    ]


def _bad_records() -> list[Vector]:
    def other(name: str, why: str, **changes: Any) -> Vector:
        return _wrong(name, batch(RECORD | changes), why)

    def without(name: str) -> Vector:
        record = {key: value for key, value in RECORD.items() if key != name}
        return _wrong(f"a record without {name}", batch(record), "it is needed")

    def void(name: str, why: str, **changes: Any) -> Vector:
        return _wrong(name, batch(voids=(VOID | changes,)), why)

    visible = "a record's id is 1 to 128 visible characters of ASCII"
    count = "devices are an integer of thousandths"
    return [
        *map(without, RECORD),
        other("a record with a field that nobody knows", "there are no other fields", price="4.50"),
        other("an empty id of a record", visible, id=""),
        other("a record's id of 129 characters", visible, id="a" * 129),
        other("a record's id with a space", visible, id="slurm 4211"),
        other("a record's id that is not ASCII", visible, id="算力"),
        other("a record's id with a line feed behind it", visible, id="slurm:4211:0\n"),
        other("a contract with a colon", "it is part of an account's name", contract="TC:1"),
        other("an empty contract", "it names nothing", contract=""),
        other("a device of 65 letters", "it has at most 64", device="d" * 65),
        other("devices with a fraction", count, milli_devices=64_000.5),
        other("devices with a fraction of zero", count, milli_devices=64_000.0),
        other("2^53 devices", "JSON readers differ beyond 2^53 - 1", milli_devices=LARGEST + 1),
        other("-2^53 devices", "JSON readers differ below -(2^53 - 1)", milli_devices=-LARGEST - 1),
        other("devices as text", count, milli_devices="64000"),
        other("devices that are null", count, milli_devices=None),
        other("a run with a space", visible, run="slurm 4211"),
        other("a run that is null", "what is not known is left out", run=None),
        other("an empty state", "what is not known is left out", state=""),
        other("a state of 129 characters", "it has at most 128", state="s" * 129),
        other("a final that is a text", "it is true or false", final="yes"),
        other("a final that is 0", "it is true or false", final=0),
        _wrong("a void without a reason", batch(voids=({"id": "x"},)), "it is needed"),
        void("an empty reason", "it has at least one character", reason=""),
        void("a reason of 501 characters", "it has at most 500", reason="r" * 501),
        void("a void with a field that nobody knows", "there are no other fields", fen=1),
        void("a void of an empty id", visible, id=""),
    ]


def _bad_instants() -> list[Vector]:
    def at(name: str, text: Any, why: str) -> Vector:
        return _wrong(name, batch(RECORD | {"start": text}), why)

    form = "an instant is YYYY-MM-DDThh:mm:ss with Z or an offset ±hh:mm"
    none = "there is no such instant"
    return [
        at("an instant without offset", "2025-03-01T08:00:00", form),
        at("an instant with a fraction", "2025-03-01T08:00:00.5+08:00", form),
        at("an instant without seconds", "2025-03-01T08:00+08:00", form),
        at("an instant with a space", "2025-03-01 08:00:00+08:00", form),
        at("an instant with a small t", "2025-03-01t08:00:00+08:00", form),
        at("an instant with a small z", "2025-03-01T08:00:00z", form),
        at("an offset without a colon", "2025-03-01T08:00:00+0800", form),
        at("an offset with seconds", "2025-03-01T08:00:00+08:00:00", form),
        at("an offset of a whole day", "2025-03-01T08:00:00+24:00", form),
        at("an instant of a week", "2025-W09-6T08:00:00+08:00", form),
        at("an instant of another script's digits", "２025-03-01T08:00:00+08:00", form),
        at("an instant with a space behind it", "2025-03-01T08:00:00Z ", form),
        at("an instant as a number", EIGHT, "it is text"),
        at("an empty instant", "", form),
        at("a day that does not exist", "2025-02-29T08:00:00+08:00", none),
        at("a month 13", "2025-13-01T08:00:00+08:00", none),
        at("an hour 24", "2025-03-01T24:00:00+08:00", none),
        at("a leap second", "2016-12-31T23:59:60Z", "a day has 86,400 seconds here"),
        at("a year before 1900", "1899-12-31T23:59:59Z", "instants begin in 1900"),
        at("a year of five digits", "12025-03-01T08:00:00Z", form),
    ]


def _bad_purchases() -> list[Vector]:
    def other(name: str, why: str, **changes: Any) -> Vector:
        return _wrong(name, batch(purchases=[PURCHASE | changes]), why)

    def without(name: str) -> Vector:
        left = {key: value for key, value in PURCHASE.items() if key != name}
        return _wrong(f"a purchase without {name}", batch(purchases=[left]), "it is needed")

    yuan = "an amount is yuan text with two decimals"
    day = "a day is YYYY-MM-DD, and exists"
    return [
        *map(without, PURCHASE),
        other("a purchase with a device", "there are no other fields", device="ascend-910b"),
        other("a purchase for a number", yuan, amount=333_333.33),
        other("a purchase with one decimal", yuan, amount="333333.3"),
        other("a purchase below zero", yuan, amount="-1.00"),
        other("a delivery with a time", day, delivered_on="2025-03-01T00:00:00+08:00"),
        other("a delivery on a day that does not exist", day, delivered_on="2025-02-29"),
        other("a service without a first day, as null", day, service_from=None),
        _wrong("purchases that are null", batch(purchases=None), "what is empty is left out"),
    ]


def _bad_summaries() -> list[Vector]:
    def other(name: str, why: str, **changes: Any) -> Vector:
        return _wrong(name, batch(summary=SUMMARY | changes), why)

    def line(name: str, why: str, **changes: Any) -> Vector:
        return other(name, why, usage=[LINE | {"device_seconds": "1.000"} | changes])

    def told(name: str, why: str, **changes: Any) -> Vector:
        return other(name, why, scheduler=SUMMARY["scheduler"] | changes)

    thousandths = "device-seconds are text with three decimals"
    return [
        other("a summary of a day that does not exist", "a day exists", day="2025-02-29"),
        other("a summary with a comment", "there are no other fields", comment="x"),
        other("two lines about the same", "they are one", usage=SUMMARY["usage"] * 2),
        line("a line for a number", thousandths, device_seconds=1),
        line("a line with two decimals", thousandths, device_seconds="1.00"),
        line("a line below zero", thousandths, device_seconds="-1.000"),
        line("a line of no records", "it is left out", records=0),
        told("a total that is no sum", "it is", total={"runs": 15, "seconds": 403_123}),
        told("a total of seconds that is no sum", "it is", total={"runs": 16, "seconds": 0}),
        told("runs below none", "they are counted", refused={"runs": -1, "seconds": 0}),
    ]


def _too_large() -> list[Vector]:
    def months(count: int) -> bytes:
        """Return a batch of records of 31 days."""
        span = {"start": "2025-03-01T00:00:00Z", "end": "2025-04-01T00:00:00Z"}
        return batch(*(RECORD | span | {"id": f"{number}"} for number in range(count)))

    def services(count: int) -> bytes:
        """Return a batch of services of four years."""
        dates = {"service_from": "2025-03-01", "service_until": "2029-03-01"}
        return batch(purchases=[PURCHASE | dates | {"id": f"{number}"} for number in range(count)])

    def voids(count: int) -> bytes:
        return batch(voids=tuple({"id": "x", "reason": "x"} for _ in range(count)))

    return [
        bad("5,001 voids", voids(5_001), "too_large", "there are at most 5,000 items"),
        bad(
            "168 records of 31 days",
            months(168),
            "too_large",
            "they last at most 5,200 days together",
        ),
        bad(
            "51 services of 1,461 days",
            services(51),
            "too_large",
            "they last at most 73,050 days together",
        ),
    ]
