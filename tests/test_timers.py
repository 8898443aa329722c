"""Do the timers (forgetting, routing again) go on, whatever happens to one of their turns?"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bridge import app
from bridge import config as configuration
from bridge.store.sqlite import SqliteStore


async def test_a_bug_in_forgetting_does_not_end_the_timers_of_the_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LEAD_EVERY", timedelta(milliseconds=1))
    monkeypatch.setattr(app, "PURGE_EVERY", timedelta(0))
    turns: asyncio.Queue[None] = asyncio.Queue()

    async def failing(*_: object) -> int:
        turns.put_nowait(None)
        raise ValueError("a row that cannot be read")

    monkeypatch.setattr(SqliteStore, "purge", failing)
    (tmp_path / "config.yaml").write_text("version: 1\n")
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db"}
    path = str(tmp_path / "config.yaml")
    bridge = app.Bridge(configuration.load(path, environ), config_path=path, environ=environ)
    await bridge.start("127.0.0.1", 0)
    try:
        async with asyncio.timeout(10):
            await turns.get()
            await turns.get()
    finally:
        await bridge.stop()
