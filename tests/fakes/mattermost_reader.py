"""How does Mattermost read a post: what has a form, whom does it call, where does it lead?

Its Markdown is GitHub's without HTML. What is only an address becomes a link, so do hashtags and channels' names.
Before all that, an incoming webhook's text is searched for Slack's forms.
https://docs.mattermost.com/end-user-guide/collaborate/format-messages.html
https://developers.mattermost.com/integrate/webhooks/incoming/#slack-compatibility
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

STRANGE = (
    "@octocat",
    "<@octocat>",
    "<!all>",
    "<!channel> <!here>",
    "<https://evil.example|x> | y> z",
    "a|b>c",
    "x <a `b|c` d>",
    "~town-square",
    "#wip #ci-broke",
    "www.evil.example",
    "mailto:evil@evil.example",
    "tel:12345",
    "ftp://evil.example",
    ":tada: :+1:",
    "&lt;!channel&gt; &#60;!all&#62; &#64;channel",
    "[a [b](https://evil.example)",
    "a](https://evil.example) [b",
    "\\[x\\](https://evil.example)",
    "\\@channel \\<!channel>",
    "***a*** ___b___ ~~s~~",
    "```sh\nrm\n```",
    "`` a ` b ``",
    "### x",
    "x\n# y\n> z\n- q\n1. r\n===",
    "12. x",
    "+ x",
    "| a |\n|---|\n| b |",
    "![x](https://evil.example/x.png =30x30)",
    "*" * 60 + "\\" * 61,
    "\u3000\u200b\u2060",
)
READER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
READER.disable(["html_block", "html_inline"])
_WORDS = ("text", "text_special", "softbreak", "hardbreak", "inline", "entity")
_SLACK_LINK = re.compile(r"<([^\n<|>]+)\|([^\n>]+)>")
_SLACK_CALL = re.compile(r"<!(channel|here|all)>")
_SLACK_USER = re.compile(r"<@([A-Za-z0-9]+)>")
_CALL = re.compile(r"@([A-Za-z0-9][\w.-]*)")
_AUTOLINK = re.compile(r"(?i)\b(?:[a-z][a-z0-9+.-]*://|www\.|(?:mailto|tel):)\S")
_HASHTAG = re.compile(r"(?<!\w)#[^\W\d_][\w.-]+")
_CHANNEL = re.compile(r"(?<!\w)~[a-z0-9]\S*")
_EMOJI = re.compile(r":[\w+-]+:")


def texts(body: dict[str, Any]) -> list[str]:
    """Every text that is read as Markdown, after what a webhook makes of Slack's forms."""
    attachments = body["props"]["attachments"] if "message" in body else body.get("attachments", [])
    return [
        _of_slack(text)
        for text in (body.get("message") or body.get("text"), *(one.get("text", "") for one in attachments))
    ]


def footers(body: dict[str, Any]) -> list[str]:
    attachments = body["props"]["attachments"] if "message" in body else body.get("attachments", [])
    return [one.get("footer", "") for one in attachments]


def _of_slack(text: str) -> str:
    text = _SLACK_LINK.sub(r"[\2](\1)", text)
    return _SLACK_USER.sub(r"@\1", _SLACK_CALL.sub(r"@\1", text))


def tokens(text: str) -> Iterator[Token]:
    for token in READER.parse(text):
        yield token
        yield from token.children or ()


def form(body: dict[str, Any]) -> list[list[str]]:
    return [
        [f"{one.type} {one.attrs.get('href', '')}" for one in tokens(text) if one.type not in _WORDS]
        for text in texts(body)
    ]


def read(text: str) -> str:
    """What a reader sees of a Markdown text."""
    seen = "".join("\n" if "break" in one.type else one.content for one in tokens(text) if not one.children)
    return seen.replace("\u200b", "").replace("\u2060", "")


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls, where it leads, and whatever else is more than text."""
    return {effect for text in texts(body) for effect in _effects(text)} | {
        f"calls {one}" for text in footers(body) for one in _CALL.findall(_of_slack(text))
    }


def _effects(text: str) -> Iterator[str]:
    for one in tokens(text):
        if one.type == "link_open":
            yield f"leads to {one.attrs['href']}"
        if one.type in ("image", "hr", "heading_open", "table_open", "html_inline", "html_block"):
            yield f"form {one.type}"
        if one.type in ("text", "text_special"):
            yield from _of_plain(one.content)
    # Mentions are looked for in the raw text too: what it takes for code depends on the program.
    yield from (f"calls {one}" for one in _CALL.findall(re.sub(r"\]\([^)]*\)", "]", text)))


def _of_plain(text: str) -> Iterator[str]:
    yield from (f"calls {one}" for one in _CALL.findall(text))
    for pattern in (_AUTOLINK, _HASHTAG, _CHANNEL, _EMOJI):
        yield from (f"form {one}" for one in pattern.findall(text))
