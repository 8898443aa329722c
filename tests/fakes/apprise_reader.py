"""How would any chat read a text, be it Markdown, HTML or one of Slack's: who is called, where does it lead?"""

from __future__ import annotations

import re
from typing import Any

STRANGE = (
    "<!everyone>",
    "<@!80351110224678912> <@&41771983423143936>",
    "@all @room @octocat",
    "@@all",
    "<users/all>",
    "@**all** @_**Polly|5** #**general**",
    "<a href='tg://user?id=1'>x</a>",
    "[~jdoe] [[x]]",
    "***x*** ~~y~~ ||z|| `c`",
    "_a_ __b__ snake_case_name",
    "tg://user?id=5 mailto:x@evil.example",
    "1) x\n+ y\n> z\n# h",
    "x\n===\n",
)
CALL = re.compile(r"@([^\s@\u2060]+)|<[!@#][^>]*>|<users/[^>]*>|\*\*[^*]+\*\*")
ADDRESS = re.compile(r"\b[a-z]+://[^\s\u2060]+")
MARKUP = re.compile(r"\]\(|<[a-z/!]|[*`~|]|\b_|_\b|(?m:^[ \t]*(?:[#>+=-]|\d+[.)]))")


def form(body: dict[str, Any]) -> list[str]:
    """What is more than words, whatever reads it."""
    return MARKUP.findall(ADDRESS.sub("", _whole(body)))


def effects(body: dict[str, Any]) -> set[str]:
    """Whom it calls and where it leads."""
    whole = _whole(body)
    calls = {f"calls {found[1] or found[0]}" for found in CALL.finditer(ADDRESS.sub("", whole))}
    return calls | {f"leads to {one}" for one in ADDRESS.findall(whole)}


def _whole(body: dict[str, Any]) -> str:
    return f"{body['title']}\n{body['body']}"
