"""Where may text of an event stand in a message of Rocket.Chat, and how is it written there?

Marks, mentions and hosts are found in nearly every text, and there is no escape: so each is written as if they were.
``<address|words>``, which is read as well, is nothing that a template needs.

https://docs.rocket.chat/docs/rich-messaging-features
"""

from __future__ import annotations

from bridge.render.native_text import JOINER, Json, marked, placed

_ADDRESSES = frozenset({"title_link", "author_link", "author_icon", "image_url", "thumb_url", "message_link"})


def rocketchat(tree: Json, url: str | None) -> Json:
    """Return a filled message with each text written for its place."""
    return placed(tree, _written, _ADDRESSES, url) or {}


def _written(text: str, key: str, parent: Json) -> str:
    return text if key == "color" else marked(text).replace("<", f"<{JOINER}")
