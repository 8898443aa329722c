"""How does a message look in Mattermost, and how is a stranger's text written there?

The title is the message's text, in the words of notifications too; the rest is an attachment with the state's colour.
Mattermost reads Markdown in both, finds mentions in both, and links that are only an address. Incoming webhooks also
read Slack's forms (``<!channel>``, ``<address|text>``), before any Markdown: so no ``<`` and no ``|`` of a stranger is
ever sent as it is. An attachment's footer is plain text. Pure; never raises on any text.

https://developers.mattermost.com/integrate/reference/message-attachments/
https://docs.mattermost.com/end-user-guide/collaborate/format-messages.html
https://developers.mattermost.com/integrate/webhooks/incoming/#slack-compatibility
"""

from __future__ import annotations

import re
from typing import Any

from bridge.destinations import _own
from bridge.destinations._markdown import GAP, JOINER, Dialect, Room, body, facts, fitted, links, one_line, title
from bridge.message import Message, text_of

Json = dict[str, Any]

# A post takes 16,383 characters; a webhook's longer text would come as several posts.
TITLE, BODY, FACTS, LINKS, FOOTER = 1_500, 5_000, 2_000, 3_000, 300
OWN_TEXT, OWN_REST = 12_000, 14_000
MAX_MENTIONS = 20

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def build(message: Message) -> tuple[str, list[Json]]:
    """Return the text, and the attachments below it."""
    names = dict.fromkeys(one for one in message.mentions if _NAME.fullmatch(one))
    calls = [f"@{one}" for one in names][:MAX_MENTIONS]
    own, attachments = _of_template(message)
    text = " ".join([own or title(message.title, Room(TITLE), DIALECT), *calls])
    if own or attachments:
        return text, attachments
    attachment = _attachment(message)
    return text, [attachment] if attachment else []


def _attachment(message: Message) -> Json:
    below = (
        body(message.body, Room(BODY), DIALECT),
        facts(message.facts, Room(FACTS), DIALECT),
        links(message.buttons, Room(LINKS), DIALECT),
    )
    footer = fitted(one_line(text_of(message.footer)), FOOTER, _footer).strip()
    attachment = {
        "color": _colour(message),
        "text": "\n\n".join(part for part in below if part),
        "footer": footer,
    }
    kept = {key: value for key, value in attachment.items() if value}
    return kept if len(kept) > 1 else {}


def _colour(message: Message) -> str:
    return message.colour if _COLOUR.fullmatch(message.colour) else "#8b949e"


_TEXTS = {"fallback": 500, "pretext": 4_000, "author_name": 200, "title": 500, "text": 7_000, "footer": 300}
_LINKS = ("author_link", "author_icon", "title_link", "image_url", "thumb_url", "footer_icon")


def _of_template(message: Message) -> tuple[str, list[Json]]:
    """Return what a template's own JSON says: text and attachments, empty where there are none."""
    native = message.native or {}
    text = _own.text(native.get("text", native.get("message")), OWN_TEXT)
    return text, list(_own.attachments(native.get("attachments"), _TEXTS, _LINKS, _colour(message), OWN_REST))


def _footer(text: str) -> str:
    """Nothing is read in a footer; should a program do so all the same, it finds nothing."""
    return text.replace("@", f"@{GAP}").replace("<", f"<{JOINER}")


# -- a stranger's text

_MARKS = re.compile(r"([\\`*_~\[\]])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_PARTED = (
    (re.compile(r":(?=//)|:(?=[\w+-]+:)"), f":{JOINER}"),  # an address; the name of an emoji
    (re.compile(r"\b(www|mailto|tel)(?=[.:])", re.IGNORECASE), rf"\1{JOINER}"),
    (re.compile(r"#(?=[^\W\d_])"), f"#{JOINER}"),  # a hashtag
    (re.compile(r"~(?=\w)"), f"~{JOINER}"),  # a channel
)
_FIRST = re.compile(r"^([#>+=-]|\d+(?=[.)]))", re.MULTILINE)


def _text(text: str) -> str:
    """Return plain text as Markdown that shows it, line by line, and does nothing else."""
    return "\n".join(_line(one.strip()) if number else _line(one) for number, one in enumerate(text.split("\n")))


def _line(text: str) -> str:
    text = _ENTITY.sub("&amp;", text.replace("\t", " "))
    for pattern, instead in _PARTED:
        text = pattern.sub(instead, text)
    text = _MARKS.sub(r"\\\1", _FIRST.sub(rf"{JOINER}\1", text))
    return text.replace("@", f"@{GAP}").replace("<", "&lt;").replace("|", "&#124;")


def _code(text: str) -> str:
    """Return plain text for between backticks, where nothing can be escaped: it cannot end the code."""
    text = text.replace("`", "ˋ").replace("@", f"@{GAP}")
    return text.replace("<", "‹") if "|" in text or "<!" in text or "<@" in text else text


DIALECT = Dialect(text=_text, label=_line, code=_code, bold="**", italic="*", strike="~~")
