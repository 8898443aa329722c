"""How does Rocket.Chat read a message: what has a form, whom does it call, where does it lead?

A reader of its own, after the grammar that it publishes: no escapes, a link's text goes on to the next ``](`` whatever
is between, and marks work anywhere but after a letter. It takes more for markup than Rocket.Chat does, never less.
https://github.com/RocketChat/Rocket.Chat/blob/develop/packages/message-parser/src/grammar.pegjs
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

STRANGE = (
    "@octocat",
    "@all @here",
    "a @octocat b",
    "#general #12",
    "<https://evil.example|x>",
    "<evil.com|x>",
    "<t:1700000000:R>",
    "evil.com",
    "see setup.py and acme.io/x",
    "evil.com:8080/a",
    "10.0.0.1 1.2.3.4",
    "evil@evil.com mailto:evil@evil.com",
    "+47-5551234 +(47)5551234",
    "[x](evil.com)",
    "[a [b](https://evil.example)",
    "a](https://evil.example) [b",
    "[a] [b](https://evil.example)",
    "\\*x\\* \\[x\\](https://evil.example)",
    "\\(x\\) $x$ $$x$$",
    "*a* _b_ ~c~ __d__ **e** ~~f~~",
    "x.a_b_1 a_b_c my_repo v1.a_b_1_ _a_b_",
    "||s||",
    "||\ns\n||",
    "```sh\nrm\n```",
    "`` a ` b ``",
    "color:#ff0000",
    ":tada: :+1:",
    "- [x] done\n- [ ] not",
    "### x",
    "x\n# y\n> z\n- q\n1. r",
    "* x",
    "![x](https://evil.example/x.png)",
    "*" * 60 + "\\" * 61,
    "\u3000\u200b\u2060",
)

_LINK = re.compile(r"!?\[([^\0]*?)\]\((\S*?)\)(?=[^)]|$)")
_SLACK = re.compile(r"<([^\s|>]+)\|([^\n>]+)>")
_CODE = re.compile(r"```(?:[a-zA-Z0-9_.-]*\n)[^\0]*?\n```|`[^`\n]+`")
_BLOCK = re.compile(r"(?m)^(?:(#{1,4})[ \t]|(>)|(-)[ \t]|(\*)[ \t]|(\d+)\.[ \t]|(\|\|)$)")
_CALL = re.compile(r"@([\w.-]+)")
_MARK = re.compile(r"(\*+)[^*\n]+?\1|(~+)[^~\n]+?\2|(?<![A-Za-z0-9])(_+)[^\n]+?_")
_ODD = (
    re.compile(r"[A-Za-z0-9+-]{1,32}://\S"),
    re.compile(r"[^\s\\/|><%`\[\].,!~*\"':;()=]\.[A-Za-z]{2,}"),  # a host, by the ending of its name
    re.compile(r"\d+\.\d+\.\d+\.\d+"),
    re.compile(r"#[\w.-]+"),
    re.compile(r"<t:\S*>"),
    re.compile(r"\|\|"),
    re.compile(r":[0-9a-zA-Z_+.-]+:"),
    re.compile(r"\+[\d(]"),
    re.compile(r"\\[(\[]|\$\S+\$"),
)


def texts(body: dict[str, Any]) -> list[str]:
    return [body.get("msg") or body["text"], *(one["text"] for one in body.get("attachments", []))]


def _parts(text: str) -> tuple[list[tuple[str, str]], str]:
    """Return the links, as text and target, and what is left when they and all code are taken out."""
    rest = _CODE.sub("\x01", text)
    links = [(one[1], one[2]) for one in _LINK.finditer(rest)] + [(one[2], one[1]) for one in _SLACK.finditer(rest)]
    rest = _SLACK.sub(r"\2", _LINK.sub(lambda found: f"{found[1]}\x02", rest))
    return links, rest


def _marks(text: str) -> list[str]:
    found = []
    for line in text.split("\n"):
        found += [one[0][0] for one in _MARK.finditer(_snakes(line))]
    return found


def _snakes(line: str) -> str:
    """Return the line without words whose underscores are read as they are: after a space, or what ends a run."""
    return re.sub(r"(?<![^\s(!:|<\[*_~\\\x02])[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+(?!\w)", "x", line)


def form(body: dict[str, Any]) -> list[list[str]]:
    return [_form(text) for text in texts(body)]


def _form(text: str) -> list[str]:
    links, rest = _parts(text)
    whole = re.sub(r"(?m)^(>.*)(?:\n>.*)+", r"\1", rest)  # lines of one quote
    blocks = [next(one for one in found.groups() if one) for found in _BLOCK.finditer(whole)]
    return [
        *(f"link {target}" for _, target in links),
        *(f"code {found[0][:3] == '```'}" for found in _CODE.finditer(text)),
        *(f"block {one if not one.isdigit() else '1'}" for one in blocks),
        *_marks(rest),
    ]


def read(text: str) -> str:
    """What a reader sees of a text without markup, with look-alikes for what they look like."""
    seen = text.replace("\u200b", "").replace("\u2060", "")
    return seen.translate(str.maketrans("∗∼ˋˍ∣﹩", "*~`_|$"))


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {effect for text in texts(body) for effect in _effects(text)}


def _effects(text: str) -> Iterator[str]:
    links, rest = _parts(text)
    for label, target in links:
        yield f"leads to {target}"
        if "[" in label or "](" in label:
            yield f"form link over {label}"
    # The server looks for mentions before anything is parsed.
    yield from (f"calls {one}" for one in _CALL.findall(re.sub(r"\]\(\S*?\)", "]", text)))
    for pattern in _ODD:
        yield from (f"form {one}" for one in pattern.findall(rest))
    if "![" in _CODE.sub("", text):
        yield "form image"
    yield from (f"form {one}" for one in re.findall(r"(?m)^(#{1,4})[ \t]", rest))
