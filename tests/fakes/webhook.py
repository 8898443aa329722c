"""A receiver on loopback that checks signatures with the reference library. `tests.fakes.base` says how to use it.

It knows a message again by its id, as the specification asks of receivers.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import json
import math
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.altered import replace
from tests.fakes import webhook_validator
from tests.fakes.base import Call, FakeChat, Fault, Reply

SECRET = "whsec_bWFkZSB1cCBmb3IgdGVzdHMsIDMyIGJ5dGVzIQ=="
PATH = "/hooks/ci"


def answers(status: int, **headers: str) -> Fault:
    return Fault("answer", status=status, body="", headers=headers)


class FakeWebhook(FakeChat):
    """One address, and what came to it by the id of the request."""

    @property
    def url(self) -> str:
        return self.base + PATH

    def limited(self, after: float) -> Fault:
        return answers(429, **{"Retry-After": str(math.ceil(after))})

    def dead(self) -> Fault:
        return answers(410)

    def refused(self) -> Fault:
        return answers(400)

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        webhook_validator.check(body, edit=edit)

    def answer(self, call: Call) -> Reply:
        if call.path != PATH:
            return Reply(404)
        if call.method != "POST":
            return Reply(405)
        try:
            body = Webhook(SECRET).verify(call.raw, {name.lower(): value for name, value in call.headers.items()})
        except WebhookVerificationError as why:
            self.invalid.append(str(why))
            return Reply(401)
        call = replace(call, body=json.loads(call.raw))
        if self.valid(call.body) or body != call.body:
            return Reply(400)
        key = call.headers["webhook-id"]
        if key not in self.messages:
            self.post(call.body, key=key)
        return Reply(204)
