"""Does a changed file reach the running bridge, wherever and however it is kept?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge import config as configuration
from bridge.app import Bridge
from tests.running import until

TEXT = """
version: 1
sources: {{github: {{type: github, secret: a-made-up-secret}}}}
destinations: {{here: {{type: console}}}}
rules: [{{name: {name}, to: here}}]
"""


@asynccontextmanager
async def watching(path: str | None, folder: Path) -> AsyncIterator[Bridge]:
    environ = {"DATABASE_URL": f"sqlite:///{folder}/bridge.db"}
    bridge = Bridge(configuration.load(path, environ), config_path=path, environ=environ)
    await bridge.start("127.0.0.1", 0)
    bridge.watch()
    try:
        yield bridge
    finally:
        await bridge.stop()


def name_of(bridge: Bridge) -> str:
    return bridge.config.rules[0].name


async def changes(bridge: Bridge, path: Path, name: str) -> None:
    """Write until it is seen: when a watch begins is not told."""

    def seen() -> bool:
        if name_of(bridge) != name:
            path.write_text(TEXT.format(name=name), "utf-8")
        return name_of(bridge) == name

    await until(seen, every=0.3)


async def test_a_relative_path_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(TEXT.format(name="first"), "utf-8")
    async with watching(None, tmp_path) as bridge:
        await changes(bridge, Path("config.yaml"), "second")
        await changes(bridge, Path("config.yaml"), "third")


async def test_a_file_behind_a_link_is_watched_when_the_link_is_changed(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(TEXT.format(name=name), "utf-8")
    (tmp_path / "config.yaml").symlink_to("first/config.yaml")
    async with watching(str(tmp_path / "config.yaml"), tmp_path) as bridge:

        def swapped() -> bool:
            fresh = tmp_path / "fresh"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to("second/config.yaml")
            fresh.replace(tmp_path / "config.yaml")
            return name_of(bridge) == "second"

        await until(swapped, every=0.3)


async def test_a_bad_file_is_forgotten_once_the_good_one_is_back(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(TEXT.format(name="first"), "utf-8")
    async with watching(str(path), tmp_path) as bridge:
        await changes(bridge, path, "second")
        path.write_text("version: [", "utf-8")
        assert not await bridge.reload()
        assert name_of(bridge) == "second"
        await changes(bridge, path, "third")
