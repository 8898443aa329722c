"""Would Teams show this card? Judged by the published schema of Adaptive Cards, and by what a schema cannot say.

The schema is read where ``../shared/schemas`` is at hand. It does not know Teams' own part, `msteams`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.fakes.base import Invalid

SHARED_SCHEMA = Path(__file__).parents[2] / "../shared/schemas/adaptive-card-1.5.json"
MOST = 20_000
AT = re.compile(r"<\s*/?\s*at\b", re.IGNORECASE)


def check(body: dict[str, Any]) -> None:
    """Return if Teams would show `body`, else raise Invalid."""
    raw = json.dumps(body, allow_nan=False)
    json.dumps(body, ensure_ascii=False).encode()
    _need(len(raw) <= MOST, f"{len(raw)} bytes")
    _need(set(body) == {"type", "attachments"} and body["type"] == "message", "no message")
    (attachment,) = body["attachments"]
    _need(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "no card")
    _need(attachment["contentUrl"] is None, "a card with an address")
    card = dict(attachment["content"])
    teams = card.pop("msteams")
    _need(card["version"] in ("1.2", "1.3", "1.4", "1.5"), "a version that Teams does not show")
    if SHARED_SCHEMA.exists():
        error = next(_validator().iter_errors(card), None)
        _need(error is None, error.message[:200] if error else "")
    _check_texts(card)
    _check_mentions(card, teams)
    _need(len(card.get("actions", [])) <= 6, "too many buttons")


def elements(node: Any) -> Iterator[dict[str, Any]]:
    """Yield everything in a card that has a type."""
    if isinstance(node, list):
        for one in node:
            yield from elements(one)
    elif isinstance(node, dict):
        if "type" in node:
            yield node
        for value in node.values():
            yield from elements(value)


def _check_texts(card: dict[str, Any]) -> None:
    _need(bool(card["body"]), "an empty card")
    for one in elements(card):
        for key in ("text", "title", "url"):
            _need(one.get(key, "x") != "", f"an empty {key}")
        for key in ("inlines", "items"):
            _need(bool(one.get(key, "x")), f"no {key}")
        if one["type"] == "RichTextBlock":
            _need("".join(run["text"] for run in one["inlines"]).strip() != "", "a blank line")
        if "url" in one:
            _need(re.fullmatch(r"https?://[!-~]+", one["url"]) is not None, "a malformed address")
        if one["type"] == "TextRun":
            _need("\n" not in one["text"], "a text run with a line break")
            _need(not AT.search(one["text"]), "an <at> that no entity explains")


def _check_mentions(card: dict[str, Any], teams: dict[str, Any]) -> None:
    told = [text for one in elements(card) if one["type"] == "TextBlock" for text in _ats(one["text"])]
    known = [one["text"] for one in teams.get("entities", [])]
    _need(told == known and len(set(known)) == len(known), f"{told} is called, {known} are known")
    for one in teams.get("entities", []):
        _need(one["type"] == "mention" and one["text"] == f"<at>{one['mentioned']['name']}</at>", "another name")
        _need(bool(one["mentioned"]["id"]), "a mention of nobody")


def _ats(text: str) -> list[str]:
    return re.findall(r"<at>[^<]*</at>", text)


def _need(fits: bool, text: str) -> None:
    if not fits:
        raise Invalid(text)


@cache
def _validator() -> jsonschema.Draft6Validator:
    return jsonschema.Draft6Validator(json.loads(SHARED_SCHEMA.read_text()))
