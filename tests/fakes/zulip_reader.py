"""How does Zulip read a message: what has a form, whom does it call, where does it lead, and would it take it?

Zulip's server uses Python-Markdown with patterns of its own, in this order; and so do we. Whoever is named in a mention
is taken to be there.
https://zulip.com/help/format-your-message-using-markdown
https://zulip.readthedocs.io/en/latest/subsystems/markdown.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import Element

import markdown
from markdown import blockparser, blockprocessors, inlinepatterns, postprocessors, preprocessors, treeprocessors, util
from markdown.extensions.sane_lists import SaneOListProcessor, SaneUListProcessor

from tests.fakes.base import Invalid

STRANGE = (
    "@**all** @_**everyone** @**|1234** @**Mona|1234**",
    "@*on-call* @_*on-call*",
    "#**builds** #**builds>topic** #**builds>topic@7**",
    "<time:2026-11-05T14:03:00Z>",
    ":wave: :+1: :) <3",
    "$$x^2$$",
    "/me waves",
    "/poll x",
    "```spoiler x\ny\n```",
    "~~~quote\nx\n~~~",
    "evil.example evil.co/a README.md",
    "a@evil.example bitcoin:1abc",
    "&#64;**all** &ast;x&ast; &copy;",
    "a ^ b",
    "x\n- a\n- b\n1. c\n> d\n# e\n    f",
    "+ x",
    "___",
    "\\*x\\*",
    "\u0661. x",
    "[`x`](https://evil.example)",
    "a' b\" https://x.example/('a')",
)
_BEFORE = r"(?<![^\s'\"\(,:<])"
FENCE = re.compile(r"[ ]*(`{3,}|~{3,})[ ]*(?:\{?\.?([\w+.#-]*)[^`~]*)?$")
HANGING = re.compile(r"^[ ]*(?:[*+-]|\d\.)[ ]+")


class _Means(inlinepatterns.InlineProcessor):
    """What becomes more than text, without Markdown: an element named by what it does."""

    def __init__(self, pattern: str, md: Any, does: str) -> None:
        super().__init__(pattern, md)
        self._does = does

    def handleMatch(self, m: re.Match[str], data: str) -> Any:
        element = Element("span")
        element.set("class", f"{self._does} {m['it']}")
        element.text = util.AtomicString(m["it"])
        return element, m.start(), m.end()


class _Link(inlinepatterns.LinkInlineProcessor):
    """The text of a link is read no further."""

    def handleMatch(self, m: re.Match[str], data: str) -> Any:
        element, start, end = super().handleMatch(m, data)
        if element is not None:
            element.text = util.AtomicString(element.text or element.get("href"))
        return element, start, end


class _Before(preprocessors.Preprocessor):
    """Takes fenced code out, and parts a list from the line above it."""

    def run(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        code: list[str] | None = None
        fence = ""
        for line in lines:
            found = FENCE.match(line)
            if code is None and found:
                code, fence = [], found[1]
            elif code is not None and line.strip() == fence:
                out += ["", self.md.htmlStash.store(f"<pre>{_escaped(code)}</pre>"), ""]
                code = None
            elif code is not None:
                code.append(line)
            else:
                out += ["", line] if HANGING.match(line) and out and not HANGING.match(out[-1]) else [line]
        if code is not None:
            out += ["", self.md.htmlStash.store(f"<pre>{_escaped(code)}</pre>"), ""]
        return out


def _escaped(lines: list[str]) -> str:
    return "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Hash(blockprocessors.HashHeaderProcessor):
    RE = re.compile(r"(?:^|\n)(?P<level>#{1,6})\s(?P<header>(?:\\.|[^\\])*?)#*(?:\n|$)")


class _Zulip(markdown.Markdown):
    def __init__(self) -> None:
        super().__init__(extensions=["nl2br", "tables"], output_format="html")

    def build_parser(self) -> Any:
        self.preprocessors = util.Registry()
        self.preprocessors.register(preprocessors.NormalizeWhitespace(self), "space", 30)
        self.preprocessors.register(_Before(self), "before", 25)
        self.parser = blockparser.BlockParser(self)
        kinds = blockprocessors
        for place, kind in enumerate(
            (
                kinds.ParagraphProcessor,
                kinds.BlockQuoteProcessor,
                SaneUListProcessor,
                SaneOListProcessor,
                kinds.HRProcessor,
                _Hash,
                kinds.CodeBlockProcessor,
                kinds.ListIndentProcessor,
                kinds.EmptyBlockProcessor,
            )
        ):
            self.parser.blockprocessors.register(kind(self.parser), kind.__name__, 50 + 5 * place)
        self.inlinePatterns = self._inline()
        self.treeprocessors = util.Registry()
        self.treeprocessors.register(treeprocessors.InlineProcessor(self), "inline", 25)
        self.treeprocessors.register(treeprocessors.UnescapeTreeprocessor(self), "unescape", 18)
        self.postprocessors = util.Registry()
        self.postprocessors.register(postprocessors.RawHtmlPostprocessor(self), "raw_html", 20)
        self.postprocessors.register(postprocessors.AndSubstitutePostprocessor(), "amp", 15)
        return self

    def _inline(self) -> Any:
        found: Any = util.Registry()
        known = inlinepatterns
        patterns = [
            (known.BacktickInlineProcessor(known.BACKTICK_RE), 105),
            (known.DoubleTagPattern(r"(\*\*\*)(?!\s+)([^\*^\n]+)(?<!\s)\*\*\*", "strong,em"), 100),
            (_Means(rf"{_BEFORE}@_?(?P<it>\*\*[^\*]+\*\*)", self, "calls"), 95),
            (_Means(r"\B(?<!\$)\$\$(?P<it>[^\n_$](?:\\\$|[^$\n])*)\$\$(?!\$)\B", self, "formula"), 90),
            (_Means(rf"{_BEFORE}#(?P<it>\*\*[^\*]+\*\*)", self, "leads to"), 87),
            (_Means(r"<time:(?P<it>[^>]*?)>", self, "time"), 75),
            (_Means(rf"{_BEFORE}@_?(?P<it>\*[^\*]+\*)", self, "calls"), 65),
            (_Link(known.LINK_RE, self), 60),
            (
                _Means(
                    rf"{_BEFORE}(?P<it>https?://[\w.:@-]+|(?:[\w-]+\.)+[a-zA-Z]{{2,}}\b|[\w.-]+@[\w.-]+\.\w+|bitcoin:\w+)",
                    self,
                    "leads to",
                ),
                55,
            ),
            (known.HtmlInlineProcessor(known.ENTITY_RE, self), 40),
            (known.SimpleTagPattern(r"(\*\*)([^\n]+?)\2", "strong"), 35),
            (known.SimpleTagPattern(r"(\*)(?!\s+)([^\*^\n]+)(?<!\s)\*", "em"), 30),
            (known.SimpleTagPattern(r"(?<!~)(\~\~)([^~\n]+?)(\~\~)(?!~)", "del"), 25),
            (_Means(r"(?P<it>:[\w\-\+]+:)", self, "emoji"), 15),
        ]
        for pattern, place in patterns:
            found.register(pattern, str(place), place)
        return found


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "br":
            self.text = self.text.rstrip("\n") + "\n"
        else:
            self.forms.append(" ".join(one for one in (tag, given.get("class"), given.get("href")) if one))

    def handle_endtag(self, tag: str) -> None:
        self.forms.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data.lstrip("\n") if self.text.endswith("\n") else data


@lru_cache
def _engine() -> _Zulip:
    return _Zulip()


@lru_cache(maxsize=2_000)
def read(content: str) -> _Seen:
    seen = _Seen()
    seen.feed(_engine().reset().convert(content))
    seen.close()
    return seen


def check(body: dict[str, Any]) -> None:
    """Return if Zulip would take `body`, else raise Invalid."""
    if set(body) not in ({"type", "to", "topic", "content"}, {"content"}):
        raise Invalid(f"unknown keys in {sorted(body)}")
    for key, longest in (("content", 10_000), ("topic", 60), ("to", 60)):
        text = body.get(key, "x")
        text.encode()
        if not text.strip() or "\0" in text or len(text) > longest:
            raise Invalid(f"{key} is empty, too long or has null bytes")
    if "\n" in body.get("topic", ""):
        raise Invalid("a topic of two lines")


def form(body: dict[str, Any]) -> list[str]:
    return read(body["content"]).forms


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    found = {one.removeprefix("span ") for one in form(body) if one.startswith("span ")}
    found |= {f"leads to {one[2:]}" for one in form(body) if one.startswith("a ")}
    odd = {one for one in form(body) if one.split(" ")[0] in ("img", "table", "hr", "h1", "h2", "h3", "script", "b")}
    return found | {f"form {one}" for one in odd} | ({"a command"} if body["content"].startswith("/") else set())
