"""How does Slack read a message: what has a form, whom does it call, where does it lead?

In rich text all of that is structure; `text`, which notifications show, is mrkdwn.
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.fakes.slack_validator import nodes, texts

STRANGE = ("<!date^1700000000^{date}|x>", "<mailto:a@evil.example|x>", "&lt;!here&gt;", ":wave:", "<slack://x|x>")
_MARKS = re.compile(r"[<>*~`\n]|(?<![^\W_])_|_(?![^\W_])|&(?!(?:amp|lt|gt);)|://")
_CALLS = {"user": "user_id", "usergroup": "usergroup_id", "broadcast": "range", "channel": "channel_id"}


def form(node: Any) -> Any:
    """A message without its words: what is bold, a link, a mention, a list."""
    if isinstance(node, list):
        return [form(one) for one in node]
    if isinstance(node, dict):
        return {
            key: form(value)
            for key, value in node.items()
            if key not in ("text", "fallback") or not isinstance(value, str)
        }
    return node


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {*_of_structure(body), *_of_mrkdwn(body["text"]), *_of_second_reading(body)}


def _of_structure(body: dict[str, Any]) -> Iterator[str]:
    for node in nodes(body):
        kind = node.get("type")
        if kind in _CALLS:
            yield f"calls {node[_CALLS[kind]]}"
        if kind in ("mrkdwn", "markdown") or {"link_names", "parse"} & node.keys():
            yield f"reads {kind or 'names'}"
        if "url" in node:
            yield f"leads to {node['url']}"


def _of_mrkdwn(text: str) -> Iterator[str]:
    yield from (f"calls {one}" for one in re.findall(r"<[@!#][^>]*>", text))
    yield from (f"form {one}" for one in _MARKS.findall(re.sub(r"<[@!#][^>]*>", "", text)))


def _of_second_reading(body: dict[str, Any]) -> Iterator[str]:
    """What a program that reads plain text as mrkdwn would find."""
    for text in texts({**body, "text": ""}):
        yield from (f"second reading {one}" for one in re.findall(r"<[!@#]", text))
