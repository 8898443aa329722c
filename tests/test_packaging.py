"""What is shipped: locks that fit, a wheel that runs by itself, files that platforms read."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from tools import lock

ROOT = Path(__file__).resolve().parents[1]


def test_lock_files_are_as_new_as_pyproject() -> None:
    assert lock.stale() == []


@pytest.mark.parametrize("name", lock.LOCKS)
def test_every_locked_package_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    pins = re.findall(r"^[a-z0-9][\w.-]*==\S+", text, re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9][\w.-]*==)", text, flags=re.MULTILINE)[1:]
    assert len(pins) == len(blocks) > 10
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
    assert "index-url" not in text


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    text = (ROOT / "requirements.txt").read_text("utf-8")
    locked = {name.lower() for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    wanted = {re.split(r"[<>=\[]", item)[0].lower() for item in project["project"]["dependencies"]}
    assert wanted <= locked


def test_there_is_one_lock_format() -> None:
    for other in ("uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock", "package-lock.json"):
        assert not (ROOT / other).exists()


def test_procfile_checks_before_it_serves() -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text("utf-8").splitlines())
    assert lines == {"release": "python -m bridge release", "web": "python -m bridge serve"}


def test_a_wheel_in_an_empty_environment_runs(tmp_path: Path) -> None:
    """Built without the network; the environment has the dependencies and nothing of this checkout."""
    wheel = _build_wheel(tmp_path)
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    # The packages of the test environment, but not its own .pth files: they would bring the checkout in.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    python = home / "bin" / "python"

    def bridge(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-I", "-m", "bridge", *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    where = bridge("--version")
    assert where.stdout.startswith("bridge "), where.stderr
    example = next(site.glob("bridge/_config.example.yaml"))
    checked = bridge("check", "--config", str(example))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    told = bridge("demo", "--once", "--port", "0")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "The story is told" in told.stdout


def _build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel
