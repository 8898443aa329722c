"""How many events a second become messages in the chat, and what does it take?

32 connections send whatever the product takes; the chat counts. Counted is what arrives while the load lasts, from half
a second after its start: a product that accepts more than it delivers is measured by what it delivers. All products run
on one core and stay up for all rounds, which they take in turns: what grows with the hours shows.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.chat import Chat, chatting
from benchmarks.context import Context
from benchmarks.load import run, saturate
from benchmarks.rivals.products import PRODUCTS, Product
from benchmarks.row import Goal, Row, at_least, middle
from benchmarks.servers import Absent, Server

CONNECTIONS = 32
WARM_UP = 0.5  # seconds
DRAINED_AFTER = 3.0  # seconds without a message
NO_PACKAGE = "apprise-api is a site for a container, no package; the library stands above"
GOALS: dict[str, Goal | None] = {"relay": at_least(1.0), "alertmanager": at_least(2.5)}


@dataclass
class Found:
    """What the rounds of one product gave."""

    delivered: list[float] = field(default_factory=list)  # per second
    accepted: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    idle_mb: float = 0.0
    loaded_mb: float = 0.0
    missing: str = ""


def measure(context: Context) -> list[Row]:
    found: dict[str, Found] = {name: Found() for name in PRODUCTS}
    with ExitStack() as stack:
        chat = stack.enter_context(chatting(context))
        servers: dict[str, Server] = {}
        for name, product in PRODUCTS.items():
            try:
                servers[name] = stack.enter_context(product.running(context, chat.url))
            except Absent as error:
                found[name].missing = str(error)
        for _ in range(context.rounds):
            for name in tuple(servers):
                try:
                    _round(context, chat, PRODUCTS[name], servers[name], found[name])
                except Absent as error:
                    found[name].missing = str(error)
                    del servers[name]
    for name, each in found.items():
        context.say(f"{name}: {middle(each.delivered):,.0f}/s {each.missing}")
    context.found["deliveries_per_second"] = middle(found["bridge"].delivered)
    rows = [row for name in PRODUCTS for row in _rows(name, found[name], found["bridge"])]
    return [*rows, Row("deliveries.of.apprise-api", "   bridge by apprise-api", goal=at_least(12), missing=NO_PACKAGE)]


def _round(context: Context, chat: Chat, product: Product, server: Server, found: Found) -> None:
    chat.forget()
    found.idle_mb = found.idle_mb or server.memory_mb
    per_second, accepted, cpu_us = delivering(context, chat, product, server, context.seconds)
    found.loaded_mb = max(found.loaded_mb, server.memory_mb)
    found.delivered.append(per_second)
    found.accepted.append(accepted)
    found.cpu_us.append(cpu_us)


def delivering(
    context: Context, chat: Chat, product: Product, server: Server, seconds: float, *, pids: tuple[Server, ...] = ()
) -> tuple[float, float, float]:
    """Load `server`; return the messages and the accepted requests per second, and the CPU of one message in µs."""
    servers = (server, *pids)
    worked = sum(each.cpu_seconds for each in servers)
    begun = time.monotonic()
    sent = run(saturate(server.port, product.requests(numbers=context.numbers), seconds + WARM_UP, CONNECTIONS))
    if not sent.accepted:
        raise Absent(f"{product.label} accepted nothing: {sent.first_refusal!r}")
    chat.await_count(len(sent.accepted), DRAINED_AFTER)
    taken = chat.taken()
    first, last = begun + WARM_UP, begun + WARM_UP + seconds
    in_time = sum(first <= at < last for at in taken.values())
    cpu_us = (sum(each.cpu_seconds for each in servers) - worked) / max(1, len(taken)) * 1e6
    return in_time / seconds, sent.per_second, cpu_us


def _rows(name: str, found: Found, bridge: Found) -> list[Row]:
    label = PRODUCTS[name].label
    if found.missing:
        return [Row(f"deliveries.{name}", label, missing=found.missing)]
    beside = (
        f"accepts {middle(found.accepted):,.0f}/s, CPU {middle(found.cpu_us):,.0f} µs a message, "
        f"{found.idle_mb:.0f} MB idle, {found.loaded_mb:.0f} MB loaded"
    )
    rows = [Row(f"deliveries.{name}", label, tuple(found.delivered), "/s", None, beside)]
    if name != "bridge" and bridge.delivered:
        ratios = tuple(
            mine / max(1e-9, theirs) for mine, theirs in zip(bridge.delivered, found.delivered, strict=False)
        )
        rows.append(
            Row(
                f"deliveries.of.{name}",
                f"   bridge by {label}",
                ratios,
                "",
                GOALS.get(name),
                title=f"deliveries beside {label}",
            )
        )
    return rows
