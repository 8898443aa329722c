"""How long from the webhook's first byte until its message is at the chat?

A steady pace, whatever the answers do: 20 a second for every product, half of what bridge can do at most for bridge
alone. Then one more chat that takes every event and never answers: the others must not feel it.
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.bodies import REPOSITORIES
from benchmarks.chat import Chat, chatting
from benchmarks.context import Context
from benchmarks.deliveries import delivering
from benchmarks.load import pace, run
from benchmarks.rivals.products import PRODUCTS, Product
from benchmarks.row import Row, at_most, middle, percentile
from benchmarks.servers import Absent, Server, configuration

SLOW_PACE = 20.0  # a second
HANGING_PACE = 100.0
COMPARED = ("bridge", "relay")
DRAINED_AFTER = 3.0  # seconds without a message


def measure(context: Context) -> list[Row]:
    seconds = context.seconds * 2.5
    with chatting(context) as chat:
        rows = _at_a_slow_pace(context, chat, seconds)
        rows += _at_half(context, chat, seconds)
        rows += _one_hangs(context, chat, seconds)
    return rows


def latencies_ms(
    context: Context, chat: Chat, product: Product, server: Server, per_second: float, seconds: float
) -> list[float]:
    """Return how long each event took from its request to the chat; raise Absent when one did not come."""
    chat.forget()
    sent = run(pace(server.port, product.requests(numbers=context.numbers), per_second, seconds))
    chat.await_count(len(sent.accepted), DRAINED_AFTER)
    taken = chat.taken()
    if missing := len(sent.at) - len(taken):
        raise Absent(f"{missing} of {len(sent.at)} events never reached the chat: {sent.first_refusal!r}")
    return [(at - sent.at[number]) * 1000 for number, at in taken.items() if number in sent.at]


def _warm(context: Context, chat: Chat, product: Product, server: Server) -> None:
    latencies_ms(context, chat, product, server, SLOW_PACE, 1)


def _at_a_slow_pace(context: Context, chat: Chat, seconds: float) -> list[Row]:
    """Measure bridge and the relay in turns, every round; the others, which no goal names, once."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in PRODUCTS}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for number in range(context.rounds):
            for name, product in PRODUCTS.items():
                if name in missing or (number and name not in COMPARED):
                    continue
                try:
                    if name not in servers:
                        servers[name] = stack.enter_context(product.running(context, chat.url))
                        _warm(context, chat, product, servers[name])
                    times = latencies_ms(context, chat, product, servers[name], SLOW_PACE, seconds)
                except Absent as error:
                    missing[name] = str(error)
                    continue
                found[name][0].append(percentile(times, 50))
                found[name][1].append(percentile(times, 99))
    rows = []
    for name, (p50, p99) in found.items():
        key, what = f"latency.20.{name}", f"{PRODUCTS[name].label} at {SLOW_PACE:g}/s"
        if not p50:
            rows.append(Row(f"{key}.p50", what, missing=missing[name]))
            continue
        context.say(f"{what}: p50 {middle(p50):.1f}, p99 {middle(p99):.1f} ms")
        rows += [
            Row(f"{key}.p50", f"{what}, p50", tuple(p50), "ms"),
            Row(f"{key}.p99", f"{what}, p99", tuple(p99), "ms"),
        ]
    for index, (percent, goal) in enumerate((("p50", at_most(2.0)), ("p99", at_most(2.5)))):
        mine, theirs = (found[name][index] for name in COMPARED)
        ratios = tuple(each / other for each, other in zip(mine, theirs, strict=False))
        why = "" if ratios else "one of them is not there"
        what, alone = f"   bridge by the relay, {percent}", f"POST to chat beside the relay, {percent}"
        rows.append(Row(f"latency.of.relay.{percent}", what, ratios, "", goal, missing=why, title=alone))
    return rows


def _at_half(context: Context, chat: Chat, seconds: float) -> list[Row]:
    product = PRODUCTS["bridge"]
    with product.running(context, chat.url) as server:
        most = context.found.get("deliveries_per_second")
        if not most:
            chat.forget()
            most, _, _ = delivering(context, chat, product, server, context.seconds)
        _warm(context, chat, product, server)
        latencies_ms(context, chat, product, server, most / 2, 1)  # what a start has yet to do is measured as a start
        times = latencies_ms(context, chat, product, server, most / 2, seconds)
    beside = f"at {most / 2:,.0f}/s of {most:,.0f}/s"
    return [
        Row("latency.half.p50", "bridge at half of saturation, p50", (percentile(times, 50),), "ms", None, beside),
        Row("latency.half.p99", "bridge at half of saturation, p99", (percentile(times, 99),), "ms", at_most(50)),
    ]


def _one_hangs(context: Context, chat: Chat, seconds: float) -> list[Row]:
    """One more destination hears every event and never answers; the others' p99 beside what it was without."""
    product = PRODUCTS["bridge"]
    place = {"type": "slack", "url": f"{chat.url}/hang", "rate": "100000/s"}
    hanging = {"destinations": {"hangs": place}, "rules": [{"name": "all to the one that hangs", "to": "hangs"}]}
    p99: dict[bool, list[float]] = {False: [], True: []}
    with (
        context.bridge(configuration(chat=chat.url, rules=REPOSITORIES)) as plain,
        context.bridge(configuration(chat=chat.url, rules=REPOSITORIES, extra=hanging)) as troubled,
    ):
        for server in (plain, troubled):
            _warm(context, chat, product, server)
        for _ in range(context.rounds):
            for hangs, server in ((False, plain), (True, troubled)):
                times = latencies_ms(context, chat, product, server, HANGING_PACE, seconds / 2)
                p99[hangs].append(percentile(times, 99))
    ratios = tuple(with_it / without for with_it, without in zip(p99[True], p99[False], strict=True))
    beside = f"{middle(p99[True]):.1f} ms of {middle(p99[False]):.1f} ms, at {HANGING_PACE:g}/s"
    return [Row("latency.one.hangs", "one chat hangs: the others' p99", ratios, "of before", at_most(1.5), beside)]
