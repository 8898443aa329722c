"""A Mattermost on loopback: the API of a bot and an incoming webhook as their manual says, and badly on demand.
`tests.fakes.base` says how to use it.

https://developers.mattermost.com/api-documentation/
https://developers.mattermost.com/integrate/webhooks/incoming/
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.altered import replace
from tests.fakes.base import Call, FakeChat, Fault, Invalid, Reply

TOKEN = "made-up-bot-token"
WEBHOOK_PATH = "/hooks/madeupwebhooksecret0000001"
TEAM, OTHER_TEAM = "teamacme000000000000000001", "teamother00000000000000001"
CHANNEL = "chanbuilds0000000000000001"
ARCHIVED = "chanarchived00000000000001"
LONGEST = 16_383
BOT_EMAIL = "bridge@localhost"


def error(http: int, word: str) -> Fault:
    return Fault("answer", status=http, body=_words(http, word))


def _words(http: int, word: str) -> dict[str, Any]:
    return {"id": word, "message": "made up", "request_id": "r", "status_code": http}


class FakeMattermost(FakeChat):
    """Two teams; the bot is in one channel, and one is archived. `seen` never forgets, for it knows no time."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = {(TEAM, "builds"): CHANNEL, (TEAM, "archived"): ARCHIVED}
        self.teams = {"acme": TEAM, "other": OTHER_TEAM}
        self.members = {CHANNEL, ARCHIVED}
        self.seen: dict[str, str] = {}
        self.users: dict[str, dict[str, Any]] = {}  # by e-mail address
        self.hides_emails = False

    @property
    def webhook_url(self) -> str:
        return self.base + WEBHOOK_PATH

    # -- what goes wrong

    def limited(self, after: float) -> Fault:
        headers = {"X-Ratelimit-Limit": "10", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": str(int(after))}
        return Fault("answer", status=429, body="limit exceeded\n", headers=headers)

    def dead(self) -> Fault:
        return error(401, "api.context.session_expired.app_error")

    def refused(self) -> Fault:
        return error(400, "model.post.is_valid.message_length.app_error")

    def edit_refused(self) -> Fault:
        return error(400, "api.post.update_post.permissions_time_limit.app_error")

    # -- what it answers

    def name(self, request: web.Request) -> str:
        return "webhook" if request.path.startswith("/hooks/") else request.method

    def shown(self, call: Call, reply: Reply) -> Reply:
        """A webhook that was removed says it in its own word."""
        if call.method == "webhook" and reply.status == 401:
            return replace(reply, status=400, body=_words(400, "web.incoming_webhook.invalid.app_error"))
        return reply

    def check(self, body: dict[str, Any], *, edit: bool) -> None:
        check(body)

    def answer(self, call: Call) -> Reply:
        if call.method == "webhook":
            return self._webhook(call)
        if not call.path.startswith("/api/v4/"):
            return Reply(200, "<html>the web app</html>", {"Content-Type": "text/html"})
        if call.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _bad(401, "api.context.session_expired.app_error")
        return self._api(call, call.path.split("/")[3:])

    def _api(self, call: Call, path: list[str]) -> Reply:
        match call.method, path:
            case "GET", ["users", "me"]:
                return Reply(200, {"id": "bot00000000000000000000001", "username": "bridge", "email": BOT_EMAIL})
            case "GET", ["users", "email", email]:
                return self._user(unquote(email))
            case "GET", ["users", "me", "teams"]:
                return Reply(200, [{"id": one} for one in self.teams.values()])
            case "GET", ["teams", "name", team, "channels", "name", name]:
                return self._channel(self.channels.get((self.teams.get(team, ""), name)))
            case "GET", ["teams", team, "channels", "name", name]:
                return self._channel(self.channels.get((team, name)))
            case "GET", ["channels", channel]:
                return self._channel(channel if channel in self.channels.values() else None)
            case "GET", ["channels", channel, "members", "me"]:
                return (
                    Reply(200, {"user_id": "me"})
                    if channel in self.members
                    else _bad(404, "app.channel.get_member.missing.app_error")
                )
            case "POST", ["posts"]:
                return self._post(call.body)
            case "PUT", ["posts", post, "patch"]:
                return self._patch(post, call.body)
        return _bad(404, "api.context.404.app_error")

    def _user(self, email: str) -> Reply:
        if self.hides_emails:
            return _bad(403, "api.user.get_user_by_email.permissions.app_error")
        user = self.users.get(email.lower())
        return Reply(200, user) if user else _bad(404, "app.user.missing_account.const")

    def _channel(self, channel: str | None) -> Reply:
        if channel is None:
            return _bad(404, "app.channel.get_by_name.missing.app_error")
        name = next(name for (_, name), known in self.channels.items() if known == channel)
        return Reply(200, {"id": channel, "name": name, "delete_at": int(channel == ARCHIVED)})

    def _post(self, body: dict[str, Any]) -> Reply:
        channel, root = body.get("channel_id"), body.get("root_id")
        pending = body.get("pending_post_id", "")
        if pending in self.seen:
            return Reply(201, {"id": self.seen[pending], "channel_id": channel})
        if channel not in self.channels.values():
            return _bad(400, "api.context.invalid_param.app_error")
        if channel not in self.members:
            return _bad(403, "api.context.permissions.app_error")
        if channel == ARCHIVED:
            return _bad(400, "api.post.create_post.can_not_post_to_deleted.error")
        if root and root not in self.messages:
            return _bad(400, "api.post.create_post.root_id.app_error")
        if self.valid(body):
            return _bad(400, "model.post.is_valid.message_length.app_error")
        posted = self.post(body, key=f"post{len(self.calls):022d}", place=channel, thread=root)
        if pending:
            self.seen[pending] = posted.id
        return Reply(201, {"id": posted.id, "channel_id": channel, "message": body["message"]})

    def _patch(self, post: str, body: dict[str, Any]) -> Reply:
        if post not in self.messages:
            return _bad(403, "api.context.permissions.app_error")  # it does not say that there is no such post
        if self.valid(body, edit=True):
            return _bad(400, "model.post.is_valid.message_length.app_error")
        self.edit(self.messages[post], body)
        return Reply(200, {"id": post})

    def _webhook(self, call: Call) -> Reply:
        if call.path != WEBHOOK_PATH:
            return _bad(400, "web.incoming_webhook.invalid.app_error")
        if self.valid(call.body):
            return _bad(400, "web.incoming_webhook.text.app_error")
        self.post(call.body, key=f"post{len(self.calls):022d}", place=call.body.get("channel", ""))
        return Reply(200, "ok", {"Content-Type": "text/plain"})


def _bad(http: int, word: str) -> Reply:
    return Reply(http, _words(http, word))


_BOT = {"channel_id", "root_id", "pending_post_id", "message", "props"}
_HOOK = {"text", "attachments", "channel"}
_ATTACHMENT = set("color fallback pretext text author_name author_link author_icon title title_link".split())
_ATTACHMENT |= {"fields", "image_url", "thumb_url", "footer", "footer_icon"}


def check(body: dict[str, Any]) -> None:
    """Return if Mattermost would take `body` as one post, else raise Invalid."""
    bot = "message" in body
    _need(set(body) <= (_BOT if bot else _HOOK), f"unknown keys in {sorted(body)}")
    text = body.get("message" if bot else "text")
    _need(isinstance(text, str) and text.strip() != "", "empty")
    _need(len(str(text)) <= LONGEST, "too long: a webhook's would be split")
    attachments = body["props"]["attachments"] if bot else body.get("attachments", [])
    _need(isinstance(attachments, list), "attachments are no list")
    for one in attachments:
        _need(set(one) <= _ATTACHMENT, f"unknown keys in {sorted(one)}")
        texts = [value for key, value in one.items() if key != "fields"]
        _need(all(isinstance(value, str) and value.encode() for value in texts), "a value is no text")
        for field in one.get("fields", []):
            _need(set(field) == {"title", "value", "short"} and isinstance(field["short"], bool), "no field")
        _need(len(one.get("text", "")) <= LONGEST, "an attachment is too long")
        _need(len(one.get("footer", "")) <= 300, "its programs cut the footer")


def _need(fits: object, text: str) -> None:
    if not fits:
        raise Invalid(text)
