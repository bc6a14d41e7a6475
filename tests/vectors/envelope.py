"""Envelopes: a payload with its type and one signature (DSSE v1), as providers post them."""

import json
from hashlib import sha256
from typing import Any

from tests.vectors import curve
from tests.vectors.plain import PROVIDER, STRANGER, base64, loose, pae, respelled
from tests.vectors.vector import Format, Vector, bad, changed, flipped, good

TYPE = "application/vnd.kashi.usage-batch+json"
RECEIPT_TYPE = "application/vnd.kashi.receipt+json"
KEYID = "pcl-2025a"
LOG = "kashi.example/shenzhen"
# An empty batch, which fills number 17 of its stream.
PAYLOAD = f'{{"log":"{LOG}","provider":"pcl","stream":"cloudbrain-2","seq":17}}'.encode()
SIGNATURE = PROVIDER.sign(pae(TYPE, PAYLOAD))


def vectors() -> Format:
    return Format(
        "envelope",
        "A DSSE envelope of a usage batch. `keys` are the registered public keys by id, in base64;"
        " the signature covers the PAE of type and payload. A good one has `keyid`, `payload` (in"
        " base64), `signature`, and `signed`, the SHA-256 of the bytes that the signature covers."
        " Whether the payload is a batch is another question.",
        {"keys": {KEYID: base64(PROVIDER.public)}},
        [*_good(), *_bad_signatures(), *_bad_forms()],
    )


