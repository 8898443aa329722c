"""What does a rendered template say? Markdown in, the tree of `bridge.message` out.

CommonMark plus ``~~strike~~``, without raw HTML, indented code and automatic links. Hidden text
(`bridge.render.foreign`) goes through the parser as letters and is revealed only when the tree is built. Never raises
on any text, never fetches.
https://spec.commonmark.org/0.31.2/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from bridge.codec import web_url
from bridge.message import Block, Bullets, Code, Heading, Paragraph, Quote, Span, Spans
from bridge.render.foreign import reveal

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

Facts = tuple[tuple[str, Spans], ...]

LONGEST_FORM = 4_000  # characters
_MARKS = {"strong": "bold", "em": "italic", "s": "strike"}


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # 30 ms, and a start renders nothing

    class Parser(MarkdownIt):
        """Addresses stay as they were written: `web_url` judges them after they are revealed."""

        def normalizeLink(self, url: str) -> str:  # noqa: N802, RUF100 - the library's name
            return url

        def validateLink(self, url: str) -> bool:  # noqa: N802, RUF100 - the library's name
            return True

    parser = Parser("commonmark", {"html": False, "linkify": False, "typographer": False})
    return parser.enable("strikethrough").disable(["code", "html_block", "html_inline"])


# Words mean nothing to Markdown, but for those at the beginning of a line that number it, and within <...> and &...;
# Spaces between them mean something in an address.
_WORD = re.compile("[A-Za-z0-9\ue000-\ue07f]+")
_WORDS = re.compile(r"(\]\(\s*[^\s)]*)|" "[A-Za-z0-9\ue000-\ue07f]+(?: [A-Za-z0-9\ue000-\ue07f]+)*")
_MEANS_MORE = re.compile(r"[<&]|!\[|\]:|^\W*\d+[.)]" "|[\U000f0000-\U0010ffff]", re.MULTILINE)
_FIRST_PLACE = 0xF0000
_PLACE = re.compile("[\U000f0000-\U0010ffff]")


def blocks(text: str) -> tuple[Block, ...]:
    """Return the blocks of a Markdown text.

    Messages of one template differ in their words alone, and parsing is the dearest part of rendering: so the form is
    parsed once, with a letter of private use in the place of the words, and then filled in.
    """
    if len(text) > LONGEST_FORM or _MEANS_MORE.search(text):
        return tuple(_filled(block, []) for block in _blocks(_parser().parse(text)))
    words: list[str] = []

    def take(found: re.Match[str]) -> str:
        if found.lastindex:
            return _WORD.sub(take, found[0])
        words.append(found[0])
        return chr(_FIRST_PLACE + len(words) - 1)

    return tuple(_filled(block, words) for block in _form_of(_WORDS.sub(take, text)))


@lru_cache(maxsize=500)
def _form_of(text: str) -> tuple[Block, ...]:
    return tuple(_blocks(_parser().parse(text)))


def _filled(block: Block, words: list[str]) -> Block:
    """Return a parsed block with its words, revealed, and with the links that may be shown."""

    def put(text: str) -> str:
        return _PLACE.sub(lambda place: words[ord(place[0]) - _FIRST_PLACE], text) if words else reveal(text)

    words = [reveal(word) for word in words]

    def line(spans: Spans) -> Spans:
        return _merged(
            Span(put(one.text), one.bold, one.italic, one.strike, one.code, one.link and web_url(put(one.link)))
            for one in spans
        )

    match block:
        case Code():
            return Code(put(block.text))
        case Bullets():
            return Bullets(tuple(line(item) for item in block.items), block.ordered)
    return type(block)(line(block.spans))


def spans(text: str) -> Spans:
    """Return a Markdown text as one line: its blocks' text, joined by spaces."""
    lines = [line for block in blocks(text) for line in _lines(block)]
    joined = [span for number, line in enumerate(lines) for span in ((Span(" "),) if number else ()) + line]
    return _merged(replace(span, text=span.text.replace("\n", " ")) if "\n" in span.text else span for span in joined)


def facts(text: str) -> Facts:
    """Return the items of the lists in a Markdown text as (label, value); ``- **Label:** value`` has a label."""
    lines = [line for block in blocks(text) for line in _lines(block)]
    return tuple(fact for line in lines if (fact := _fact(line))[1])


def _fact(line: Spans) -> tuple[str, Spans]:
    label = line[0].text.strip() if line and line[0].bold and not line[0].link else ""
    if not label:
        return "", line
    rest = _trimmed(line[1:])
    if not label.endswith(":") and rest and rest[0].text.startswith(":"):
        rest = _trimmed((replace(rest[0], text=rest[0].text[1:]), *rest[1:]))
    return label.removesuffix(":").strip(), rest


