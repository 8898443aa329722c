"""What do chats show of messages that are a tree: Slack's blocks, Discord's embeds, cards of Teams and Google?

What bridge sends, and what a template of one's own commonly holds; of an element that is not known here its type is
shown. Never raises on what `payload` of these destinations returns.

https://docs.slack.dev/reference/block-kit/blocks
https://docs.discord.com/developers/resources/message#embed-object
https://adaptivecards.io/explorer/
https://developers.google.com/workspace/chat/api/reference/rest/v1/cards
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from bridge.preview.marks import markdown, short
from bridge.preview.markup import html
from bridge.preview.shown import Line, Names, Part, Piece, Shown, buttons, split, words

Json = dict[str, Any]
Calls = re.Pattern[str] | None


def _unknown(kind: Any) -> tuple[Line, ...]:
    return words(f"({kind})", "small")


# -- Slack

_SLACK_CALL = re.compile(r"<[@!](?:subteam\^)?(?P<who>[A-Za-z0-9]+)(?:\|[^>\n]*)?>")
_STYLES = ("bold", "italic", "strike", "code")


def slack(body: Json, names: Names) -> Shown:
    above = [line for block in body.get("blocks", ()) for line in _slack_block(block, names)]
    if not above:
        above = list(short(body.get("text", ""), _SLACK_CALL, names, entities=True))
    below = (_slack_attachment(one, names) for one in body.get("attachments", ()))
    return (Part(tuple(above)), *below)


def _slack_attachment(one: Json, names: Names) -> Part:
    lines = [line for block in one.get("blocks", ()) for line in _slack_block(block, names)]
    for key, kind in (("pretext", "text"), ("title", "heading"), ("text", "text"), ("footer", "small")):
        lines += [replace(line, kind=kind) for line in short(one.get(key, ""), _SLACK_CALL, names, entities=True)]
    return Part(tuple(lines), colour=one.get("color"))


def _slack_block(block: Json, names: Names) -> Iterable[Line]:
    match block.get("type"):
        case "rich_text":
            return [line for one in block["elements"] for line in _slack_rich(one, names)]
        case "section":
            texts = [block["text"]] if "text" in block else []
            return [line for one in (*texts, *block.get("fields", ())) for line in _slack_text(one, names)]
        case "header":
            return [replace(line, kind="heading") for line in _slack_text(block["text"], names)]
        case "context":
            lines = [line for one in block["elements"] for line in _slack_text(one, names)]
            return [replace(line, kind="small") for line in lines]
        case "actions":
            return buttons((one["text"]["text"], one.get("url", "")) for one in block["elements"] if "text" in one)
        case "divider":
            return (Line((), "gap"),)
        case kind:
            return _unknown(kind)


def _slack_text(one: Json, names: Names) -> tuple[Line, ...]:
    if one.get("type") == "mrkdwn":
        return short(one["text"], _SLACK_CALL, names, entities=True)
    return words(one["text"]) if isinstance(one.get("text"), str) else _unknown(one.get("type"))


def _slack_rich(part: Json, names: Names) -> Iterator[Line]:
    match part.get("type"):
        case "rich_text_section":
            yield from split(_slack_pieces(part["elements"], names))
        case "rich_text_quote":
            yield from split(_slack_pieces(part["elements"], names), "quote")
        case "rich_text_preformatted":
            code = (replace(one, code=True) for one in _slack_pieces(part["elements"], names))
            yield from split(code, "code")
        case "rich_text_list":
            for number, item in enumerate(part["elements"], 1):
                mark = f"{number}." if part.get("style") == "ordered" else "•"
                yield from split(_slack_pieces(item["elements"], names), "item", mark)
        case kind:
            yield from _unknown(kind)


def _slack_pieces(elements: Iterable[Json], names: Names) -> Iterator[Piece]:
    for one in elements:
        style: dict[str, Any] = {name: True for name in _STYLES if one.get("style", {}).get(name)}
        match one.get("type"):
            case "text":
                yield Piece(one["text"], **style)
            case "link":
                yield Piece(one.get("text") or one["url"], link=one["url"], **style)
            case "user" | "usergroup":
                name = names(one.get("user_id") or one.get("usergroup_id", ""))
                yield Piece(f"@{name}", calls=name)
            case kind:
                yield Piece(f":{one.get('name', kind)}:", **style)


# -- Discord

_DISCORD_CALL = re.compile(r"<@[!&]?(?P<who>\d+)>")


def discord(body: Json, names: Names) -> Shown:
    above = (Part(markdown(body["content"], _DISCORD_CALL, names)),) if body.get("content") else ()
    links = [one for row in body.get("components", ()) for one in row.get("components", ())]
    below = buttons((one.get("label", ""), one.get("url", "")) for one in links)
    embeds = (_discord_embed(one, names) for one in body.get("embeds", ()))
    return (*above, *embeds, *((Part(below),) if below else ()))


def _discord_embed(one: Json, names: Names) -> Part:
    lines = [*words(one.get("author", {}).get("name", ""), "small")]
    if one.get("title"):
        lines.append(Line((Piece(_bare(one["title"]), bold=True, link=one.get("url")),), "heading"))
    lines += markdown(one.get("description", ""), None, names)
    for field in one.get("fields", ()):
        value = [piece for line in markdown(field["value"], None, names) for piece in line.pieces]
        lines.append(Line((Piece(_bare(field["name"]), bold=True), *value), "field"))
    lines += words(_bare(one.get("footer", {}).get("text", "")), "small")
    return Part(tuple(lines), colour=f"#{one.get('color', 0):06x}")


def _bare(text: str) -> str:
    return re.sub("[\u200b\u2060]", "", text)


# -- Teams


def teams(body: Json, names: Names) -> Shown:
    card = body["attachments"][0]["content"]
    known = {one["mentioned"]["name"]: one["mentioned"]["id"] for one in card.get("msteams", {}).get("entities", ())}
    # A name calls only with its entity.
    calls = re.compile(rf"<at>(?P<who>{'|'.join(map(re.escape, known))})</at>") if known else None
    parts = [_teams_part(one, calls, lambda shown: names(known[shown])) for one in card.get("body", ())]
    below = buttons((one.get("title", ""), one.get("url", "")) for one in card.get("actions", ()))
    return (*_joined(parts), *((Part(below),) if below else ()))


def _joined(parts: list[Part]) -> Iterator[Part]:
    """Yield the parts, those that look alike as one."""
    for place, part in enumerate(parts):
        if place and part.tint == parts[place - 1].tint:
            continue
        alike: list[Line] = []
        for one in parts[place:]:
            if one.tint != part.tint:
                break
            alike += one.lines
        yield replace(part, lines=tuple(alike))


def _teams_part(element: Json, calls: Calls, name: Names) -> Part:
    if element.get("type") == "Container":
        lines = [line for one in element["items"] for line in _teams_lines(one, calls, name)]
        return Part(tuple(lines), tint=element.get("style", "default"))
    return Part(tuple(_teams_lines(element, calls, name)))


def _teams_lines(element: Json, calls: Calls, name: Names) -> Iterable[Line]:
    match element.get("type"):
        case "TextBlock":
            return [_looking(line, element) for line in markdown(element["text"], calls, name)]
        case "RichTextBlock":
            runs = element["inlines"]
            kind = "small" if runs and all(isinstance(one, dict) and one.get("isSubtle") for one in runs) else "text"
            if all(isinstance(one, dict) and one.get("fontType") == "Monospace" for one in runs):
                kind = "code"
            large = any(isinstance(one, dict) and one.get("size") in ("Medium", "Large") for one in runs)
            return split(map(_run, runs), "heading" if large else kind)
        case "FactSet":
            return [
                Line(
                    (
                        Piece(f"{one['title']} ", bold=True),
                        *(p for line in markdown(one["value"], None, name) for p in line.pieces),
                    )
                )
                for one in element["facts"]
            ]
        case "Container" | "Column":
            return [line for one in element.get("items", ()) for line in _teams_lines(one, calls, name)]
        case "ColumnSet":
            return [line for one in element["columns"] for line in _teams_lines(one, calls, name)]
        case "ActionSet":
            return buttons((one.get("title", ""), one.get("url", "")) for one in element["actions"])
        case kind:
            return _unknown(kind)


def _looking(line: Line, element: Json) -> Line:
    bold = element.get("weight") == "Bolder"
    kind = (
        "small" if element.get("isSubtle") else "heading" if element.get("size") in ("Medium", "Large") else line.kind
    )
    return replace(line, kind=kind, pieces=tuple(replace(one, bold=one.bold or bold) for one in line.pieces))


def _run(run: Any) -> Piece:
    if isinstance(run, str):
        return Piece(run)
    return Piece(
        _bare(run["text"]),
        bold=run.get("weight") == "Bolder",
        italic=run.get("italic") is True,
        strike=run.get("strikethrough") is True,
        code=run.get("fontType") == "Monospace",
        link=run.get("selectAction", {}).get("url"),
    )


# -- Google Chat

_GOOGLE_CALL = re.compile(r"<users/(?P<who>\w+)>")


def google_chat(body: Json, names: Names) -> Shown:
    above = (Part(short(body["text"], _GOOGLE_CALL, names)),) if body.get("text") else ()
    return (*above, *(_google_card(one["card"]) for one in body.get("cardsV2", ()) if one.get("card")))


def _google_card(card: Json) -> Part:
    head = card.get("header", {})
    lines = [*words(head.get("title", ""), "heading"), *words(head.get("subtitle", ""), "small")]
    for section in card.get("sections", ()):
        lines += html(section.get("header", ""))
        for widget in section.get("widgets", ()):
            lines += [Line((), "gap"), *_google_widget(widget)] if lines else _google_widget(widget)
    return Part(tuple(lines), tint="card")


def _google_widget(widget: Json) -> Iterable[Line]:
    kind, one = next(iter(widget.items()))
    match kind:
        case "textParagraph":
            return html(one["text"])
        case "decoratedText":
            label = words(_bare(one.get("topLabel", "")), "small")
            return (*label, *html(one["text"]), *words(_bare(one.get("bottomLabel", "")), "small"))
        case "buttonList":
            return buttons((button.get("text", ""), _leads_to(button)) for button in one["buttons"])
        case "divider":
            return ()
        case _:
            return _unknown(kind)


def _leads_to(button: Json) -> str:
    return str(button.get("onClick", {}).get("openLink", {}).get("url", ""))
