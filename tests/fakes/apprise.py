"""A service of Apprise's on loopback: what its plugin for JSON posts to. `tests.fakes.base` says how to use it.

https://appriseit.com/services/json/
"""

from __future__ import annotations

from typing import Any

from tests.fakes.base import Call, FakeChat, Fault, Invalid, Reply


def answers(status: int) -> Fault:
    return Fault("answer", status=status, body="no")


class FakeApprise(FakeChat):
    """Takes whatever is posted. It tells nobody an id, so that a message that comes twice is there twice."""

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port or 1}/made-up-secret"

    def limited(self, after: float) -> Fault:
        return answers(429)

    def dead(self) -> Fault:
        return answers(404)

    def refused(self) -> Fault:
        return answers(400)

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        check(body)

    def answer(self, call: Call) -> Reply:
        body = {"title": call.body["title"], "body": call.body["message"], "type": call.body["type"]}
        if call.method != "POST" or self.valid(body):
            return Reply(400)
        self.post(body, key=f"m{len(self.messages) + 1}")
        return Reply(200, {"ok": True})


def check(body: dict[str, Any]) -> None:
    """Return if a plain text that goes anywhere may look like `body`, else raise Invalid."""
    whole = body["title"] + body["body"]
    whole.encode()
    if not set(body) == {"title", "body", "type"} or body["type"] not in ("info", "success", "warning", "failure"):
        raise Invalid("it has another form")
    if "\n" in body["title"] or "\x00" in whole or len(body["title"]) > 500 or len(body["body"]) > 20_000:
        raise Invalid("too long, or of several lines")
