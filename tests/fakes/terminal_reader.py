"""How does a terminal read what is printed: what is drawn, and what drives it?"""

from __future__ import annotations

import re
from typing import Any

STYLE = re.compile(r"\x1b\[[0-9;]*m")
BAR = re.compile(r"(?m)^\x1b\[38;2;[0-9;]*m▌\x1b\[0m ")
DRIVES = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def form(body: dict[str, Any]) -> list[str]:
    """Which styles begin and end behind the bar. A text of two lines is two lines here, each behind its bar."""
    return STYLE.findall(BAR.sub("", body["text"]))


def effects(body: dict[str, Any]) -> set[str]:
    """Whatever drives the terminal: styles, and other control characters."""
    text = body["text"]
    return set(STYLE.findall(text)) | {f"drives: {one!r}" for one in DRIVES.findall(STYLE.sub("", text))}
