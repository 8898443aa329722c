"""Would Discord take this message? Judged by its own schema, and by the rules that a schema cannot say.

The schema is Discord's OpenAPI, read where ``../shared/schemas`` is at hand. It knows every single length, but neither
the 6,000 characters over all embeds nor that a text may not be blank, and it takes any unknown key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.fakes.base import Invalid

SHARED_SCHEMA = Path(__file__).parents[2] / "../shared/schemas/discord-openapi.json"
POST, PATCH = "IncomingWebhookRequestPartial", "IncomingWebhookUpdateRequestPartial"
_TOP = frozenset({"content", "embeds", "components", "allowed_mentions", "username", "avatar_url"})
_EMBED = frozenset({"title", "url", "description", "color", "fields", "footer", "author", "image", "thumbnail"})


def check(body: dict[str, Any], *, edit: bool = False) -> None:
    """Return if Discord would take `body`, else raise Invalid."""
    json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    _need(set(body) <= _TOP - ({"username", "avatar_url"} if edit else set()), f"unknown keys in {sorted(body)}")
    _need(bool(body.get("content") or body.get("embeds")), "empty")
    _need(_length(body.get("content", "")) <= 2_000, "content is too long")
    embeds = body.get("embeds", [])
    _need(len(embeds) <= 10, "too many embeds")
    for embed in embeds:
        _check_embed(embed)
    total = sum(_length(text) for embed in embeds for text in embed_texts(embed))
    _need(total <= 6_000, f"{total} characters in the embeds")
    allowed = body.get("allowed_mentions", {})
    _need(allowed.get("parse") == [], "allowed_mentions does not forbid what is not named")
    if SHARED_SCHEMA.exists():
        name = PATCH if edit else POST
        buttons = {"components": body.get("components", [])}
        fault = _fault(name, {**body, "components": []}) or _fault_of_buttons(name, json.dumps(buttons))
        _need(not fault, fault)


def _check_embed(embed: dict[str, Any]) -> None:
    _need(set(embed) <= _EMBED, f"unknown keys in an embed: {sorted(embed)}")
    for key, value in embed.items():
        _need(value not in (None, "", [], {}), f"{key} is empty")
    for text in embed_texts(embed):
        _need(text.strip() != "", "a text is blank")
    for key, limit in (("title", 256), ("description", 4_096)):
        _need(_length(embed.get(key, "")) <= limit, f"{key} is too long")
    _need(_length(embed.get("footer", {}).get("text", "")) <= 2_048, "the footer is too long")
    fields = embed.get("fields", [])
    _need(len(fields) <= 25, "too many fields")
    for field in fields:
        _need(set(field) <= {"name", "value", "inline"}, "unknown keys in a field")
        _need(_length(field["name"]) <= 256 and _length(field["value"]) <= 1_024, "a field is too long")


def embed_texts(embed: dict[str, Any]) -> Iterator[str]:
    """Yield the texts that count towards the 6,000."""
    yield from (embed[key] for key in ("title", "description") if key in embed)
    yield from (embed[part][key] for part, key in (("footer", "text"), ("author", "name")) if part in embed)
    for field in embed.get("fields", []):
        yield from (field["name"], field["value"])


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _need(fits: bool, text: str) -> None:
    if not fits:
        raise Invalid(text)


def _fault(name: str, body: dict[str, Any]) -> str:
    error = next(_validator(name).iter_errors(body), None)
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" if error else ""


@cache
def _fault_of_buttons(name: str, buttons: str) -> str:
    """The same for the part that has so many forms that it takes most of the time, and mostly is the same."""
    return _fault(name, json.loads(buttons))


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(SHARED_SCHEMA.read_text())
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": schema["components"]})
