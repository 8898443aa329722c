"""Is a sender's or a chat's module imported only when a configuration names it, and is each of the form it promises?"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bridge import destinations, history, lookups, sources
from bridge.registry import Registry
from tools import forms

REGISTRIES: list[tuple[Any, Registry[Any], type]] = [
    (sources, sources.SOURCES, sources.SourceModule),
    (destinations, destinations.DESTINATIONS, destinations.DestinationModule),
    (lookups, lookups.LOOKUPS, lookups.LookupModule),
    (history, history.HISTORIES, history.HistoryModule),
]
MODULES = [
    pytest.param(registry, name, form, id=f"{package.__name__}.{name}")
    for package, registry, form in REGISTRIES
    for name in registry
]

CONSOLE_ONLY = """
version: 1
sources: {code: {type: github, secret: a-made-up-secret}}
destinations: {here: {type: console}}
rules: [{name: all, to: here}]
"""
START = """
import asyncio, sys
from bridge import app, config
from bridge.sources import SOURCES
from bridge.destinations import DESTINATIONS

def there():
    return {name for name in sys.modules if name.startswith(("bridge.sources.", "bridge.destinations."))}

assert list(SOURCES) and list(DESTINATIONS) and "github" in SOURCES and "slack" in DESTINATIONS
print(*sorted(there()))

async def start():
    environ = {"DATABASE_URL": "sqlite:///bridge.db"}
    bridge = app.Bridge(config.load("config.yaml", environ), environ=environ)
    await bridge.start("127.0.0.1", 0)
    print(*sorted(there()))
    await bridge.stop()

asyncio.run(start())
print(*[name for name in ("slack_sdk", "asyncpg", "bridge.config.json_schema") if name in sys.modules])
"""


def _names(text: str) -> set[str]:
    """Return the types among the modules, without what the modules share or are made of."""
    names = {line.rpartition(".")[2] for line in text.split()}
    return {name for name in names if not name.startswith("_")} - {"base"}


def test_a_start_imports_only_the_sources_and_chats_that_are_configured(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONSOLE_ONLY)
    done = subprocess.run([sys.executable, "-c", START], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert not done.returncode, done.stderr
    imported, started, heavy = done.stdout.split("\n")[:3]
    assert _names(imported) == set()  # bridge.app alone, and looking at the names
    assert _names(started) == {"github", "console"}
    assert heavy == ""


CHECK = """
import sys
from bridge.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, *[name for name in ("asyncio", "aiohttp", "slack_sdk", "asyncpg", "uvloop") if name in sys.modules])
"""
WITH_CHATS = """
version: 1
sources: {github: {type: github, secret: a-made-up-secret}}
destinations:
  builds: {type: slack, url: "https://hooks.slack.com/services/T0/B0/made-up"}
  team: {type: discord, url: "https://discord.com/api/webhooks/1/made-up"}
rules: [{name: all, to: [builds, team]}]
"""


def test_a_check_imports_nothing_that_talks(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(WITH_CHATS)
    asked = [sys.executable, "-c", CHECK, "check"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "0", done.stdout + done.stderr


@pytest.mark.parametrize(("registry", "name", "form"), MODULES)
def test_every_module_has_what_its_protocol_names(registry: Registry[Any], name: str, form: type) -> None:
    module = registry[name]
    if isinstance(module, sources.Bound):
        module = module.bind(module.Options())
    for wanted in form.__annotations__:
        assert hasattr(module, wanted), wanted
    for wanted, function in vars(form).items():
        if inspect.isfunction(function) and not wanted.startswith("_"):
            _, *parameters = inspect.signature(function).parameters.values()
            own = inspect.signature(getattr(module, wanted)).parameters.values()
            assert [(one.name, one.kind) for one in own] == [(one.name, one.kind) for one in parameters], wanted
            assert inspect.iscoroutinefunction(getattr(module, wanted)) == inspect.iscoroutinefunction(function)


def test_the_type_checker_is_asked_about_every_source() -> None:
    *_, asked = ast.parse(forms.question()).body
    assert isinstance(asked, ast.AnnAssign)
    assert isinstance(asked.value, ast.List)
    assert [ast.unparse(one) for one in asked.value.elts] == list(sources.SOURCES)


@pytest.mark.parametrize(("package", "registry"), [entry[:2] for entry in REGISTRIES if entry[0] is not sources])
def test_the_type_checker_sees_every_module(package: Any, registry: Registry[Any]) -> None:
    form = next(
        node
        for node in ast.walk(ast.parse(inspect.getsource(package)))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_FORM"
    )
    assert isinstance(form.value, ast.List)
    assert [ast.unparse(one) for one in form.value.elts] == list(registry)


def test_a_registry_is_a_mapping_of_modules() -> None:
    found = Registry[Any]("bridge.sources", "github", "nowhere")
    assert found["github"] is import_module("bridge.sources.github")
    assert (list(found), len(found), "github" in found, "base" in found) == (["github", "nowhere"], 2, True, False)
    assert found.get("verify") is None
    found.load(["github", "verify"])
    with pytest.raises(KeyError):
        found["_github_words"]
    with pytest.raises(ModuleNotFoundError):
        found["nowhere"]