def sealed(payload: bytes, signature: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """Return the JSON of an envelope of the registered key."""
    signature = PROVIDER.sign(pae(TYPE, payload)) if signature is None else signature
    return {
        "payloadType": TYPE,
        "payload": base64(payload),
        "signatures": [{"keyid": KEYID, "sig": base64(signature)}],
    } | changes


def written(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _good() -> list[Vector]:
    plain = written(sealed(PAYLOAD))
    spaced = json.dumps(sealed(PAYLOAD), indent=2).encode() + b"\n"
    turned = dict(reversed(sealed(PAYLOAD).items()))
    return [
        _sealed("as a provider sends it", plain, PAYLOAD),
        _sealed("with spaces and line feeds between the tokens", spaced, PAYLOAD),
        _sealed("with its fields in another order", written(turned), PAYLOAD),
        _sealed(
            "with an escape, which JSON allows",
            changed(plain, b"application/vnd", b"application\\/vnd"),
            PAYLOAD,
        ),
        _sealed("an empty payload", written(sealed(b"")), b""),
        _sealed("a payload of one byte: two letters of padding", written(sealed(b"x")), b"x"),
        _sealed(
            "a payload that is not text", written(sealed(bytes(range(256)))), bytes(range(256))
        ),
        _sealed("a payload with spaces, as it was signed", written(sealed(b"{ }\n")), b"{ }\n"),
    ]


def _sealed(name: str, data: bytes, payload: bytes) -> Vector:
    signed = pae(TYPE, payload)
    must = {
        "keyid": KEYID,
        "payload": base64(payload),
        "signature": PROVIDER.sign(signed).hex(),
        "signed": sha256(signed).hexdigest(),
    }
    return good(name, data, must)


def _bad_signatures() -> list[Vector]:
    def wrong(
        name: str, why: str, signature: bytes = SIGNATURE, payload: bytes = PAYLOAD
    ) -> Vector:
        return bad(name, written(sealed(payload, signature)), "bad_signature", why)

    fails = "it is a signature of something else"
    length = "an Ed25519 signature has 64 bytes"
    kind = TYPE.encode()
    other_lengths = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(PAYLOAD) + 1, PAYLOAD)
    return [
        wrong("a bit of the first half of the signature", fails, flipped(SIGNATURE, 0)),
        wrong("a bit of the second half of the signature", fails, flipped(SIGNATURE, -1)),
        wrong("a bit of the payload", fails, payload=flipped(PAYLOAD, -2)),
        wrong("a space behind the payload", fails, payload=PAYLOAD + b" "),
        wrong(
            "the signature in its other spelling",
            "the second half is not below the order of the group (RFC 8032 section 5.1.7)",
            respelled(SIGNATURE),
        ),
        wrong("a signature of the bare payload", fails, PROVIDER.sign(PAYLOAD)),
        wrong(
            "a signature of the payload's base64", fails, PROVIDER.sign(base64(PAYLOAD).encode())
        ),
        wrong(
            "signed as a receipt",
            "the type is signed too",
            PROVIDER.sign(pae(RECEIPT_TYPE, PAYLOAD)),
        ),
        wrong("signed with another length", "lengths are signed too", PROVIDER.sign(other_lengths)),
        wrong("signed by another key", fails, STRANGER.sign(pae(TYPE, PAYLOAD))),
        wrong("a signature of 63 bytes", length, SIGNATURE[:-1]),
        wrong("a signature of 65 bytes", length, SIGNATURE + b"\0"),
        wrong("an empty signature", length, b""),
        wrong("a signature of zeros", fails, bytes(64)),
        bad(
            "a signature that holds for every message, if one takes the identity as a key",
            written(sealed(PAYLOAD, curve.encode(curve.IDENTITY) + bytes(32))),
            "bad_signature",
            "a weak key signs nothing",
            dict.fromkeys(("openssl", "sigstore"), "OpenSSL takes any point as a key"),
            keys={KEYID: base64(curve.encode(curve.IDENTITY))},
        ),
        bad(
            "a key that nobody registered",
            written(sealed(PAYLOAD, signatures=[{"keyid": "pcl-2025b", "sig": base64(SIGNATURE)}])),
            "bad_signature",
            "a key is found by its id alone",
        ),
        bad(
            "the registered id in capitals",
            written(sealed(PAYLOAD, signatures=[{"keyid": "PCL-2025A", "sig": base64(SIGNATURE)}])),
            "bad_signature",
            "an id has one spelling",
        ),
    ]


def _bad_forms() -> list[Vector]:
    plain = written(sealed(PAYLOAD))
    text, one = base64(PAYLOAD), sealed(PAYLOAD)["signatures"]
    assert text.endswith("="), "the payload has padding to leave out"

    def wrong(name: str, data: bytes, why: str) -> Vector:
        return bad(name, data, "bad_envelope", why)

    def other(name: str, why: str, **changes: Any) -> Vector:
        return wrong(name, written(sealed(PAYLOAD) | changes), why)

    def keyid(
        name: str, value: Any, why: str = "a key's id is of letters, digits and . _ -"
    ) -> Vector:
        return other(name, why, signatures=[{"keyid": value, "sig": base64(SIGNATURE)}])

    standard = "base64 is the standard one, padded, in one spelling"
    count = "there is exactly one signature"
    unknown = "there are no other fields"
    twice = "two readers could read two meanings"
    return [
        wrong("no bytes", b"", "it is JSON"),
        wrong("no JSON", b"payload", "it is JSON"),
        wrong("a list", b"[" + plain + b"]", "it is an object"),
        wrong("the last bracket is missing", plain[:-1], "it is JSON"),
        wrong("a second object behind it", plain + b"{}", "nothing follows it"),
        wrong("a byte order mark", b"\xef\xbb\xbf" + plain, "JSON has none"),
        wrong("in UTF-16", plain.decode().encode("utf-16-le"), "it is UTF-8"),
        wrong("bytes that are not UTF-8", changed(plain, b"pcl-", b"\xff"), "it is UTF-8"),
        wrong("a comma too many", changed(plain, b"}]}", b"}],}"), "it is JSON"),
        wrong("a comment", b"/* */" + plain, "it is JSON"),
        wrong("a payload twice", changed(plain, b'"payload":', b'"payload":"","payload":'), twice),
        wrong(
            "a payload twice, the same",
            changed(plain, b'"payload":', f'"payload":"{text}","payload":'.encode()),
            twice,
        ),
        wrong(
            "a field twice, once with an escape",
            changed(plain, b'"payload":', b'"payloa\\u0064":"","payload":'),
            twice,
        ),
        wrong(
            "a signature twice in one object", changed(plain, b'"sig":', b'"sig":"","sig":'), twice
        ),
        other("a field that nobody knows", unknown, note="x"),
        other(
            "a signature with a field that nobody knows",
            unknown,
            signatures=[one[0] | {"alg": "none"}],
        ),
        other("no signature", count, signatures=[]),
        other("two signatures", count, signatures=one * 2),
        other("one signature, not in a list", count, signatures=one[0]),
        other("signatures that are null", count, signatures=None),
        other("the type of a receipt", "this is no batch", payloadType=RECEIPT_TYPE),
        other("a type in capitals", "a type has one spelling", payloadType=TYPE.upper()),
        other("an empty type", "this is no batch", payloadType=""),
        other("a payload that is a number", "it is text", payload=1),
        wrong(
            "a payload is missing",
            written({"payloadType": TYPE, "signatures": one}),
            "each field is needed",
        ),
        other("a payload without padding", standard, payload=text.rstrip("=")),
        other("a payload with padding too long", standard, payload=f"{text}===="),
        other("a payload with a bit that no byte uses", standard, payload=loose(text)),
        other(
            "a payload with a line feed, escaped",
            "no text holds control characters",
            payload=f"{text[:4]}\n{text[4:]}",
        ),
        other("a payload with a space", standard, payload=f"{text[:4]} {text[4:]}"),
        other("a payload of the URL alphabet", standard, payload="_-8="),
        other("a payload that is not ASCII", standard, payload=f"é{text[1:]}"),
        other(
            "a signature without padding",
            standard,
            signatures=[{"keyid": KEYID, "sig": base64(SIGNATURE).rstrip("=")}],
        ),
        other(
            "a signature in hexadecimal",
            standard,
            signatures=[{"keyid": KEYID, "sig": SIGNATURE.hex() + "0"}],
        ),
        keyid("an empty key id", ""),
        keyid("a key id with a space", "pcl 2025a"),
        keyid("a key id with a line feed behind it", f"{KEYID}\n"),
        keyid("a key id of 65 letters", "a" * 65, "it has at most 64"),
        keyid("a key id that is a number", 2025),
        wrong("a lone surrogate", changed(plain, b"pcl-2025a", b"\\ud800"), "it is no character"),
        wrong("10,000 brackets", b"[" * 10_000, "no reader has to go so deep"),
    ]
