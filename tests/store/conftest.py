"""Every engine that bridge has, opened anew for each test: one suite of rules for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bridge.store import open_store
from bridge.store.base import Store

OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture(params=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of the engine under test."""
    return {"sqlite": f"sqlite:///{tmp_path}/bridge.db"}[request.param]


@pytest.fixture
async def reopen(url: str) -> AsyncIterator[OpenStore]:
    """Open the test's database (again): ``await reopen(worker=True)``. What is left open is closed at the end."""
    opened: list[Store] = []

    async def start(*, worker: bool = False) -> Store:
        opened.append(await open_store(url, worker=worker))
        return opened[-1]

    yield start
    for store in opened:
        await store.close()


@pytest.fixture
async def store(reopen: OpenStore) -> Store:
    return await reopen()
