"""A test vector, and the file that holds all vectors of a format."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent


@dataclass(frozen=True)
class Vector:
    """Bytes and the answer that a reader must give: `must` for good ones, `code` for bad ones.

    `given` is what the reader knows besides. `lax` names foreign programs that accept bad bytes,
    `strict` those that refuse good ones, each with the reason.
    """

    name: str
    data: bytes
    given: Mapping[str, Any]
    must: Mapping[str, Any] | None = None
    code: str | None = None
    why: str | None = None
    lax: Mapping[str, str] = field(default_factory=dict)
    strict: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Return the fields in the file."""
        said = {
            "given": self.given,
            "must": self.must,
            "code": self.code,
            "why": self.why,
            "lax": self.lax,
            "strict": self.strict,
        }
        fields = {name: value for name, value in said.items() if value}
        return {"name": self.name, "bytes": b64encode(self.data).decode(), **fields}


@dataclass(frozen=True)
class Format:
    """The vectors of a format; `given` holds for each vector without one of its own."""

    name: str
    about: str
    given: Mapping[str, Any]
    vectors: list[Vector]

    @property
    def path(self) -> Path:
        return HOME / f"{self.name}.json"

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        fields = {
            "format": self.name,
            "about": self.about,
            "given": self.given,
            "vectors": [vector.fields() for vector in self.vectors],
        }
        return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"


def good(
    name: str,
    data: bytes,
    must: Mapping[str, Any],
    strict: Mapping[str, str] | None = None,
    **given: Any,
) -> Vector:
    return Vector(name, data, given, must=must, strict=strict or {})


def bad(
    name: str,
    data: bytes,
    code: str,
    why: str,
    lax: Mapping[str, str] | None = None,
    **given: Any,
) -> Vector:
    return Vector(name, data, given, code=code, why=why, lax=lax or {})


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return the data with one part replaced; it holds that part once."""
    assert data.count(old) == 1, f"{old!r} is there {data.count(old)} times"
    return data.replace(old, new)


def flipped(data: bytes, place: int) -> bytes:
    """Return the data with the lowest bit of one byte flipped."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