def _lines(block: Block) -> tuple[Spans, ...]:
    if isinstance(block, Bullets):
        return block.items
    if isinstance(block, Code):
        return ((Span(block.text, code=True),),)
    return (block.spans,)


class _Node(msgspec.Struct, frozen=True):
    """A token with what lies between its opening and its closing one."""

    token: Token
    children: tuple[_Node, ...] = ()


def _tree(tokens: Iterator[Token]) -> tuple[_Node, ...]:
    nodes = []
    for token in tokens:
        if token.nesting < 0:
            break
        nodes.append(_Node(token, _tree(tokens) if token.nesting > 0 else ()))
    return tuple(nodes)


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    for node in _tree(iter(tokens)):
        block = _block(node)
        if block:
            yield block


def _block(node: _Node) -> Block | None:
    match node.token.type:
        case "fence":
            return Code(node.token.content.rstrip("\n")) if node.token.content.strip() else None
        case "bullet_list_open" | "ordered_list_open" as kind:
            items = tuple(item for child in node.children if (item := _flat(child.children)))
            return Bullets(items, kind == "ordered_list_open") if items else None
    line = _flat(node.children)
    if not line:
        return None
    match node.token.type:
        case "heading_open":
            return Heading(line)
        case "blockquote_open":
            return Quote(line)
    return Paragraph(line)


def _flat(nodes: tuple[_Node, ...]) -> Spans:
    """Return what lies in nested blocks as lines of one text: chats nest little."""
    parts: list[Span] = []
    for node in nodes:
        line = _inner(node)
        if line:
            parts += [Span("\n"), *line] if parts else line
    return _trimmed(_merged(parts))


def _inner(node: _Node) -> Spans:
    match node.token.type:
        case "inline":
            return _inline(node.token.children or [])
        case "fence":
            return (Span(node.token.content.strip("\n"), code=True),) if node.token.content.strip() else ()
        case "list_item_open":
            line = _flat(node.children)
            return (Span("• "), *line) if line else ()
    return _flat(node.children)


def _inline(tokens: list[Token]) -> Spans:
    """Return the pieces of one line, each with the marks that are open around it."""
    marks: dict[str, int] = dict.fromkeys(_MARKS.values(), 0)
    links: list[str | None] = []
    found: list[Span] = []

    def add(text: str, *, code: bool = False, link: str | None = None) -> None:
        if text:
            link = link or next((one for one in reversed(links) if one), None)
            bold, italic, strike = (marks[name] > 0 for name in ("bold", "italic", "strike"))
            found.append(Span(text, bold, italic, strike, code, link))

    for token in tokens:
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if kind in _MARKS:
            marks[_MARKS[kind]] += token.nesting
        elif token.type == "link_open":
            links.append(_address(token, "href"))
        elif token.type == "link_close":
            links.pop()
        elif token.type == "image":
            address = _address(token, "src")
            add(token.content or reveal(address or ""), link=address)
        elif kind in ("softbreak", "hardbreak"):
            add("\n")
        else:
            add(token.content, code=token.type == "code_inline")
    return _merged(found)


def _address(token: Token, name: str) -> str | None:
    address = str(token.attrs.get(name, ""))
    # With the words in their places it can be judged here; else `_filled` does.
    return address if _PLACE.search(address) or web_url(reveal(address)) else None


def _merged(found: Iterator[Span] | list[Span] | Spans) -> Spans:
    """Return the spans with neighbours of the same form made one."""
    merged: list[Span] = []
    for span in found:
        if merged and _form(merged[-1]) == _form(span):
            merged[-1] = replace(span, text=merged[-1].text + span.text)
        else:
            merged.append(span)
    return tuple(merged)


def _form(span: Span) -> tuple[object, ...]:
    return span.bold, span.italic, span.strike, span.code, span.link


def _trimmed(line: Spans) -> Spans:
    """Return the spans without space at either end."""
    kept = list(line)
    while kept and not kept[0].text.strip():
        del kept[0]
    while kept and not kept[-1].text.strip():
        del kept[-1]
    if kept:
        if kept[0].text[0].isspace():
            kept[0] = replace(kept[0], text=kept[0].text.lstrip())
        if kept[-1].text[-1].isspace():
            kept[-1] = replace(kept[-1], text=kept[-1].text.rstrip())
    return tuple(kept)
