"""Start a server as a process of its own, on its core, and end it. Bridge is started as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bodies import REPOSITORIES, SECRET

ROOT = Path(__file__).parents[1]
READY_WITHIN = 30.0  # seconds
GONE_WITHIN = 15.0


class Absent(Exception):
    """What is to be measured is not here; the text says what."""


@dataclass
class Server:
    """A running server, with all that it started."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.process.pid)

    @property
    def memory_mb(self) -> float:
        return machine.memory_mb(self.process.pid)

    def kill(self) -> None:
        """End it at once, with all that it started, as a power cut would."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(GONE_WITHIN)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(GONE_WITHIN)
            except subprocess.TimeoutExpired:
                pass
        self.kill()


def start(
    name: str,
    command: Sequence[str],
    port: int,
    folder: Path,
    *,
    environ: Mapping[str, str] | None = None,
    first: Callable[[], None] | None = None,
    wait: bool = True,
) -> Server:
    """Start a server; return when it listens. `first` is what the new process does before it becomes the server."""
    log = folder / f"{name}-{port}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env=_environ() | dict(environ or {}),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=first,
            start_new_session=True,
        )
    server = Server(name, process, port, log)
    if wait:
        try:
            await_port(server)
        except BaseException:
            server.kill()
            raise
    return server


@contextmanager
def running(*arguments: Any, **more: Any) -> Iterator[Server]:
    server = start(*arguments, **more)
    try:
        yield server
    finally:
        server.stop()


def _environ() -> dict[str, str]:
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return known | {"PYTHONPATH": str(ROOT), "LOG_LEVEL": "warning"}


def await_port(server: Server) -> None:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        if server.process.poll() is not None:
            tail = server.log.read_text(errors="replace").strip().splitlines()[-3:]
            raise Absent(f"{server.name} ended by itself: {' / '.join(tail)[-300:]}")
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise Absent(f"{server.name} does not listen after {READY_WITHIN:g} s")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# -- bridge ------------------------------------------------------------------------------------------------------------


# As users have it: structlog imports rich where it finds it, and only tools for development bring it (3 MB, 30 ms).
WITHOUT_RICH = "import sys; sys.modules['rich'] = None; "
BRIDGE = (sys.executable, "-c", WITHOUT_RICH + "from bridge.cli import main; main()")


def bridge_command(config: Path, port: int, *arguments: str) -> list[str]:
    return [*BRIDGE, "serve", "--config", str(config), "--host", "127.0.0.1", "--port", str(port), *arguments]


def configuration(
    *, rules: int = 100, chat: str = "", destinations: int = REPOSITORIES, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a configuration with so many rules. With a `chat`, one rule matches each repository; without, none does.

    The destinations' rates are so high that no rate limit is measured.
    """
    matching = [
        {
            "name": f"results of service-{number}",
            "match": {"repository": f"acme/service-{number}", "branch": ["main", "release/**"]},
            "to": f"builds-{number % destinations}",
        }
        for number in range(REPOSITORIES if chat else 0)
    ]
    others = [
        {
            "name": f"rule {number}",
            "match": {"repository": _elsewhere(number)} | ({"branch": "main"} if number % 4 == 0 else {}),
            "to": "builds-0",
        }
        for number in range(rules - len(matching))
    ]
    places = {
        f"builds-{number}": {
            "type": "slack",
            "url": f"{chat or 'http://127.0.0.1:9'}/services/{number}",
            "rate": "100000/s",
        }
        for number in range(destinations)
    }
    cirrus = {"type": "cirrus", "secret": SECRET, "api_url": "http://127.0.0.1:9/graphql"}
    return {
        "version": "1",
        "sources": {"github": {"type": "github", "secret": SECRET}, "cirrus": cirrus},
        "destinations": places | dict((extra or {}).get("destinations", {})),
        "rules": [*matching, *others, *(extra or {}).get("rules", [])],
    }


def _elsewhere(number: int) -> str:
    """Return a pattern that matches no event: most name a repository or an owner, one in fifty asks all owners."""
    if number % 50 == 49:
        return f"*/tool-{number}"
    return f"team-{number}/*" if number % 3 == 0 else f"other/repo-{number}"


def write_configuration(folder: Path, configured: Mapping[str, Any], name: str = "config.yaml") -> Path:
    """Write it as JSON, which is YAML."""
    path = folder / name
    path.write_text(json.dumps(configured, separators=(",", ": ")))  # 10,000 rules have to fit
    return path
