"""What of a template's own JSON is sent? Its shape is kept; what is empty is left out, and so is what has no room.

Texts were written for their places before (`bridge.render.native`): here they are only cut, and cleared of characters
that cannot be sent. Which parts are empty without which key is each chat's own. Pure; never raises on any JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bridge.message import shorten

Json = dict[str, Any]

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def listed(value: Any) -> list[Json]:
    """Return the objects of a list; none, where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: Any, limit: int) -> str:
    """Return a text that can be sent, in at most so many characters; empty where it is none."""
    if not isinstance(value, str):
        return ""
    return shorten(_CONTROL.sub("", value), limit).strip()


def sound(node: Any, keep: Callable[[Json], bool], limit: int = 4_000) -> Any:
    """Return a part of the tree without the objects that `keep` does not want, nor the lists that they leave empty."""
    if isinstance(node, str):
        return text(node, limit)
    if isinstance(node, list):
        return [one for one in (sound(one, keep, limit) for one in node) if one not in (None, "", [], {})]
    if not isinstance(node, dict):
        return node
    kept = {key: sound(value, keep, limit) for key, value in node.items()}
    kept = {key: value for key, value in kept.items() if value not in (None, [], {})}
    return kept if keep(kept) else None


def fitting(parts: Iterable[Json], limit: int) -> Iterator[Json]:
    """Yield the parts from the first on that have room in so many bytes of JSON."""
    for part in parts:
        limit -= len(json.dumps(part)) + 2
        if limit < 0:
            return
        yield part


def attachments(given: Any, texts: Mapping[str, int], links: Iterable[str], colour: str, limit: int) -> Iterator[Json]:
    """Yield attachments, as several chats know them: their known texts, links and fields, in so many characters."""
    for one in listed(given)[:10]:
        kept: Json = {key: said for key, most in texts.items() if (said := text(one.get(key), min(most, limit)))}
        kept |= {key: address for key in links if (address := text(one.get(key), 2_000))}
        fields = [
            {"title": text(field.get("title"), 200), "value": said, "short": field.get("short") is True}
            for field in listed(one.get("fields"))[:20]
            if (said := text(field.get("value"), 1_000))
        ]
        kept |= {"fields": fields} if fields else {}
        limit -= len(json.dumps(kept, ensure_ascii=False))
        if not kept or limit < 0:
            continue
        own = one.get("color")
        known = isinstance(own, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", own)
        yield {"color": own if known else colour} | kept
