"""What every measurement is given: where, how long, on which cores, and what was found before it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import Cores
from benchmarks.servers import (
    Server,
    bridge_command,
    free_port,
    running,
    write_configuration,
)
from benchmarks.syncs import Syncs


@dataclass
class Context:
    """`folder` is on the disk that counts. `seconds` is how long one round of one variant takes."""

    folder: Path
    cores: Cores
    syncs: Syncs | str  # or why syncs cannot be counted
    seconds: float = 4.0
    rounds: int = 3
    quick: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    found: dict[str, float] = field(default_factory=dict)  # what a later measurement needs of an earlier one

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    def new_folder(self, name: str) -> Path:
        for number in itertools.count(1):
            folder = self.folder / f"{name}-{number}"
            if not folder.exists():
                folder.mkdir()
                return folder
        raise AssertionError("unreachable")

    @contextmanager
    def bare(self, *arguments: str) -> Iterator[Server]:
        """Run the limit: a server that keeps nothing, or one of its steps up."""
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.bare", str(port), *arguments]
        with running("bare", command, port, self.folder, first=self.cores.onto(self.cores.server)) as server:
            yield server

    @contextmanager
    def bridge(
        self,
        configured: Mapping[str, Any],
        *arguments: str,
        folder: Path | None = None,
        environ: Mapping[str, str] | None = None,
        pinned: bool = True,
    ) -> Iterator[Server]:
        """Run `bridge serve` with a database in `folder` (a new one by default), unless `environ` names another."""
        folder = folder or self.new_folder("bridge")
        port = free_port()
        config = write_configuration(folder, configured)
        own = {"DATABASE_URL": f"sqlite:///{folder / 'bridge.db'}"}
        first = self.cores.onto(self.cores.server) if pinned else self.cores.everywhere()
        command = bridge_command(config, port, *arguments)
        with running("bridge", command, port, folder, environ=own | dict(environ or {}), first=first) as server:
            yield server
