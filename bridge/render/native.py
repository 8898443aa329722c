"""Where may text of an event stand in a platform's own JSON, and how is it written there?

A JSON template (``slack/NAME.json.j2``) is filled with hidden text (`bridge.render.foreign`), parsed as JSON, and then
each of its strings is written out here for its place. In mrkdwn that is ``& < >`` as entities and look-alikes for the
characters that make bold and code, because Slack has no other escape; elsewhere it is the text itself.
https://docs.slack.dev/messaging/formatting-message-text

Also what the Slack destination itself uses for the same places. Never shortens (the destination does) and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bridge.codec import web_url
from bridge.render import native_discord, native_google_chat, native_mattermost, native_rocketchat, native_teams
from bridge.render.foreign import BASE, hide, reveal

JOINER = "\u2060"  # takes no room and no meaning, and parts what a parser would read together

_MENTION = re.compile(r"<(?=[!@#])")
_WORD = r"0-9A-Za-z\u00c0-\u024f"


def _at(char: str) -> str:
    """The hidden form of a character, for a regular expression."""
    return chr(BASE + ord(char))


# Slack reads formatting only at the borders of a word: my_repo needs nothing.
_BORDER_LINE = re.compile(rf"(?<![{_WORD}]){_at('_')}|{_at('_')}(?![{_WORD}])")
_QUOTE = re.compile(rf"^([ ]*){_at('>')}", re.MULTILINE)
_ADDRESS = re.compile(rf"{_at(':')}(?={_at('/')}{_at('/')})")
_GROUP = re.compile(rf"{_at('@')}(?=(?:here|channel|everyone|all)\b)", re.IGNORECASE)
_MRKDWN = str.maketrans(
    {
        _at("&"): "&amp;",
        _at("<"): "&lt;",
        _at(">"): "&gt;",
        _at("*"): "∗",
        _at("~"): "∼",
        _at("`"): "ˋ",
        _at("\n"): " ",
        _at("\t"): " ",
    }
)
# A link or mention that the template itself wrote.
_ANGLE = re.compile(r"<([^<>|\n]*)(?:\|([^<>\n]*))?>")


def mrkdwn(text: str) -> str:
    """Return hidden text within mrkdwn: what the template wrote keeps its meaning, what an event said has none."""
    parts = []
    end = 0
    for found in _ANGLE.finditer(text):
        parts += [_mrkdwn_text(text[end : found.start()]), _angle(found)]
        end = found.end()
    return "".join(parts) + _mrkdwn_text(text[end:])


def _mrkdwn_text(text: str) -> str:
    text = _BORDER_LINE.sub("ˍ", text)
    text = _QUOTE.sub(rf"\1{JOINER}{_at('>')}", text)
    text = _ADDRESS.sub(f":{JOINER}", text)  # else Slack makes a link of any address
    text = _GROUP.sub(f"@{JOINER}", text)
    return reveal(text.translate(_MRKDWN))


def _angle(found: re.Match[str]) -> str:
    target, label = found[1], found[2]
    if target == reveal(target) and not target.startswith(("http:", "https:")):
        return found[0] if label is None else f"<{target}|{_mrkdwn_text(label)}>"
    address = web_url(reveal(target))
    if address is None:
        return _mrkdwn_text(target if label is None else label)
    address = address.replace("&", "&amp;")
    return f"<{address}>" if label is None else f"<{address}|{_mrkdwn_text(label).replace('|', '¦')}>"


def escaped(text: str) -> str:
    """Return plain text for a place where Slack reads mrkdwn: on one line, without any effect."""
    return mrkdwn(hide(text))


def shown(text: str) -> str:
    """Return plain text for a place where nothing is read: not even a second reading finds a mention."""
    return _MENTION.sub("<" + JOINER, text)


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>=])")


def _markdown(text: str) -> str:
    """Return hidden text within Slack's ``markdown`` block, which reads all of Markdown."""
    return re.sub(
        "[\ue000-\ue07f]",
        lambda found: _MARKDOWN.sub(
            r"\\\1", reveal(found[0]).replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
        ),
        text,
    )


_URLS = frozenset({"url", "image_url", "title_link", "author_link", "thumb_url", "from_url", "video_url", "title_url"})
_NEEDS_URL = frozenset({"link", "image", "video"})
_ATTACHMENT_TEXTS = frozenset({"text", "pretext", "fallback", "title", "value", "footer", "author_name"})


def slack(tree: dict[str, Any], url: str | None) -> dict[str, Any]:
    """Return a filled Slack message with each text written for its place.

    An address that is none is replaced by `url`, the event's page; where there is none, it is left out, with the
    element that cannot be without it.
    """
    return {key: _slack(value, key, {"type": "message"}, url) for key, value in tree.items()}


def _slack(value: Any, key: str, parent: dict[str, Any], url: str | None) -> Any:
    if isinstance(value, str):
        return _slack_text(value, key, parent)
    if isinstance(value, list):
        # Within a list, what counts is what the list is: "attachments", "blocks", "fields".
        placed = [_slack(one, key, parent, url) for one in value]
        return [one for one in placed if one is not None]
    if not isinstance(value, dict):
        return value
    kind = value.get("type") or ("message" if key in ("attachments", "fields") else "")
    inside = {"type": kind}
    placed_keys = {name: _slack(one, name, inside, url) for name, one in value.items() if name not in _URLS}
    for name in _URLS & value.keys():
        address = web_url(reveal(value[name])) if isinstance(value[name], str) else None
        address = address or url
        if address:
            placed_keys[name] = address
        elif kind in _NEEDS_URL:
            return None
    return placed_keys


def _slack_text(value: str, key: str, parent: dict[str, Any]) -> str:
    match parent["type"], key:
        case ("mrkdwn", "text") | ("message", "text"):
            return mrkdwn(value)
        case "markdown", "text":
            return _markdown(value)
        case "message", _ if key in _ATTACHMENT_TEXTS:
            return mrkdwn(value)
    return shown(reveal(value))


PLATFORMS: dict[str, Callable[[dict[str, Any], str | None], dict[str, Any]]] = {
    "slack": slack,
    "discord": native_discord.discord,
    "google_chat": native_google_chat.google_chat,
    "mattermost": native_mattermost.mattermost,
    "rocketchat": native_rocketchat.rocketchat,
    "teams": native_teams.teams,
}
"""The platforms whose own JSON a template may write."""
