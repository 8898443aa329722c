"""What bridge writes to: a SQLite file or a PostgreSQL server, on a small disk of its own that can be full.

The disk is a tmpfs, which only root can mount: for everybody else the fault "disk full" is left out, and named. It is
full when its size is set to what is used. The queries at the end ask the tables directly, and not through bridge.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

SIZE = "6g"  # of the disk; a tmpfs takes only what is used
SPARE = 64 * 1024  # bytes that are left on a full disk

WAITING = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')"
EVENTS = "SELECT id, state, event FROM events"
DELIVERIES = "SELECT event_id, destination, state, text FROM deliveries"
NOBODYS = "SELECT count(*) FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = d.event_id)"


class Disk:
    """A folder that can be full, where we may mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.can_be_full = os.geteuid() == 0 and self._mount(f"size={SIZE}", "-t", "tmpfs", "tmpfs")

    def _mount(self, options: str, *arguments: str) -> bool:
        try:
            found = subprocess.run(["mount", *arguments, "-o", options, self.folder], capture_output=True, check=False)
        except FileNotFoundError:
            return False
        return found.returncode == 0

    def fill(self) -> None:
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        if not self._mount(f"remount,size={used + SPARE}"):  # what is written meanwhile can be more than is spared
            self._mount(f"remount,size={used + 64 * SPARE}")

    def free(self) -> None:
        self._mount(f"remount,size={SIZE}")

    def close(self) -> None:
        if self.can_be_full:
            subprocess.run(["umount", "-l", self.folder], check=False)


class Database(Protocol):
    """An engine under test. `breaks` are the faults of its own that it can have."""

    engine: str
    roles: tuple[str, ...]
    url: str
    disk: Disk
    breaks: tuple[str, ...]

    async def restart(self, down: float) -> None: ...

    async def disconnect(self) -> None: ...

    async def heal(self) -> None:
        """Return when it runs, with space on its disk."""
        ...

    async def version(self) -> str: ...

    def rows(self, query: str) -> AsyncIterator[tuple[Any, ...]]: ...

    async def close(self) -> None: ...


class SqliteFile:
    engine = "sqlite"
    roles = ("all",)

    def __init__(self, folder: Path) -> None:
        self.disk = Disk(folder / "disk")
        self._path = self.disk.folder / "bridge.db"
        self.url = f"sqlite:///{self._path}"
        self.breaks = ("disk full",) if self.disk.can_be_full else ()

    async def restart(self, down: float) -> None:
        raise NotImplementedError("a file does not run")

    async def disconnect(self) -> None:
        raise NotImplementedError("a file has no connections")

    async def heal(self) -> None:
        if self.disk.can_be_full:
            self.disk.free()

    async def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    async def rows(self, query: str) -> AsyncIterator[tuple[Any, ...]]:
        db = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20)
        try:
            for row in db.execute(query):
                yield row
        finally:
            db.close()

    async def close(self) -> None:
        self.disk.close()


class Postgres:
    engine = "postgres"
    roles = ("web", "web", "worker", "worker")

    def __init__(self, folder: Path) -> None:
        from tests.postgres import PostgresServer

        self.disk = Disk(folder / "disk")
        self.disk.folder.chmod(0o755)
        before, tempfile.tempdir = tempfile.tempdir, str(self.disk.folder)  # where it makes its folder
        try:
            self._server: PostgresServer = PostgresServer(sync=True)
        finally:
            tempfile.tempdir = before
        self._server.start()
        self.url = self._server.url
        self.breaks = ("database restarted", "connections cut", *(("disk full",) if self.disk.can_be_full else ()))

    async def restart(self, down: float) -> None:
        await asyncio.to_thread(self._server.stop, "immediate")
        await asyncio.sleep(down)
        await asyncio.to_thread(self._server.start)

    async def disconnect(self) -> None:
        await first(
            self,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )

    async def heal(self) -> None:
        if self.disk.can_be_full:
            self.disk.free()
        try:
            await first(self, "SELECT 1")
        except Exception:  # a full disk may have ended it
            await asyncio.to_thread(self._server.stop, "immediate")
            await asyncio.to_thread(self._server.start)

    async def version(self) -> str:
        return "PostgreSQL " + str(await first(self, "SHOW server_version")).split()[0]

    async def rows(self, query: str) -> AsyncIterator[tuple[Any, ...]]:
        import asyncpg

        db = await asyncpg.connect(self.url, timeout=20)
        try:
            if query.startswith("SHOW"):
                yield tuple(await db.fetchrow(query))
                return
            async with db.transaction():
                async for row in db.cursor(query, prefetch=5_000):
                    yield tuple(row)
        finally:
            await db.close(timeout=5)

    async def close(self) -> None:
        await asyncio.to_thread(self._server.close)
        self.disk.close()


async def first(database: Database, query: str) -> Any:
    """Return the first value of the first row."""
    async for row in database.rows(query):
        return row[0]
    raise AssertionError(f"no row: {query}")


ENGINES = {"sqlite": SqliteFile, "postgres": Postgres}


def keep(database: Database, folder: Path) -> None:
    """Copy what is on the disk to `folder`: the disk is gone after the round."""
    shutil.copytree(database.disk.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("programs"))
