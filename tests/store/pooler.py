"""A real PgBouncer between bridge and a PostgreSQL, where one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.postgres import NOBODY, WITHIN

CONFIG = """
[databases]
* = host={host} port={port} user=bridge
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


def program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer(folder: Path, url: str, mode: str) -> Iterator[str]:
    """Yield the address that leads to the database at `url` through PgBouncer."""
    found = program()
    if found is None:
        pytest.skip("no pgbouncer: install it to see what poolers do")
    server = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = probe.getsockname()[1]
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(host=server.hostname, port=server.port, listen=listen, mode=mode))
    as_nobody = ["-u", NOBODY] if os.geteuid() == 0 else []  # it refuses to run as root
    process = subprocess.Popen([found, "-q", *as_nobody, str(config)], stderr=subprocess.PIPE)
    try:
        ends = time.monotonic() + WITHIN
        while not _answers(listen):
            if process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"PgBouncer does not start: {process.communicate()[1]!r}")
            time.sleep(0.02)
        yield f"postgresql://bridge@127.0.0.1:{listen}{server.path}"
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
