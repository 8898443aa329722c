"""Microsoft Teams, by a workflow that waits for webhooks. It posts cards, and can neither edit nor answer in threads.

The address is all there is. Good is 202, and means that the workflow was started: what becomes of the card is seen only
in the workflow's run history, so that the card must be right (`_teams_card`). The old connectors of Office 365, whose
addresses have `webhook.office.com` in them, are gone.

https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
https://learn.microsoft.com/azure/logic-apps/logic-apps-http-endpoint
https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from bridge import codec
from bridge.destinations import _teams_card
from bridge.destinations._http import ask, header, judge_status, retry_after
from bridge.destinations.base import Bucket, DestinationOptions, Health, Receipt, digest, is_loopback
from bridge.errors import Dead, DeliveryError, Gone, RateLimited, Rejected, Unsure
from bridge.message import Message
from bridge.units import Rate

if TYPE_CHECKING:
    import aiohttp

LABEL = "Microsoft Teams"
PERSON = "teams"


# -- options

_COPY = "in Teams, open the channel's ⋯ menu, Workflows, and copy the address that the workflow shows"
_CONNECTOR = re.compile(r"(?:.*\.)?webhook\.office\.com|outlook\.office(?:365)?\.com")
_PAGE = re.compile(
    r"teams\.(?:microsoft|live)\.com|teams\.cloud\.microsoft|(?:make|flow)\.(?:powerautomate|microsoft)\.com"
)
_SIGNED = re.compile(r".*\.(?:logic\.azure|api\.powerplatform|powerautomate)\.(?:com|us|cn)")


def _workflow_address(value: SecretStr) -> SecretStr:
    """Return the address to the letter: what follows its ? is a signature."""
    url = value.get_secret_value().strip()
    if not codec.web_url(url) or not url.isascii():
        raise ValueError(f"url is no address: {_COPY}")
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if _CONNECTOR.fullmatch(host):
        raise ValueError(
            f"url is an Office 365 connector's, which Microsoft has switched off; make a workflow: {_COPY}"
        )
    if _PAGE.fullmatch(host):
        raise ValueError(f"url is a page and no webhook: {_COPY}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("url begins with http://, which shows its signature to everyone on the way: use https://")
    if _SIGNED.fullmatch(host) and "sig=" not in parts.query:
        raise ValueError("url has no sig=, it was cut off: copy it whole, and in a shell put it into quotes")
    return SecretStr(url)


class Options(DestinationOptions):
    """Give `url`, the address of a workflow."""

    url: Annotated[SecretStr, AfterValidator(_workflow_address)] = Field(
        description="The address of a workflow that posts what it gets. It is a secret."
    )


def payload(message: Message, options: Options) -> dict[str, Any]:
    """Return the JSON of `message`: one Adaptive Card."""
    return _teams_card.build(message)


# -- what an answer means

# What Azure's front end says before a workflow runs; its own words, in `error.code`.
_CODES: dict[str, tuple[type[DeliveryError], str]] = {
    "WorkflowNotFound": (Dead, "the workflow was deleted, make a new one and write its address"),
    "WorkflowTriggerNotFound": (Dead, "the workflow has another trigger now, copy the address again"),
    "WorkflowDisabled": (Dead, "the workflow is switched off, open it in Power Automate and turn it on"),
    "WorkflowSuspended": (Dead, "the workflow was suspended, open it in Power Automate to see why"),
    "WorkflowTriggerIsNotEnabled": (Dead, "the workflow is switched off, open it in Power Automate and turn it on"),
    "TriggerInputSchemaMismatch": (Rejected, "its trigger takes another form of message"),
    "InvalidRequestContent": (Rejected, "not the JSON that it expects"),
    "RequestEntityTooLarge": (Rejected, "too large"),
}
_BY_STATUS: dict[int, tuple[type[DeliveryError], str]] = {
    400: (Rejected, "something in it is wrong"),
    401: (Dead, "the address or its signature is wrong, copy it again; who can trigger the workflow must be: Anyone"),
    403: (Dead, "a policy of your organisation forbids the workflow, ask the admins of Power Platform"),
    404: (Dead, "no such workflow: it was deleted, or whoever made it has left; make a new one"),
    410: (Dead, "the workflow is gone, make a new one"),
    413: (Rejected, "too large"),
    504: (Unsure, "the workflow did not answer in time, the message may have arrived"),
}
_RUN = "x-ms-workflow-run-id"


def judge(status: int, headers: Mapping[str, str], answer: Any) -> DeliveryError | None:
    """Return what an answer means, None when it is good. `answer` is its JSON, None where it was none."""
    own = isinstance(answer, dict) or any(name.lower().startswith("x-ms-") for name in headers)
    if status == 429:
        return RateLimited("teams asks to wait", retry_after(header(headers, "retry-after")))
    if 200 <= status < 300:
        return None if own or _is_accepted(status, headers) else judge_status("teams", status)
    code = _code(answer)
    if status < 500 and code in _CODES:
        kind, text = _CODES[code]
        return _said(kind, code, text)
    if own and status in _BY_STATUS:
        kind, text = _BY_STATUS[status]
        return _said(kind, f"HTTP {status}" + (f", {code}" if code else ""), text)
    return judge_status("teams", status, code)


def _is_accepted(status: int, headers: Mapping[str, str]) -> bool:
    """A workflow accepts without a word; a page with 202 is somebody else's."""
    return status == 202 and "html" not in (header(headers, "content-type") or "").lower()


def _said(kind: type[DeliveryError], shown: str, text: str) -> DeliveryError:
    return kind(f"teams refuses the message ({shown}): {text}" if kind is Rejected else f"teams says {shown}: {text}")


def _code(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z]{1,60}", code) else ""


# -- talking

_UNASKED = "a workflow cannot be asked without posting: look at its run history in Power Automate"


def open(name: str, options: Options, session: aiohttp.ClientSession) -> Workflow:
    """Return the destination that talks through `session`."""
    return Workflow(name, options, session)


class Workflow:
    """A workflow of Power Automate that posts what it gets."""

    can_edit = False
    can_thread = False

    def __init__(self, name: str, options: Options, session: aiohttp.ClientSession) -> None:
        from yarl import URL

        self.name = name
        self._options = options
        self._session = session
        url = options.url.get_secret_value()
        self._url = URL(url, encoded=True)  # else %2F in the signed part would become a slash
        named = digest(url)
        # What is too fast fails after the 202, unseen, and no number is published: rather slow.
        self._bucket = Bucket(f"teams:{named}", options.rate or Rate(0.5), burst=5)

    def buckets(self, *, edit: bool, channel: str | None) -> tuple[Bucket, ...]:
        return (self._bucket,)

    async def send(
        self, message: Message, *, channel: str | None, thread: Receipt | None, key: str | None = None
    ) -> Receipt:
        """Return the id of the workflow's run, by which its owner can find out what became of the card."""
        answer = await ask(
            self._session,
            "POST",
            self._url,
            chat="teams",
            within=self._options.timeout,
            body=codec.dump(payload(message, self._options)),
            headers={"Content-Type": "application/json; charset=utf-8"},
        )
        bad = judge(answer.status, answer.headers, answer.object())
        if isinstance(bad, RateLimited):
            bad.bucket = self._bucket.key
        if bad:
            raise bad
        run = header(answer.headers, _RUN) or ""
        return {"run": run} if re.fullmatch(r"[\w-]{1,100}", run, re.ASCII) else {}

    async def edit(self, message: Message, receipt: Receipt) -> Receipt:
        raise Gone("what a workflow has posted cannot be edited")

    async def check(self) -> Health:
        return Health(None, _UNASKED)
