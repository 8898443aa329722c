"""A real bridge on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bridge.app import Bridge
from tests.http.wire import MAX_BODY, NOW, Client, config_of

Open = Callable[..., Awaitable[Client]]


@pytest.fixture
async def open_bridge(tmp_path: Path) -> AsyncIterator[Open]:
    """Start bridges: ``await open_bridge(max_body=..., token=..., read_within=...)``."""
    opened: list[Client] = []

    async def start(
        *,
        max_body: int = MAX_BODY,
        token: str = "",
        read_within: timedelta = timedelta(seconds=5),
        headers_within: timedelta = timedelta(seconds=30),
        now: Callable[[], datetime] = lambda: NOW,
    ) -> Client:
        environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/{len(opened)}.db", "BRIDGE_ADMIN_TOKEN": token}
        bridge = Bridge(
            config_of(tmp_path, max_body=max_body),
            environ=environ,
            role="web",  # nothing is delivered: what is answered is the matter here
            now=now,
            headers_within=headers_within,
            read_within=read_within,
        )
        await bridge.start("127.0.0.1", 0)
        opened.append(Client(bridge))
        return opened[-1]

    yield start
    for client in opened:
        await client.close()
        await client.bridge.stop()


@pytest.fixture
async def client(open_bridge: Open) -> Client:
    return await open_bridge()
