"""Would Slack take this message? Judged by somebody else's knowledge of Block Kit.

Each block is built anew with PyPI's ``slackblocks``, whose constructors know lengths, counts and required fields, and
what they make of it must be what was sent: so an unknown key or a wrong type is found too. Where
``../shared/schemas/slack-limits.json`` is at hand, the lengths are also compared with that list.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import slackblocks as kit
from slackblocks._surfaces import validate_surface_blocks

from tests.fakes.base import Invalid

SHARED_LIMITS = Path(__file__).parents[2] / "../shared/schemas/slack-limits.json"
WHOLE_MESSAGE = 12_000  # Slack breaks off somewhere above 13,000
_TOP = frozenset("channel ts thread_ts text blocks attachments unfurl_links unfurl_media metadata".split())


def check(body: Any, *, update: bool = False) -> None:
    """Return if Slack would take `body`, else raise Invalid."""
    try:
        _check(body, update)
    except (kit.InvalidUsageError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise Invalid(f"{type(error).__name__}: {error}") from None


def _check(body: dict[str, Any], update: bool) -> None:
    _need(set(body) <= _TOP, f"unknown keys {sorted(set(body) - _TOP)}")
    text = body["text"]
    _need(isinstance(text, str) and text.strip() != "", "no text")
    _need(len(text) <= (4_000 if update else 40_000), "the text is too long")
    blocks = [_block(block) for block in body.get("blocks", [])]
    attachments = [_attachment(one) for one in body.get("attachments", [])]
    kit.Message(channel="C1", text=text, blocks=blocks or None, attachments=attachments or None)
    for attachment in attachments:
        _need(len(attachment.blocks) <= 50, "more than 50 blocks in an attachment")
        validate_surface_blocks(list(attachment.blocks), "message")
    _need(not _twice(body, "block_id"), "a block_id is used twice")
    total = sum(len(one) for one in texts(body))
    _need(total <= WHOLE_MESSAGE, f"{total} characters altogether")
    json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    _shared_limits(body)


def _need(fits: bool, text: str) -> None:
    if not fits:
        raise Invalid(text)


def texts(node: Any) -> Iterator[str]:
    """Yield every text that a reader sees."""
    if isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str) and key in ("text", "fallback", "alt_text", "title"):
                yield value
            else:
                yield from texts(value)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a message."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(value)


def _twice(body: Any, key: str) -> bool:
    counted = Counter(node[key] for node in nodes(body) if key in node)
    return any(count > 1 for count in counted.values())


# -- one object of theirs for each of ours


def _attachment(node: dict[str, Any]) -> kit.Attachment:
    node = dict(node)
    built = kit.Attachment(
        blocks=[_block(block) for block in node.pop("blocks")],
        color=node.pop("color", None),
        fallback=node.pop("fallback", None),
    )
    _need(not node, f"attachment: unknown keys {sorted(node)}")
    return built


def _block(node: dict[str, Any]) -> kit.Block:
    _need(not any(text == "" for text in texts(node)), "an empty text")
    _need(node.get("elements") != [], "no elements")
    made = _build(node)
    again = made.to_dict() if hasattr(made, "to_dict") else json.loads(str(made))
    if "block_id" not in node:
        again.pop("block_id", None)
    _need(_bare(again) == _bare(node), f"{node.get('type')}: not what slackblocks makes of it")
    return made


def _bare(node: Any) -> Any:
    """Without what one of the two sides leaves to the default."""
    if isinstance(node, list):
        return [_bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    default = {"emoji": False, "verbatim": False, "offset": 0, "border": 0, "indent": 0}
    return {key: _bare(value) for key, value in node.items() if not (key in default and value == default[key])}


def _build(node: dict[str, Any]) -> Any:
    common = {"block_id": node["block_id"]} if "block_id" in node else {}
    match node["type"]:
        case "rich_text":
            return kit.RichTextBlock([_rich(one) for one in node["elements"]], **common)
        case "context":
            return kit.ContextBlock([_small(one) for one in node["elements"]], **common)
        case "actions":
            ids = [one.get("action_id") for one in node["elements"]]
            _need(len(set(ids)) == len(ids), "an action_id is used twice")
            return kit.ActionsBlock([_small(one) for one in node["elements"]], **common)
        case "section":
            fields = [_small(one) for one in node["fields"]] if "fields" in node else None
            text = _small(node["text"]) if "text" in node else None
            accessory = _small(node["accessory"]) if "accessory" in node else None
            return kit.SectionBlock(text, fields=fields, accessory=accessory, **common)
        case "header":
            _need(node["text"]["type"] == "plain_text", "a header is plain_text")
            return kit.HeaderBlock(_small(node["text"]), **common)
        case "divider":
            return kit.DividerBlock(**common)
        case "image":
            title = _small(node["title"]) if "title" in node else None
            return kit.ImageBlock(image_url=node["image_url"], alt_text=node["alt_text"], title=title, **common)
    raise Invalid(f"no block {node['type']!r} is known here")


def _small(node: dict[str, Any]) -> Any:
    """An element or a text."""
    match node["type"]:
        case "plain_text":
            return kit.PlainText(node["text"], emoji=node.get("emoji", False))
        case "mrkdwn":
            return kit.Markdown(node["text"], verbatim=node.get("verbatim", False))
        case "image":
            return kit.Image(alt_text=node["alt_text"], image_url=node["image_url"])
        case "button":
            given = {key: node[key] for key in ("action_id", "url", "value", "style") if key in node}
            _need(node["text"]["type"] == "plain_text", "a button's text is plain_text")
            return kit.Button(_small(node["text"]), **given)
    raise Invalid(f"no element {node['type']!r} is known here")


def _rich(node: dict[str, Any]) -> Any:
    match node["type"]:
        case "rich_text_section":
            return kit.RichTextSection([_piece(one) for one in node["elements"]])
        case "rich_text_list":
            given = {key: node[key] for key in ("indent", "offset", "border") if key in node}
            return kit.RichTextList(node["style"], [_rich(one) for one in node["elements"]], **given)
        case "rich_text_quote":
            return kit.RichTextQuote([_piece(one) for one in node["elements"]])
        case "rich_text_preformatted":
            return kit.RichTextCodeBlock([_piece(one) for one in node["elements"]])
    raise Invalid(f"no rich text {node['type']!r} is known here")


def _piece(node: dict[str, Any]) -> Any:
    style = node.get("style", {})
    _need("style" not in node or bool(style), "an empty style")
    match node["type"]:
        case "text":
            return kit.RichText(node["text"], **style)
        case "link":
            return kit.RichTextLink(node["url"], text=node.get("text"), **style)
        case "user":
            return kit.RichTextUser(node["user_id"], **style)
        case "usergroup":
            return kit.RichTextUserGroup(node["usergroup_id"], **style)
    raise Invalid(f"no piece {node['type']!r} is known here")


# -- the list of limits, where it is at hand


@cache
def _limits() -> dict[str, Any]:
    return json.loads(SHARED_LIMITS.read_text()) if SHARED_LIMITS.exists() else {}


def _shared_limits(body: dict[str, Any]) -> None:
    limits = _limits()
    for node in nodes(body) if limits else ():
        kind = node.get("type")
        if kind in ("mrkdwn", "plain_text"):
            _need(len(node["text"]) <= limits["text"]["max_length"], "a text is too long")
        if kind == "button":
            _need(len(node["text"]["text"]) <= limits["button"]["text"]["max_length"], "a button's text is too long")
            _need(len(node.get("url", "")) <= limits["button"]["url"]["max_length"], "a button's url is too long")
        if kind in ("context", "actions"):
            _need(len(node["elements"]) <= limits[kind]["elements"]["max_items"], f"too many elements in {kind}")
        if kind == "header":
            _need(len(node["text"]["text"]) <= limits["header"]["text"]["max_length"], "a header is too long")
        if kind == "section" and "text" in node:
            _need(len(node["text"]["text"]) <= limits["section"]["text"]["max_length"], "a section is too long")
        for field in node.get("fields", ()) if kind == "section" else ():
            _need(len(field["text"]) <= limits["section"]["fields"]["item_max_length"], "a field is too long")
