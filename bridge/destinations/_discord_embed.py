"""How does a message look as Discord's JSON, within every limit?

One embed with the state's colour: title, text, facts as fields, footer; link buttons below. `content` holds nothing but
the mentions, for those in an embed notify nobody, and `allowed_mentions` names exactly them. What an event said is
escaped for its place (`bridge.render.native_discord`). Too long is shortened, never refused. Pure; never raises on any
text.

https://docs.discord.com/developers/resources/message#embed-object
https://docs.discord.com/developers/components/reference#button
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from bridge.codec import web_url
from bridge.message import Block, Bullets, Button, Code, Heading, Message, Quote, Span, Spans, shorten, text_of
from bridge.render import native_discord as write

Json = dict[str, Any]

# Discord counts 6,000 over all of an embed's texts; ours are parts of that, with some left for "and 3 more".
TITLE, BODY, FIELDS, FOOTER = 256, 3_100, 2_000, 500
WHOLE, CONTENT, DESCRIPTION, FIELD_NAME, FIELD_VALUE, BUTTON = 6_000, 2_000, 4_096, 256, 1_024, 80
MAX_EMBEDS, MAX_FIELDS, MAX_BUTTONS, MAX_MENTIONS, MAX_ITEMS = 10, 25, 5, 20, 40
LONGEST_URL, LONGEST_BUTTON_URL = 2_000, 512
INLINE = 40  # longer facts have a line of their own
NOTHING = write.GAP  # where something must stand and nothing is to be said

_ID = re.compile(r"&?[1-9][0-9]{0,19}")
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")
_GREY = 0x8B949E
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def build(message: Message) -> Json:
    """Return ``embeds``, ``components``, ``allowed_mentions`` and, where there are any, ``content``."""
    people = _mentions(message)
    calls = " ".join(f"<@{one}>" for one in people)
    own = _native(message, CONTENT - len(calls) - 1)
    body = own or {"embeds": [_embed(message)], "components": _components(message.buttons)}
    content = " ".join(text for text in (body.pop("content", ""), calls) if text)
    return {**({"content": content} if content else {}), **body, "allowed_mentions": _allowed(people)}


def _mentions(message: Message) -> list[str]:
    """The ids that Discord can mention, each once: a person's digits, a role's after an ``&``."""
    return list(dict.fromkeys(one for one in message.mentions if _ID.fullmatch(one)))[:MAX_MENTIONS]


def _allowed(people: list[str]) -> Json:
    """Whom the message may notify. Without `parse: []` Discord would look for mentions in every text."""
    return {
        "parse": [],
        "users": [one for one in people if not one.startswith("&")],
        "roles": [one[1:] for one in people if one.startswith("&")],
    }


def _embed(message: Message) -> Json:
    title = fitted(_one_line(text_of(message.title)), TITLE, write.plain).strip() or "(no text)"
    parts: Json = {
        "title": title,
        "url": next((span.link for span in message.title if _is_safe(span.link, LONGEST_URL)), None),
        "description": _description(message),
        "color": _colour(message),
        "fields": _fields(message.facts),
        "footer": _footer(message.footer),
    }
    return {key: value for key, value in parts.items() if value not in (None, "", [])}


def _colour(message: Message) -> int:
    found = _COLOUR.fullmatch(message.colour)
    return int(found[1], 16) if found else _GREY


def _is_safe(address: str | None, longest: int) -> bool:
    """Return whether Discord takes an address for well-formed. It refuses the whole message for http://ci/run/1."""
    known = web_url(address)
    return bool(known and known.isascii() and len(known) <= longest and re.match(r"https?://[^/?#]*\w\.\w", known))


def _footer(spans: Spans) -> Json | None:
    text = fitted(_one_line(text_of(spans)), FOOTER, write.shown).strip()
    return {"text": text} if text else None


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", _clean(text)).strip()


def _clean(text: str) -> str:
    """Return the text without characters that Discord drops or that turn the order of a line."""
    return _CONTROL.sub("", text)


def units(text: str) -> int:
    """Return how long a text is at most, by any way of counting."""
    return len(text.encode("utf-16-le", "replace")) // 2


