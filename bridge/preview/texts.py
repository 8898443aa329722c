"""What do chats show of messages that are one text? And what mail, and programs?

Never raises on what `payload` of these destinations returns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from bridge.preview.marks import markdown, short
from bridge.preview.markup import html
from bridge.preview.shown import Line, Names, Part, Piece, Shown, buttons, words

Json = dict[str, Any]


def _who(prefix: str, names: Names) -> Any:
    return lambda address: names(unquote(address[len(prefix) :])) if address.startswith(prefix) else None


def telegram(body: Json, names: Names) -> Shown:
    lines = html(body["text"], _who("tg://user?id=", names), newlines=True)
    rows = body.get("reply_markup", {}).get("inline_keyboard", ())
    keys = [line for row in rows for line in buttons((one["text"], one["url"]) for one in row)]
    return (Part(lines), *((Part(tuple(keys)),) if keys else ()))


def matrix(body: Json, names: Names) -> Shown:
    return (Part(html(body["formatted_body"], _who("https://matrix.to/#/", names))),)


_ZULIP_CALL = re.compile(r"@\*\*(?:[^*|]*\|)?(?P<who>[^*|]+)\*\*")


def zulip(body: Json, names: Names) -> Shown:
    where = words(f"{body['to']} > {body['topic']}", "small") if "topic" in body else ()
    return (*((Part(where),) if where else ()), Part(markdown(body["content"], _ZULIP_CALL, names)))


_WEBEX_CALL = re.compile(r"<@(?:personEmail|personId):(?P<who>[^|>]+)(?:\|[^>]*)?>")


def webex(body: Json, names: Names) -> Shown:
    return (Part(markdown(body["markdown"], _WEBEX_CALL, names)),)


_AT = re.compile(r"(?<![\w@])@(?P<who>[A-Za-z0-9][\w.-]*)")


def mattermost(body: Json, names: Names) -> Shown:
    below = body["props"]["attachments"] if "props" in body else body.get("attachments", ())
    text = body["message"] if "message" in body else body["text"]
    return (Part(markdown(text, _AT, names)), *(_attachment(one, names) for one in below))


def _attachment(one: Json, names: Names) -> Part:
    lines = [*markdown(one.get("pretext", ""), _AT, names)]
    if one.get("title"):
        lines.append(Line((Piece(one["title"], bold=True, link=one.get("title_link")),), "heading"))
    lines += markdown(one.get("text", ""), _AT, names)
    for field in one.get("fields", ()):
        value = [piece for line in markdown(str(field.get("value", "")), _AT, names) for piece in line.pieces]
        lines.append(Line((Piece(str(field.get("title", "")), bold=True), *value), "field"))
    return Part((*lines, *words(one.get("footer", ""), "small")), colour=one.get("color"))


def rocketchat(body: Json, names: Names) -> Shown:
    above = Part(short(body["msg"] if "msg" in body else body["text"], _AT, names))
    return (above, *(_rocket_attachment(one, names) for one in body.get("attachments", ())))


def _rocket_attachment(one: Json, names: Names) -> Part:
    lines = []
    if one.get("title"):
        lines.append(Line((Piece(one["title"], bold=True, link=one.get("title_link")),), "heading"))
    lines += short(one.get("text", ""), _AT, names)
    for field in one.get("fields", ()):
        value = [piece for line in short(str(field.get("value", "")), _AT, names) for piece in line.pieces]
        lines.append(Line((Piece(str(field.get("title", "")), bold=True), *value), "field"))
    return Part(tuple(lines), colour=one.get("color"))


def email(body: Json, names: Names) -> Shown:
    called = [Piece(f"@{names(one)}", calls=names(one)) for one in body.get("cc", ())]
    copies = Line((Piece("Cc: "), *_parted(called)), "small")
    head = (*words(body["subject"], "heading"), *words(f"To: {', '.join(body['to'])}", "small"))
    return (Part((*head, *((copies,) if called else ()))), Part(html(body["html"]), colour=_border(body["html"])))


def _parted(pieces: list[Piece]) -> Iterator[Piece]:
    for number, one in enumerate(pieces):
        yield from (Piece(", "), one) if number else (one,)


def _border(text: str) -> str | None:
    found = re.search(r"border-left:4px solid (#[0-9a-fA-F]{6})", text)
    return found[1] if found else None


def apprise(body: Json, names: Names) -> Shown:
    lines = [*words(body["body"])]
    return (Part((*words(body.get("title", ""), "heading"), *lines)),)


def program(body: Json, names: Names) -> Shown:
    """A webhook's receiver is a program: it is shown what it gets."""
    return (Part(words(json.dumps(body, ensure_ascii=False, indent=2), "code")),)
