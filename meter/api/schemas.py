"""JSON Schema (2020-12) of the very types that parse requests and shape responses.

msgspec's own generator does not take two of our types: a default of the type `Fen`, and the union
of results, whose tag is `status`. So the types are walked here, by their annotations. What a type
cannot say (meaning, a stricter pattern) is added from `examples`.
"""

import types
from inspect import cleandoc
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType
from msgspec.structs import FieldInfo, fields

from meter.api.meanings import MEANINGS, NARROWED
from meter.values.strict import PLAIN_TEXT, SCHEMAS, Fen
from meter.values.units import format_money

JsonSchema = dict[str, Any]

_PLAIN: Final[dict[Any, JsonSchema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    msgspec.Raw: {"type": "object"},
    Any: {},
}
_BOUNDS: Final = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
}
_LENGTHS: Final = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


class Schemas:
    """The schemas of structs, each once, as components of one document."""

    def __init__(self) -> None:
        self.components: dict[str, JsonSchema] = {}
        self._known: dict[str, tuple[type[Struct], frozenset[str]]] = {}

    def struct(self, kind: type[Struct], without: frozenset[str] = frozenset()) -> JsonSchema:
        """Return a reference to a struct's schema, `without` the fields that stand elsewhere."""
        name = kind.__name__.lstrip("_")
        known = self._known.setdefault(name, (kind, without))
        assert known == (kind, without), f"two schemas would be called {name}"
        if name not in self.components:
            self.components[name] = {}  # a struct may hold itself
            self.components[name] = self._object(kind, without)
        return {"$ref": f"#/components/schemas/{name}"}

    def of(self, hint: Any, *, strict: bool = False) -> JsonSchema:
        """Return the schema of an annotation; `strict` where `meter.values.strict` reads it."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._annotated(arguments, strict=strict)
        if origin in (Union, types.UnionType):
            return self._union([each for each in arguments if each is not UnsetType], strict=strict)
        if origin is Literal:
            known = {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
            return {"type": "string", **known}
        if origin in (list, tuple):
            return self._array(origin, arguments, strict=strict)
        if origin is dict:
            keys, values = (self.of(each, strict=strict) for each in arguments)
            names = {} if keys == _PLAIN[str] else {"propertyNames": keys}
            return {"type": "object", **names, "additionalProperties": values}
        return self._simple(hint, strict=strict)

    def _array(self, origin: type, items: tuple[Any, ...], *, strict: bool) -> JsonSchema:
        """Return the schema of a list of one type, or of a tuple of several."""
        schemas = [self.of(each, strict=strict) for each in items]
        if origin is list:
            return {"type": "array", "items": schemas[0]}
        size = {"minItems": len(items), "maxItems": len(items)}
        return {"type": "array", "prefixItems": schemas, **size}

    def field(self, owner: str, field: FieldInfo, *, strict: bool, omitted: bool) -> JsonSchema:
        """Return the schema of a struct's field: its type, default, meaning and example."""
        schema = self.of(field.type, strict=strict)
        default = _default(field)
        if default not in (UNSET, "") and not omitted:
            schema = {**schema, "default": default}
        names = (f"{owner}.{field.encode_name}", field.encode_name)
        said = [MEANINGS[name] for name in names if name in MEANINGS]
        narrower = [NARROWED[name] for name in names if name in NARROWED]
        return {
            **schema,
            **(narrower[0] if narrower else {}),
            **({"description": said[0]} if said else {}),
        }

    def _object(self, kind: type[Struct], without: frozenset[str]) -> JsonSchema:
        config = kind.__struct_config__
        strict = config.forbid_unknown_fields
        shown = [field for field in fields(kind) if field.encode_name not in without]
        owner = kind.__name__.lstrip("_")
        required = [field.encode_name for field in shown if field.required]
        return {
            "type": "object",
            "description": MEANINGS.get(owner) or cleandoc(kind.__doc__ or ""),
            "properties": {
                field.encode_name: self.field(
                    owner, field, strict=strict, omitted=config.omit_defaults
                )
                for field in shown
            },
            **({"required": required} if required else {}),
            **({"additionalProperties": False} if strict else {}),
        }

    def _simple(self, kind: Any, *, strict: bool) -> JsonSchema:
        if kind in SCHEMAS:
            return SCHEMAS[kind]
        if kind is str and strict:
            return {"type": "string", "pattern": PLAIN_TEXT}
        if kind in _PLAIN:
            return _PLAIN[kind]
        assert issubclass(kind, Struct), f"no schema is known for {kind}"
        return self.struct(kind)

    def _annotated(self, arguments: tuple[Any, ...], *, strict: bool) -> JsonSchema:
        base, *metas = arguments
        schema = dict(self.of(base, strict=strict))
        for meta in metas:
            if isinstance(meta, Meta):
                schema |= _limits(meta, schema.get("type"))
        return schema

    def _union(self, members: list[Any], *, strict: bool) -> JsonSchema:
        schemas = [self.of(each, strict=strict) for each in members]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _limits(meta: Meta, kind: str | None) -> JsonSchema:
    found: JsonSchema = {}
    for ours, theirs in _BOUNDS.items():
        if getattr(meta, ours) is not None:
            found[theirs] = getattr(meta, ours)
    lengths = _LENGTHS.get(kind or "", ("", ""))
    for name, value in zip(lengths, (meta.min_length, meta.max_length), strict=True):
        if value is not None:
            found[name] = value
    if meta.pattern is not None:
        # ECMA-262, which JSON Schema takes its patterns from, has no \Z; its "$" is Python's \Z.
        found["pattern"] = meta.pattern.replace(r"\Z", "$")
    return found | (meta.extra_json_schema or {})


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    if field.default is NODEFAULT:
        return UNSET
    return format_money(field.default) if isinstance(field.default, Fen) else field.default
