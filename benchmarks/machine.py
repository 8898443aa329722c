"""What this machine is, what a process used of it, and which core is whose. Linux tells all of it; others less."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server and one for the load and the chat; None: the system decides."""

    server: int | None = None
    load: int | None = None

    @classmethod
    def found(cls) -> Cores:
        if not hasattr(os, "sched_setaffinity"):
            return cls()
        mine = sorted(os.sched_getaffinity(0))
        if len(mine) < 2:
            return cls()
        try:
            os.sched_setaffinity(0, {mine[1]})
        except OSError:
            return cls()
        return cls(mine[0], mine[1])

    def onto(self, core: int | None) -> Callable[[], None] | None:
        """Return what a new process does before it becomes the program: it moves to `core`."""
        return (lambda: os.sched_setaffinity(0, {core})) if core is not None else None

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Let what is started meanwhile run on all cores."""
        if self.load is None:
            yield
            return
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.load})

    def everywhere(self) -> Callable[[], None] | None:
        """Return what gives a new process all cores again: a child begins where its parent is."""
        return (lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1))) if self.load is not None else None


def describe(cores: Cores, folder: Path) -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "pinned": cores.server is not None,
        "system": platform.system(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "sync_ms": round(sync_ms(folder), 3),
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")


def _commit() -> str:
    if not (git := shutil.which("git")):
        return ""
    here = Path(__file__).parent
    found = subprocess.run([git, "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def sync_ms(folder: Path) -> float:
    """Return how long the disk takes to sync a few kilobytes: about nothing on a disk in memory."""
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the second
    times = []
    path = folder / "sync"
    with path.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            begun = time.monotonic()
            sync(file.fileno())
            times.append(time.monotonic() - begun)
    path.unlink()
    return statistics.median(times) * 1000


def tree(process: int) -> list[int]:
    """Return a process and all that it started."""
    found = [process]
    for each in found:
        for listed in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, listed.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process and its children used; 0 where the system does not tell."""
    ticks = 0
    for each in tree(process):
        try:
            # user, system, and the same of the children that have ended
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int) -> float:
    """Return the memory that a process and its children hold (RSS); 0 where the system does not tell."""
    kilobytes = 0
    for each in tree(process):
        try:
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kilobytes / 1024
