"""Are the lock files made from this pyproject.toml? `stamp` writes a digest of the dependencies on top of each, `check`
compares. A digest instead of file times: a fresh clone has no times worth comparing.

    python tools/lock.py stamp | check
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.txt", "requirements-dev.txt")
MARK = "# made from pyproject.toml by `make lock`; dependencies: "


def digest() -> str:
    """Return a digest of everything in pyproject.toml that the lock files depend on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = {
        "dependencies": sorted(project["project"]["dependencies"]),
        "dev": sorted(project["dependency-groups"]["dev"]),
        "python": project["project"]["requires-python"],
    }
    return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]


def stamp() -> None:
    for name in LOCKS:
        lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if not line.startswith(MARK)]
        (ROOT / name).write_text("\n".join([MARK + digest(), *lines]) + "\n", "utf-8")


def stale() -> list[str]:
    """Return the lock files that were made from another pyproject.toml."""
    return [name for name in LOCKS if not (ROOT / name).read_text("utf-8").startswith(MARK + digest())]


if __name__ == "__main__":
    if sys.argv[1:] == ["stamp"]:
        stamp()
    elif old := stale():
        sys.exit(f"{', '.join(old)}: older than pyproject.toml, run `make lock`")
