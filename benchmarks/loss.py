"""What does the chat never see when something breaks?

Three faults, all products at once, each with a chat of its own, at a low pace: `kill -9` with 50 events accepted while
the chat is away, a chat that answers 500 for ten seconds, and one that answers 429. A product that works within the
request refuses the event instead, which most senders then never send again: the chat never sees it either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.chat import Chat, chatting
from benchmarks.context import Context
from benchmarks.load import Sent, pace, run
from benchmarks.rivals.products import PRODUCTS, Product
from benchmarks.row import Row, at_most
from benchmarks.servers import Server, free_port

EVENTS = 50
OUTAGE = 10.0  # seconds
RECOVERS_WITHIN = 45.0  # seconds
FAULTS = {"kill": "kill -9, 50 accepted", "500": "the chat answers 500", "429": "the chat answers 429"}


@dataclass(slots=True)
class Trial:
    """One product under one fault."""

    name: str
    product: Product
    fault: str
    chat: Chat
    start: Callable[[], Server]
    server: Server
    sent: Sent
    seconds: float = 0.0  # from the end of the fault until all that was accepted was there


def measure(context: Context) -> list[Row]:
    outage = OUTAGE / 4 if context.quick else OUTAGE
    rows: list[Row] = []
    with ExitStack() as stack:
        trials: list[Trial] = []
        for name, product in PRODUCTS.items():
            if why := product.absent():
                rows.append(Row(f"loss.{name}", product.label, missing=why))
                continue
            trials += [_trial(context, stack, name, product, fault) for fault in FAULTS]
        run(_all(context, trials, outage))
        rows += [_row(trial) for trial in trials]
    return rows


def _trial(context: Context, stack: ExitStack, name: str, product: Product, fault: str) -> Trial:
    chat = stack.enter_context(chatting(context))
    folder, port = context.new_folder(f"loss-{name}"), free_port()

    def start() -> Server:
        server = product.start(context, chat.url, folder, port, failing=True)
        stack.callback(server.stop)
        return server

    return Trial(name, product, fault, chat, start, start(), Sent())


async def _all(context: Context, trials: list[Trial], outage: float) -> None:
    await asyncio.gather(*(_suffer(context, trial, outage) for trial in trials))


async def _suffer(context: Context, trial: Trial, outage: float) -> None:
    requests = trial.product.requests(numbers=context.numbers)
    if trial.fault == "kill":
        trial.chat.be("down")
        trial.sent = await pace(trial.server.port, requests, EVENTS / 2, 2)
        trial.server.kill()
        trial.chat.be("ok")
        trial.server = trial.start()
    else:
        trial.chat.be(trial.fault)
        trial.sent = await pace(trial.server.port, requests, EVENTS / outage, outage)
        trial.chat.be("ok")
    over, patience = time.monotonic(), RECOVERS_WITHIN / 3 if context.quick else RECOVERS_WITHIN
    while trial.sent.accepted.keys() - trial.chat.taken().keys() and time.monotonic() - over < patience:
        await asyncio.sleep(0.25)
    trial.seconds = time.monotonic() - over


def _row(trial: Trial) -> Row:
    accepted, taken = trial.sent.accepted, trial.chat.taken()
    lost, twice = len(accepted.keys() - taken.keys()), trial.chat.count() - len(taken)
    unseen = len(trial.sent.at.keys() - taken.keys())
    beside = f"{lost} lost of {len(accepted)} accepted, {trial.sent.refused} refused, {twice} twice, "
    beside += f"{trial.chat.posts()} posts"
    if accepted and not lost:
        beside += f", all there {trial.seconds:.1f} s after"
    what = f"{trial.product.label}: {FAULTS[trial.fault]}"
    goal = at_most(0) if trial.name == "bridge" else None
    return Row(f"loss.{trial.name}.{trial.fault}", what, (float(unseen),), f"of {EVENTS} never seen", goal, beside)
