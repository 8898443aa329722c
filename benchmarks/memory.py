"""How much memory does it hold: at rest with every source and every chat configured, and under load?"""

from __future__ import annotations

from typing import Any

from benchmarks.bodies import SECRET
from benchmarks.chat import chatting
from benchmarks.context import Context
from benchmarks.deliveries import delivering
from benchmarks.load import pace, run
from benchmarks.rivals.products import PRODUCTS
from benchmarks.row import Row, at_most
from benchmarks.servers import configuration
from bridge.destinations import DESTINATIONS
from bridge.sources import SOURCES

REST = 2.0  # seconds after the first events


def measure(context: Context) -> list[Row]:
    product = PRODUCTS["bridge"]
    with chatting(context) as chat:
        known, unknown = places(chat.url)
        configured = configuration(chat=chat.url, extra={"destinations": known})
        configured["sources"] |= {name: _source(name) for name in SOURCES if name not in configured["sources"]}
        with context.bridge(configured) as server:
            run(pace(server.port, product.requests(numbers=context.numbers), 10, REST))
            idle = server.memory_mb
            delivering(context, chat, product, server, context.seconds * 2)
            loaded = server.memory_mb
    beside = f"{len(SOURCES)} sources, {len(known)} chats" + (f", without {', '.join(unknown)}" if unknown else "")
    return [
        Row("memory.idle", "memory at rest", (idle,), "MB", at_most(64), beside),
        Row("memory.loaded", "memory under load", (loaded,), "MB", at_most(96)),
    ]


def _source(name: str) -> dict[str, Any]:
    if name in ("netlify", "standard", "travis", "buildkite"):  # their keys have forms of their own
        return {"type": name, "unsigned": True}
    signs = SOURCES[name].SIGNS and name != "generic"
    return {"type": name, "secret" if signs else "token": SECRET}


def places(chat: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return one destination of every type that is known here, and the types that are not."""
    bot = {"site": chat, "token": "made-up-token", "channel": "builds"}
    options: dict[str, dict[str, Any]] = {
        "console": {},
        "discord": {"url": f"{chat}/api/webhooks/1/made-up"},
        "email": {"smtp_url": "smtp://127.0.0.1:2525", "from": "bridge@example.com", "to": "team@example.com"},
        "google_chat": {"url": f"{chat}/v1/spaces/AAAA/messages?key=made-up&token=made-up"},
        "matrix": {"homeserver": chat, "token": "made-up-token", "room": "!made-up:example.com"},
        "mattermost": bot,
        "rocketchat": bot,
        "slack": {"token": "xoxb-made-up", "channel": "#builds", "api_url": f"{chat}/api/"},
        "teams": {"url": f"{chat}/workflows/made-up/triggers/manual/paths/invoke?sig=made-up"},
        "telegram": {"token": f"123456:{'a' * 35}", "chat": "-1001234567890", "api_url": chat},
        "webex": {"token": "made-up-token", "room": "a" * 76, "api_url": chat},
        "webhook": {"url": f"{chat}/hook", "secret": f"whsec_{'a' * 32}"},
        "zulip": {
            "site": chat,
            "email": "bridge-bot@example.com",
            "api_key": "a" * 32,
            "channel": "builds",
            "topic": "ci",
        },
    }
    known = {f"one-{name}": {"type": name, **options[name]} for name in DESTINATIONS if name in options}
    return known, [name for name in DESTINATIONS if name not in options]
