"""What has GitHub sent by a webhook in the last three days? Its deliveries, of a repository's or an organization's.

A delivery's guid is the X-GitHub-Delivery of its request, the same for a redelivery. The list has no bodies: each is
fetched alone, and is JSON made anew, so the signature over the bytes that were sent says nothing about it. Webhooks of
an app need a signed token of the app itself: they are not asked.

https://docs.github.com/en/rest/repos/webhooks
https://docs.github.com/en/rest/orgs/webhooks
https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from bridge.codec import decode
from bridge.errors import Unreadable
from bridge.history import Hook, Sent
from bridge.history.asking import LINK_LIMIT, Answer, Asker, Refused, posts_to, segment
from bridge.sources._values import moment

if TYPE_CHECKING:
    import aiohttp

API_URL = "https://api.github.com"
PLACE = "OWNER/NAME, or ORGANIZATION for a webhook of its own"
NEEDS = "to read and write webhooks (fine-grained: Webhooks; classic: admin:repo_hook, admin:org_hook)"

_NAME = "GitHub's API"
_PAGE = 100
_HOOK = re.compile(r"/?(repos/[^/\s]+/[^/\s]+|orgs/[^/\s]+)/hooks/([0-9]{1,18})/?")
_NEXT = re.compile(r'<[^>]*[?&]cursor=([^&>]{1,300})[^>]*>\s*;\s*rel="next"')


class _Config(msgspec.Struct):
    url: str | None = None


class _Hook(msgspec.Struct):
    id: int
    config: _Config | None = None


class _Delivery(msgspec.Struct):
    id: int
    guid: str | None = None
    delivered_at: str | None = None
    event: str | None = None


class _Request(msgspec.Struct):
    headers: dict[str, Any] | None = None
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _Whole(msgspec.Struct):
    request: _Request | None = None


def asker(session: aiohttp.ClientSession, api_url: str | None, token: str) -> Asker:
    headers = {
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
        "Authorization": f"Bearer {token}",
    }
    return Asker(_NAME, session, api_url or API_URL, headers)


def named(path: str) -> Hook | None:
    """``repos/acme/app/hooks/7`` or ``orgs/acme/hooks/7``."""
    found = _HOOK.fullmatch(path)
    return Hook(found[1].partition("/")[2], f"/{found[1]}/hooks/{found[2]}") if found else None


async def hooks(ask: Asker, place: str, source: str) -> list[Hook]:
    """Those of the repository; where it has none that posts to us, those of its owner, which may send for it."""
    owner, _, name = place.partition("/")
    if not name:
        return await _hooks(ask, owner, f"/orgs/{segment(owner)}/hooks", source)
    found = await _hooks(ask, place, f"/repos/{segment(owner)}/{segment(name)}/hooks", source)
    if found:
        return found
    try:
        return await _hooks(ask, owner, f"/orgs/{segment(owner)}/hooks", source)
    except Refused:  # a person has none, and many tokens may not see them
        return []


async def _hooks(ask: Asker, place: str, path: str, source: str) -> list[Hook]:
    listed = await ask.get(path, list[_Hook], per_page=_PAGE)
    ours = (hook for hook in listed if hook.config and posts_to(hook.config.url or "", source))
    return [Hook(place, f"{path}/{hook.id}") for hook in ours]


async def sent(ask: Asker, hook: Hook, since: datetime) -> AsyncIterator[list[Sent]]:
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, str | int] = {"per_page": _PAGE} | ({"cursor": cursor} if cursor else {})
        listed, answer = await ask.page(f"{hook.path}/deliveries", list[_Delivery], **query)
        young = [one for one in listed if _since(one, since)]
        yield [_sent(one) for one in young if one.guid]
        cursor = _next(answer) if listed and len(young) == len(listed) else None


def _next(answer: Answer) -> str | None:
    """Return the cursor of the next page. Its address is not asked: it could lead the token elsewhere."""
    found = _NEXT.search(answer.headers.get("link", "")[:LINK_LIMIT])
    return unquote(found[1]) if found else None


def _since(delivery: _Delivery, since: datetime) -> bool:
    at = moment(delivery.delivered_at)
    return at is None or at >= since


def _sent(delivery: _Delivery) -> Sent:
    named = {"x-github-event": delivery.event} if delivery.event else {}
    return Sent(str(delivery.id), {"x-github-delivery": delivery.guid or "", **named})


async def fetch(ask: Asker, hook: Hook, sent: Sent) -> Sent:
    """Return the delivery with its body. What the list said of it stays: it is how the delivery is known again."""
    whole = await ask.get(f"{hook.path}/deliveries/{segment(sent.id)}", _Whole)
    body = _payload(whole.request.payload) if whole.request else None
    if whole.request is None or body is None:
        raise Refused(f"{_NAME} does not have the body of this delivery any more")
    told = {name.lower(): value for name, value in (whole.request.headers or {}).items() if isinstance(value, str)}
    # The body is JSON here, also where the webhook sends forms.
    return replace(sent, headers=told | sent.headers | {"content-type": "application/json"}, body=body)


def _payload(raw: msgspec.Raw) -> bytes | None:
    """Return the JSON object that was sent; it may be told as the text of one."""
    body = bytes(raw).strip()
    if body.startswith(b'"'):
        try:
            body = decode(body, str).encode().strip()
        except (Unreadable, UnicodeEncodeError):
            return None
    return body if body.startswith(b"{") else None


async def redeliver(ask: Asker, hook: Hook, sent: Sent) -> None:
    await ask.post(f"{hook.path}/deliveries/{segment(sent.id)}/attempts")
