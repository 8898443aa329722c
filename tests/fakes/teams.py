"""A workflow of Power Automate on loopback that posts to Teams, and badly on demand: `tests.fakes.base` says how.

It accepts whatever is JSON before it looks at it: what Teams would not show ends in `invalid`, as a failed run of the
workflow that the sender never hears of.

https://learn.microsoft.com/azure/logic-apps/logic-apps-http-endpoint
"""

from __future__ import annotations

from typing import Any

from tests.fakes import teams_validator
from tests.fakes.base import Call, FakeChat, Fault, Reply, text_plain

PATH = "/workflows/0123456789abcdef/triggers/manual/paths/invoke"
SIGNED = "api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=made-up_Secret"


def error(http: int, code: str = "", **headers: str) -> Fault:
    return Fault("answer", status=http, body={"error": {"code": code, "message": "made up"}}, headers=headers)


class FakeTeams(FakeChat):
    """One workflow, and the channel that it posts to."""

    @property
    def url(self) -> str:
        return f"{self.base}{PATH}?{SIGNED}"

    def limited(self, after: float) -> Fault:
        return error(429, "WorkflowTriggerRequestsThrottled", **{"Retry-After": str(after)})

    def dead(self) -> Fault:
        return error(404, "WorkflowNotFound")

    def refused(self) -> Fault:
        return error(400, "TriggerInputSchemaMismatch")

    def failed_with_200(self) -> Fault:
        return text_plain("Webhook message delivery failed with error: made up")

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        teams_validator.check(body)

    def answer(self, call: Call) -> Reply:
        if call.path != PATH:
            return _error(404, "WorkflowNotFound")
        if call.query.get("sig") != "made-up_Secret":
            return _error(401, "AuthorizationFailed")
        if call.method != "POST":
            return _error(405, "MethodNotAllowed")
        if not call.body:
            return _error(400, "InvalidRequestContent")
        number = f"0858000000{len(self.calls)}"
        if not self.valid(call.body):
            self.post(call.body, key=number)
        return Reply(202, "", {"x-ms-workflow-run-id": number})


def _error(http: int, code: str) -> Reply:
    return Reply(http, {"error": {"code": code, "message": "made up"}})
