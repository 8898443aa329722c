"""What may stand in a configuration, as JSON Schema for editors?

Descriptions are what an editor shows on hover, closed objects are what lets it find a typing error, one object per
type is what lets it complete the right keys. ``bridge check`` knows more and is the judge: an unset variable or a
destination that does not exist is nothing a schema can see. https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from bridge.config import keys
from bridge.config.keys import FILLED, FLAG, TEXT, TEXTS, Key, Schema
from bridge.config.sections import CHATS
from bridge.destinations import DESTINATIONS
from bridge.destinations.base import DestinationOptions
from bridge.route import KEYS
from bridge.sources import SOURCES, Bound
from bridge.units import Rate

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


def schema() -> Schema:
    """Return the JSON Schema of the configuration."""
    sections: dict[str, Schema] = {
        "server": _closed(keys.SERVER),
        "sources": _named({"$ref": "#/$defs/source"}),
        "destinations": _named({"oneOf": [{"$ref": f"#/$defs/destination_{name}"} for name in DESTINATIONS]}),
        "people": {"type": ["object", "null"], "additionalProperties": _people()},
        "groups": {"type": ["object", "null"], "additionalProperties": TEXTS},
        "rules": {"type": ["array", "null"], "items": {"$ref": "#/$defs/rule"}},
        "tests": {"type": ["array", "null"], "items": {"$ref": "#/$defs/test"}},
    }
    whole = _closed(keys.TOP, own=sections)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bridge configuration",
        "description": "CI and deployment events to chat.",
        **whole,
        "type": "object",
        "patternProperties": {"^x-": {"description": "Anything: a place for YAML anchors."}},
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Schema]:
    own, parts = _source_options()
    return {
        "source": _closed({**keys.SOURCE, **own}, required=("type",), own={"type": {"enum": list(SOURCES)}}),
        **parts,
        **{f"destination_{name}": _destination(name) for name in DESTINATIONS},
        "match": {**_closed(keys.MATCH), "type": ["object", "null"]},
        "goal": _closed(keys.GOAL, required=("destination",)),
        "rule": _rule(),
        "event": _closed(keys.EVENT),
        "step": _closed(keys.STEP, own={"expect": {"$ref": "#/$defs/expect"}}),
        "expect": _expect(),
        "test": _test(),
        **_pattern_definitions(),
    }


def _source_options() -> tuple[dict[str, Key], dict[str, Schema]]:
    """Return the keys that single types of sources take, each with the type's name, and the definitions they use."""
    table: dict[str, Key] = {}
    parts: dict[str, Schema] = {}
    for name, module in SOURCES.items():
        if isinstance(module, Bound):
            found = module.Options.model_json_schema(ref_template="#/$defs/{model}")
            parts |= found.pop("$defs", {})
            for form in (found, *parts.values()):
                _drop_empty_defaults(form.get("properties", {}))
            for key, one in found["properties"].items():
                text = f"{one.pop('description', '')} Only for `type: {name}`."
                table[key] = Key({part: value for part, value in one.items() if part != "title"}, text)
    return table, parts


def _drop_empty_defaults(properties: dict[str, Schema]) -> None:
    """What says nothing, and durations as pydantic writes them, help nobody in an editor."""
    for one in properties.values():
        default = one.get("default")
        if not default or str(default).startswith("PT"):
            one.pop("default", None)


def _closed(
    table: Mapping[str, Key], *, required: tuple[str, ...] = (), own: Mapping[str, Schema] | None = None
) -> Schema:
    """Return an object that takes the keys of `table` and no other."""
    properties = {
        name: {**key.schema, **(own or {}).get(name, {}), **({"description": key.text} if key.text else {})}
        for name, key in table.items()
    }
    closed: Schema = {"type": "object" if required else ["object", "null"], "additionalProperties": False}
    return {**closed, "properties": properties, **({"required": list(required)} if required else {})}


def _named(item: Schema) -> Schema:
    return {"type": ["object", "null"], "propertyNames": {"pattern": NAME_PATTERN}, "additionalProperties": item}


def _people() -> Schema:
    texts = {chat: "The e-mail address." if chat == "email" else f"The id in {chat}." for chat in CHATS}
    texts["slack"] = "The member ID, U024BE7LH: in Slack, the profile's ⋮ menu, Copy member ID."
    texts["discord"] = "The user ID, 80351110224678912, in quotes; & before it is a role: right-click, Copy User ID."
    texts["matrix"] = "The whole ID, @octocat:example.org, in quotes."
    texts["telegram"] = "The user name, @octocat, in quotes, or the number of somebody without one."
    texts["zulip"] = "The number in the address of the profile, 1234, in quotes; a group is *on-call*."
    texts["webex"] = "The e-mail address with which the person is in Webex, or the person's id."
    chats = {chat: Key(TEXTS if chat == "email" else TEXT, text) for chat, text in texts.items()}
    return _closed({**chats, **keys.PERSON})


