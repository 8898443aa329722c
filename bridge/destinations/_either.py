"""How is a server of one's own reached: by an incoming webhook's `url`, or as a bot by `site`, `token` and `channel`?

What Mattermost and Rocket.Chat have in common. What their channels look like, and where to click, is their own.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from bridge.codec import web_url
from bridge.destinations.base import secret_of


def site(value: str | None, api: str) -> str | None:
    """Return a server's address without a slash at its end; raise ValueError where it is none, or leads into `api`."""
    if value is None:
        return None
    url = value.strip().rstrip("/")
    if not web_url(url) or "?" in url or "#" in url:
        raise ValueError("site is no address, write the one of the browser: https://chat.example.com")
    if api in url or "/hooks/" in url:
        raise ValueError("site is the server alone, https://chat.example.com; a webhook's address is url")
    return url


def one_way(url: SecretStr | None, site: str | None, token: SecretStr | None, channel: str | None) -> str:
    """Return the webhook's address, nothing for a bot; raise ValueError where it is neither, or both."""
    webhook, word = secret_of(url), secret_of(token)
    if webhook and (word or site):
        raise ValueError("give url (a webhook), or site, token and channel (a bot), not both")
    if webhook:
        return webhook
    given = {"site": site, "token": word, "channel": channel}
    missing = [name for name, value in given.items() if not value]
    if missing:
        wanted = f"; {' and '.join(missing)} missing" if len(missing) < 3 else ""
        raise ValueError(f"give url (an incoming webhook), or site, token and channel (a bot){wanted}")
    if not re.fullmatch(r"[!-~]+", word):
        raise ValueError("the token has spaces or letters that no token has, copy it again")
    return ""


def check_webhook(url: str, path: str, label: str, copy: str) -> None:
    """Raise ValueError where `url` is none, or does not end as the address of an incoming webhook does."""
    if not web_url(url):
        raise ValueError(f"url is no address, {copy}")
    if not re.search(rf"/hooks/{path}/?$", urlsplit(url).path) or "?" in url:
        raise ValueError(f"url is no incoming webhook of {label}, {copy}")
