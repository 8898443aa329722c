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


def _source(name: str) -> dict[str, str]:
    signs = SOURCES[name].SIGNS and name != "generic"
    return {"type": name, "secret" if signs else "token": SECRET}


def places(chat: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return one destination of every type that is known here, and the types that are not."""
    token = {"token": "made-up-token", "channel": "builds"}
    options: dict[str, dict[str, Any]] = {
        "slack": {"token": "xoxb-made-up", "channel": "#builds", "api_url": f"{chat}/api/"},
        "discord": {"url": f"{chat}/api/webhooks/1/made-up"},
        "teams": {"url": f"{chat}/teams"},
        "google_chat": {"url": f"{chat}/google"},
        "mattermost": {"site": chat, **token},
        "rocketchat": {"url": f"{chat}/hooks/made-up"},
        "console": {},
    }
    known = {f"one-{name}": {"type": name, **options[name]} for name in DESTINATIONS if name in options}
    return known, [name for name in DESTINATIONS if name not in options]