def _rule() -> Schema:
    goal: Schema = {"anyOf": [TEXT, {"$ref": "#/$defs/goal"}]}
    to: Schema = {"anyOf": [TEXT, {"$ref": "#/$defs/goal"}, {"type": "array", "items": goal, "minItems": 1}]}
    own = {
        "to": to,
        "match": {"$ref": "#/$defs/match"},
        "escalate": _closed(keys.ESCALATE, required=("after", "to")),
        "hours": _closed(keys.HOURS, required=("from", "to", "zone")),
        "digest": _closed(keys.DIGEST, required=("every",)),
    }
    return _closed(keys.RULE, required=("name", "to"), own=own)


def _expect() -> Schema:
    texts: Schema = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}
    own = {"to": texts, "rules": texts, "mention": texts}
    return {**_closed(keys.EXPECT, own=own), "type": "object", "minProperties": 1}


def _test() -> Schema:
    step: Schema = {"$ref": "#/$defs/step"}
    own: dict[str, Schema] = {
        "event": {"$ref": "#/$defs/event"},
        "events": {"anyOf": [step, {"type": "array", "items": step, "minItems": 1}]},
        "given": {"$ref": "#/$defs/event"},
        "expect": {"$ref": "#/$defs/expect"},
    }
    return _closed(keys.TEST, required=("name",), own=own)


# -- match -------------------------------------------------------------------------------------------------------------


def _pattern_definitions() -> dict[str, Schema]:
    word_keys = {name: list(map(str, key.words)) for name, key in KEYS.items() if key.form == "word"}
    glob: Schema = {"type": "string", "pattern": r"[*?\[$]|^/.*/$"}
    return {
        "patterns": _patterns(TEXT),
        "flags": _patterns(FLAG),
        "flags_or_numbers": _patterns({"anyOf": [{"type": ["boolean", "integer"]}, FILLED]}),
        **{f"{name}_patterns": _patterns({"anyOf": [{"enum": words}, glob]}) for name, words in word_keys.items()},
    }


def _patterns(one: Schema) -> Schema:
    """Return `one`, a list of them, and ``{not: ...}`` of either."""
    several: Schema = {"type": "array", "items": one, "minItems": 1}
    excluded: Schema = {
        "type": "object",
        "properties": {"not": {"anyOf": [one, several], "description": "What must not hold."}},
        "required": ["not"],
        "additionalProperties": False,
    }
    either: Schema = {"anyOf": [one, excluded]}
    return {"anyOf": [one, excluded, {"type": "array", "items": either, "minItems": 1}]}


# -- destinations ------------------------------------------------------------------------------------------------------


def option_keys(options: type[DestinationOptions]) -> dict[str, Key]:
    """Return the keys of a destination's own model, as the file writes them."""
    return {
        field.alias or name: Key(_option(field), field.description or "")
        for name, field in options.model_fields.items()
    }


def _destination(name: str) -> Schema:
    module = DESTINATIONS[name]
    own = option_keys(module.Options)
    required = tuple(
        key for key, field in zip(own, module.Options.model_fields.values(), strict=True) if field.is_required()
    )
    table = {"type": Key({"const": name}, module.LABEL), **own}
    return {"title": module.LABEL, **_closed(table, required=("type", *required))}


def _option(field: FieldInfo) -> Schema:
    default = _default(field)
    return {**_option_form(field.annotation), **({} if default is None else {"default": default})}


def _option_form(annotation: Any) -> Schema:
    """Return the form of a value by the type that the module gives it."""
    if get_origin(annotation) in (list, tuple):
        return TEXTS
    parts = {part for part in get_args(annotation) if part is not type(None)} or {annotation}
    if timedelta in parts:
        return keys.DURATION
    if Rate in parts:
        return keys.RATE
    if bool in parts:
        return FLAG
    if int in parts:
        return {"anyOf": [{"type": "integer", "minimum": 1}, FILLED]}
    if all(isinstance(part, str) for part in parts):
        return {"enum": sorted(parts)}
    return TEXTS if any(get_args(part) for part in parts) else TEXT


def _default(field: FieldInfo) -> Any:
    if field.is_required() or field.default is None:
        return None
    if isinstance(field.default, timedelta):
        return written(field.default)
    return field.default if isinstance(field.default, str | int | bool) else None


def written(duration: timedelta) -> str:
    """Return a duration as the file writes it: ``10s``, ``5m``, ``24h``."""
    seconds = duration.total_seconds()
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and not seconds % size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
