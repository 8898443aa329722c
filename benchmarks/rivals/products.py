"""How is each product started, bridge among them, and what does it take? One table."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bodies import SECRET, Requests, alerts, github_results
from benchmarks.context import Context
from benchmarks.servers import (
    Absent,
    Server,
    bridge_command,
    configuration,
    free_port,
    start,
    write_configuration,
)

Command = Callable[[int, str, Path], list[str]]
"""The port to listen on, the chat's address, a folder to keep things in: the command to start it with."""


@dataclass(frozen=True, slots=True)
class Product:
    """`label` is what a reader knows it by. `needs` is the program or the module without which it is left out."""

    label: str
    needs: str
    command: Command
    requests: Callable[..., Requests]
    failing: Command | None = None  # instead of `command`, where a product needs other settings to outlast a fault

    def absent(self) -> str:
        """Return why it cannot be measured here, or nothing."""
        if shutil.which(self.needs) or importlib.util.find_spec(self.needs.partition(".")[0]):
            return ""
        return f"{self.needs} is not installed"

    def start(self, context: Context, chat: str, folder: Path, port: int, *, failing: bool = False) -> Server:
        """Start it, or start it again: what it keeps, it keeps in `folder`."""
        if why := self.absent():
            raise Absent(why)
        command = (self.failing if failing and self.failing else self.command)(port, chat, folder)
        first = context.cores.onto(context.cores.server)
        environ = {"DATABASE_URL": f"sqlite:///{folder / 'bridge.db'}"}  # bridge's
        return start(self.needs, command, port, folder, environ=environ, first=first)

    @contextmanager
    def running(self, context: Context, chat: str) -> Iterator[Server]:
        server = self.start(context, chat, context.new_folder("product"), free_port())
        try:
            yield server
        finally:
            server.stop()


def _bridge(port: int, chat: str, folder: Path) -> list[str]:
    return bridge_command(write_configuration(folder, configuration(chat=chat)), port)


def _relay(port: int, chat: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.rivals.relay", str(port), chat, SECRET]


def _apprise(port: int, chat: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.rivals.apprise_server", str(port), chat, SECRET]


def _alertmanager(port: int, chat: str, folder: Path, interval: str = "5m") -> list[str]:
    """Every alert is a group of its own and goes out at once: what it can do at its quickest.

    What failed goes out again after `interval`, and all groups are looked at that often: it costs speed.
    """
    config = folder / "alertmanager.yml"
    config.write_text(f"""
route: {{receiver: chat, group_by: ['...'], group_wait: 0s, group_interval: {interval}}}
receivers: [{{name: chat, webhook_configs: [{{url: "{chat}/services/alerts", send_resolved: false}}]}}]
""")
    return [
        *("prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error"),
    ]


def _alertmanager_often(port: int, chat: str, folder: Path) -> list[str]:
    return _alertmanager(port, chat, folder, interval="5s")


def _webhook(port: int, chat: str, folder: Path) -> list[str]:
    """Each request runs a script with curl, as its own manual shows."""
    script, hooks = folder / "post.sh", folder / "hooks.json"
    post = "curl -fsS -m 10 -o /dev/null -H 'Content-Type: application/json'"
    script.write_text(f'#!/bin/sh\n{post} -d "{{\\"text\\": \\"$1 $2\\"}}" {chat}/services/webhook\n')
    script.chmod(0o700)
    arguments = [{"source": "payload", "name": f"workflow_run.{name}"} for name in ("conclusion", "html_url")]
    signature = {"source": "header", "name": "X-Hub-Signature-256"}
    rule = {"match": {"type": "payload-hmac-sha256", "secret": SECRET, "parameter": signature}}
    hook = {"id": "github", "execute-command": str(script), "trigger-rule": rule}
    hooks.write_text(json.dumps([hook | {"pass-arguments-to-command": arguments}]))
    return ["webhook", "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port), "-urlprefix", "webhooks"]


PRODUCTS = {
    "bridge": Product("bridge", "bridge", _bridge, github_results),
    "relay": Product("gidgethub relay", "gidgethub", _relay, github_results),
    "alertmanager": Product("Alertmanager", "prometheus-alertmanager", _alertmanager, alerts, _alertmanager_often),
    "apprise": Product("Apprise (library)", "apprise", _apprise, github_results),
    "webhook": Product("webhook + curl", "webhook", _webhook, github_results),
}
