"""The tables of docs/chats.md: written by the suites that see what happens, and held to it.

A test tells what it saw for one cell (`saw`). ``BRIDGE_GOLDEN=write`` (with ``-n 0``) puts it into the page.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.destinations.chats import CHATS, Chat

PAGE = Path(__file__).parents[2] / "docs" / "chats.md"
NONE = "–"  # the chat cannot have this trouble


def saw(title: str, columns: Sequence[str], chat: Chat, column: str, text: str) -> None:
    """Hold the table under ``## title`` to `text`, in the chat's row; or write it there."""
    if os.environ.get("BRIDGE_GOLDEN") == "write":
        _write(title, columns, chat.name, column, text)
    assert cells(title).get((chat.name, column)) == text


def cells(title: str) -> dict[tuple[str, str], str]:
    """Return what the table says, by row and column."""
    head, *rows = _rows(title)
    return {(row[0], column): text for row in rows for column, text in zip(head[1:], row[1:], strict=True)}


def _rows(title: str) -> list[list[str]]:
    section = PAGE.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] or [[""]]


def _write(title: str, columns: Sequence[str], row: str, column: str, text: str) -> None:
    known = cells(title) | {(row, column): text}
    names = [chat.name for chat in CHATS if any(chat.name == name for name, _ in known)]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    lines += ["| " + " | ".join([name, *(known.get((name, one), NONE) for one in columns)]) + " |" for name in names]
    made = "\n".join(lines)
    page = PAGE.read_text("utf-8")
    before, head, rest = page.partition(f"\n## {title}\n")
    section, mark, after = rest.partition("\n## ")
    words = "\n".join(line for line in section.splitlines() if not line.startswith("|")).rstrip()
    PAGE.write_text(f"{before}{head}{words}\n\n{made}\n{mark}{after}", "utf-8")
