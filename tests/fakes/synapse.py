"""A real Matrix homeserver on loopback: Synapse, in an environment of its own, for it pins what bridge has newer.

Not a fake: what it refuses, limits, remembers and edits is what others wrote. `make slow` makes `.venv-synapse` from
``tests/synapse-requirements.txt``; without it (or SYNAPSE_PY, a Python that has Synapse) the tests are skipped.

https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("SYNAPSE_PY") or str(ROOT / ".venv-synapse" / "bin" / "python")
NAME = "bridge.test"
SECRET = "made-up"
STARTS_WITHIN = 60.0  # seconds

CONFIG = """
server_name: {name}
pid_file: {folder}/pid
log_config: {folder}/log.yaml
signing_key_path: {folder}/signing.key
media_store_path: {folder}/media
listeners: [{{port: {port}, type: http, bind_addresses: [127.0.0.1], resources: [{{names: [client]}}]}}]
database: {{name: sqlite3, args: {{database: {folder}/homeserver.db}}}}
registration_shared_secret: {secret}
report_stats: false
trusted_key_servers: []
suppress_key_server_warning: true
federation_domain_whitelist: []
presence: {{enabled: false}}
url_preview_enabled: false
rc_room_creation: {{per_second: 100, burst_count: 100}}
rc_message: {{per_second: 1000, burst_count: 1000}}
rc_login: {{address: {{per_second: 100, burst_count: 100}}, account: {{per_second: 100, burst_count: 100}}}}
rc_joins: {{local: {{per_second: 100, burst_count: 100}}}}
rc_invites: {{per_room: {{per_second: 100, burst_count: 100}}, per_user: {{per_second: 100, burst_count: 100}}}}
"""
LOG = """
version: 1
handlers: {file: {class: logging.FileHandler, filename: %s/log}}
root: {level: WARNING, handlers: [file]}
disable_existing_loggers: false
"""


def is_here() -> bool:
    """Return whether there is a Python that has Synapse."""
    try:
        found = subprocess.run([PYTHON, "-c", "import synapse"], capture_output=True, timeout=60, check=False)
    except OSError:
        return False
    return found.returncode == 0


class Refused(Exception):
    """The server answered with an error."""


class Synapse:
    """A homeserver with its files in `folder`; ``with Synapse(folder) as server``."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        text = CONFIG.format(name=NAME, folder=self._folder, port=self.port, secret=SECRET)
        (self._folder / "hs.yaml").write_text(text)
        (self._folder / "log.yaml").write_text(LOG % self._folder)
        subprocess.run([*self._command(), "--generate-keys"], cwd=self._folder, check=True, capture_output=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        return [PYTHON, "-m", "synapse.app.homeserver", "-c", str(self._folder / "hs.yaml")]

    def start(self) -> None:
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(self._command(), cwd=self._folder, stdout=out, stderr=out)
        until = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                self.ask("GET", "versions", api="/_matrix/client/")
            except (OSError, Refused):
                if time.monotonic() > until or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    # -- what its people do

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str = "", api: str = "/_matrix/client/v3/"
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}{api}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None

    def register(self, user: str, *, admin: bool = False) -> str:
        """Return the token of a new user."""
        api = "/_synapse/admin/v1/"
        nonce = self.ask("GET", "register", api=api)["nonce"]
        parts = (nonce, user, "made-up", "admin" if admin else "notadmin")
        mac = hmac.new(SECRET.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": user, "password": "made-up", "admin": admin, "mac": mac}
        return str(self.ask("POST", "register", body, api=api)["access_token"])

    def room(self, token: str, *, guests: list[str] | None = None, **more: Any) -> str:
        return str(self.ask("POST", "createRoom", {"invite": guests or [], **more}, token=token)["room_id"])

    def join(self, token: str, room: str) -> None:
        self.ask("POST", f"join/{quote(room)}", {}, token=token)

    def said(self, token: str, room: str) -> list[dict[str, Any]]:
        """Return the messages in a room, the oldest first; edits are messages here."""
        found = self.ask("GET", f"rooms/{quote(room)}/messages?dir=f&limit=200", token=token)["chunk"]
        return [one for one in found if one["type"] == "m.room.message"]

    def related(self, token: str, room: str, event: str, kind: str) -> list[dict[str, Any]]:
        """Return the edits ("m.replace") of a message, or the answers ("m.thread"), the newest first."""
        path = f"rooms/{quote(room)}/relations/{quote(event)}/{kind}"
        return list(self.ask("GET", path, token=token, api="/_matrix/client/v1/")["chunk"])
