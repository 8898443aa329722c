"""A real bridge on loopback."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.http.wire import Client, running

Open = Callable[..., Awaitable[Client]]


@pytest.fixture(autouse=True)
def only_warnings() -> Iterator[None]:
    """A line of log per request of thousands would take most of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.configure(**before)


@pytest.fixture
async def open_bridge(tmp_path: Path) -> AsyncIterator[Open]:
    """Start a bridge with the options of `tests.http.wire.running`."""
    opened: list[Client] = []

    async def start(**options: Any) -> Client:
        opened.append(await running(tmp_path, **options))
        return opened[-1]

    yield start
    for client in opened:
        await client.stop()


@pytest.fixture
async def client(open_bridge: Open) -> Client:
    return await open_bridge()
