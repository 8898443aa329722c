"""A terminal that remembers what was printed on it: standard output, as long as it is open."""

from __future__ import annotations

import io
import re
import sys
from typing import Any, Self

from tests.fakes.base import Posted

HEAD = re.compile(r"(?P<edit>↻ )?#(?P<number>\d+)[^\n]* → [^\n]*\n")


class FakeTerminal(io.StringIO):
    """What `bridge.destinations.console` prints to. An edit is a message with ↻ and the number of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, Posted] = {}
        self.invalid: list[str] = []
        self._before: Any = None

    async def __aenter__(self) -> Self:
        self._before, sys.stdout = sys.stdout, self
        return self

    async def __aexit__(self, *_: object) -> None:
        sys.stdout = self._before

    def write(self, text: str) -> int:
        head = HEAD.match(text)
        if head:
            self._note({"text": text[head.end() :]}, head["number"], edit=bool(head["edit"]))
        return super().write(text)

    def _note(self, body: dict[str, Any], number: str, *, edit: bool) -> None:
        if edit:
            posted = self.messages[number]
            posted.body = body
            posted.history.append(body)
        else:
            self.messages[number] = Posted("", number, None, body, [body])