def fitted(text: str, limit: int, written: Callable[[str], str]) -> str:
    """Return what `written` makes of as much of `text` as fits: what is cut is the text, never the markup."""
    keep = limit
    while keep > 0:
        whole = written(shorten(text, keep))
        over = units(whole) - limit
        if over <= 0:
            return whole
        keep = min(keep, units(text)) - max(1, over // 2)
    return ""


# -- Markdown


_MARKS = frozenset("*~`")


class _Room:
    """What is left for a part of the message."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, text: str, written: Callable[[str], str]) -> str:
        whole = fitted(text, self.left, written)
        self.left -= units(whole)
        return whole


def _line(spans: Spans, room: _Room, newline: str = "\n") -> str:
    """Return the spans as Markdown, each line after the first behind `newline`."""
    whole = ""
    for span in spans:
        piece = _piece(span, room, newline)
        # Marks of two neighbours must not become one mark.
        apart = write.JOINER if whole[-1:] in _MARKS and piece[:1] in _MARKS else ""
        whole += apart + piece
    return whole


def _piece(span: Span, room: _Room, newline: str) -> str:
    if room.left <= 0:
        return ""
    address = web_url(span.link)
    if address and len(address) > room.left // 2:
        address = None
    text = re.sub(r"[ \t]*\n\s*", "\n", _clean(span.text[: 4 * room.left]))
    marks = "".join(mark for mark, wanted in (("**", span.bold), ("*", span.italic), ("~~", span.strike)) if wanted)

    def written(part: str) -> str:
        core = part.strip()
        if not core:
            return part.replace("\n", newline)
        before, after = part[: part.index(core)], part[part.index(core) + len(core) :]
        return (before + _marked(core, marks, span.code, address) + after).replace("\n", newline)

    return room.take(text, written)


def _marked(text: str, marks: str, code: bool, address: str | None) -> str:
    """Return text without space at its ends in its form."""
    return marks + _formed(text, code, address) + marks[::-1]


def _formed(text: str, code: bool, address: str | None) -> str:
    if code:
        line = re.sub(r"\s+", " ", text)
        return write.link_of_code(line, address) if address else f"`{write.code(line)}`"
    return write.link(text, address) if address else write.markdown(text)


def _description(message: Message) -> str:
    room = _Room(BODY)
    text = ""
    for block in message.body:
        room.left -= 2
        part = _block(block, room).strip("\n")
        if part.strip():
            text += (_between(text, block) if text else "") + part
    links = _left_over(message.buttons, room)
    return "\n".join(part for part in (text, links) if part).strip()


def _between(text: str, block: Block) -> str:
    """A list and a quote go on until an empty line."""
    last = text.rsplit("\n", 1)[-1]
    goes_on = re.match(r"(?:- |> |  |\d+\. )", last) is not None and not isinstance(block, Code)
    return "\n\n" if goes_on else "\n"


def _block(block: Block, room: _Room) -> str:
    match block:
        case Bullets():
            return "\n".join(_bullets(block, room))
        case Code():
            room.left -= 8
            code = room.take(_clean(block.text).strip("\n"), write.code)
            return f"```\n{code}\n```" if code.strip() else ""
        case Quote():
            room.left -= 2
            quote = _line(block.spans, room, "\n> ")
            return f"> {quote}" if quote.strip() else ""
        case Heading():
            bold = (Span(one.text, True, one.italic, one.strike, one.code, one.link) for one in block.spans)
            return _line(tuple(bold), room)
        case _:
            return _line(block.spans, room)


def _bullets(block: Bullets, room: _Room) -> Iterator[str]:
    shown = 0
    for number, item in enumerate(block.items[:MAX_ITEMS], 1):
        room.left -= 5
        line = _line(item, room, "\n  ").strip()
        if line:
            shown += 1
            yield f"{number}. {line}" if block.ordered else f"- {line}"
    more = len(block.items) - shown
    if more > 0 and shown:
        yield f"- … and {more} more"


def _fields(facts: tuple[tuple[str, Spans], ...]) -> list[Json]:
    room = _Room(FIELDS)
    fields = [field for label, value in facts if (field := _field(label, value, room))]
    if len(fields) > MAX_FIELDS:
        more = {"name": "…", "value": f"and {len(fields) - MAX_FIELDS + 1} more", "inline": True}
        fields = [*fields[: MAX_FIELDS - 1], more]
    return fields


def _field(label: str, value: Spans, room: _Room) -> Json | None:
    name = fitted(_one_line(label), min(FIELD_NAME, room.left // 2), write.plain).strip() or NOTHING
    own = _Room(min(FIELD_VALUE, room.left - units(name)))
    text = _line(value, own).strip()
    if not text:
        return None
    room.left -= units(name) + units(text)
    return {"name": name, "value": text, "inline": units(text_of(value)) <= INLINE}


# -- buttons


def _components(buttons: tuple[Button, ...]) -> list[Json]:
    row = [
        {"type": 2, "style": 5, "label": label, "url": button.url}
        for button in buttons
        if _is_safe(button.url, LONGEST_BUTTON_URL) and (label := _label(button))
    ]
    return [{"type": 1, "components": row[:MAX_BUTTONS]}] if row else []


def _label(button: Button) -> str:
    return fitted(_one_line(button.text), BUTTON, write.shown).strip()


def _left_over(buttons: tuple[Button, ...], room: _Room) -> str:
    """Links that no button takes, as text."""
    left = (one for one in buttons[:MAX_BUTTONS] if not _is_safe(one.url, LONGEST_BUTTON_URL) and web_url(one.url))
    return " ".join(text for one in left if (text := _line((Span(_label(one), link=one.url),), room)))


# -- a template's own JSON: its shape is kept, its lengths are not

_TEXTS = {"title": TITLE, "description": DESCRIPTION}
_PARTS = {"author": ("name", 256), "footer": ("text", 2_048)}


def _native(message: Message, longest: int) -> Json | None:
    """Return the template's content, embeds, name and picture within the limits; None where nothing is left."""
    native = message.native or {}
    room = _Room(WHOLE)
    embeds = [embed for one in _listed(native.get("embeds"))[:MAX_EMBEDS] if (embed := _own_embed(one, message, room))]
    content = _own_text(native.get("content"), longest)
    if not content and not embeds:
        return None
    name, picture = _own_text(native.get("username"), 80), native.get("avatar_url")
    more = {"username": name, "avatar_url": picture if _is_address(picture) else None}
    # A PATCH leaves alone what it does not name: both are always named.
    return {"content": content, "embeds": embeds, "components": []} | {k: v for k, v in more.items() if v}


def _listed(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and _is_safe(value, LONGEST_URL)


def _own_embed(given: Json, message: Message, room: _Room) -> Json | None:
    embed: Json = {key: text for key in _TEXTS if (text := _own_text(given.get(key), _TEXTS[key], room))}
    for part, (key, limit) in _PARTS.items():
        inner = given.get(part)
        text = _own_text(inner.get(key), limit, room) if isinstance(inner, dict) else ""
        if isinstance(inner, dict) and text:
            embed[part] = {key: text} | {
                name: inner[name] for name in ("url", "icon_url") if _is_address(inner.get(name))
            }
    embed["footer"] = {key: value for key, value in embed.get("footer", {}).items() if key != "url"}
    embed["fields"] = [field for one in _listed(given.get("fields")) if (field := _own_field(one, room))][:MAX_FIELDS]
    for part in ("image", "thumbnail"):
        inner = given.get(part)
        embed[part] = {"url": inner["url"]} if isinstance(inner, dict) and _is_address(inner.get("url")) else None
    embed = {key: value for key, value in embed.items() if value}
    if not embed:
        return None
    colour = given.get("color")
    in_range = isinstance(colour, int) and not isinstance(colour, bool) and 0 <= colour <= 0xFFFFFF
    embed["color"] = colour if in_range else _colour(message)
    return embed | ({"url": given["url"]} if _is_address(given.get("url")) else {})


def _own_field(given: Json, room: _Room) -> Json | None:
    name = _own_text(given.get("name"), FIELD_NAME, room)
    value = _own_text(given.get("value"), FIELD_VALUE, room)
    return {"name": name, "value": value, "inline": given.get("inline") is True} if name and value else None


def _own_text(value: Any, limit: int, room: _Room | None = None) -> str:
    """Return a template's text, shortened so that no code is left open: what follows it would be read as Markdown."""
    if not isinstance(value, str):
        return ""
    left = limit if room is None else min(limit, room.left)
    text = _clean(value).strip()
    text = shorten(text, left) if units(text) <= left else _closed(shorten(text, max(0, left - 4)))
    if room is not None:
        room.left -= units(text)
    return text


def _closed(cut: str) -> str:
    """Return Markdown that was cut anywhere with its last code closed. Every backtick in it is the template's."""
    if cut.count("```") % 2:
        return f"{cut}\n```"
    rest = re.sub(r"```.*?```", "", cut, flags=re.DOTALL)
    return f"{cut}`" if rest.count("`") % 2 else re.sub(r"\[[^\[\]]*\]\([^()]*…$", "…", cut)
