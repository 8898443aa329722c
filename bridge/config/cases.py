"""What do tests say that stand in files of their own, as ``bridge test rules_test.yaml`` names them?

The same list as under ``tests:`` of a configuration, whose names they use. Nothing is filled in from the environment.
"""

from __future__ import annotations

from pathlib import Path

from bridge.config import rules
from bridge.config.model import Config, TestCase
from bridge.config.reader import Reader
from bridge.config.report import Place, Report
from bridge.config.rules import Names
from bridge.config.sections import Named
from bridge.config.yaml import MAX_BYTES, Mapping, Node, read


def read_cases(path: Path, config: Config) -> tuple[TestCase, ...]:
    """Return the tests of a file; raise ConfigError with every problem."""
    report = Report(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        raise report.stop(Place(), "", f"cannot be read: {why}") from error
    tree = read(data, report)
    reader = Reader(report, data.decode("utf-8-sig").splitlines())
    places = {name: Named(one.type, one) for name, one in config.destinations.items()}
    names = Names(config.sources, places, config.people, config.templates)
    found = tuple(rules.tests(reader, _list(reader, tree), names, [rule.name for rule in config.rules]))
    if report.failed:
        raise report.as_error()
    return found


def _list(reader: Reader, tree: Node) -> Node:
    if not isinstance(tree, Mapping):
        return tree
    entries = {key: entry for key, entry in tree.entries.items() if not key.startswith("x-")}
    found = reader.known(entries, "", ("tests",))
    if "tests" not in found:
        raise reader.report.stop(tree.place, "", "a file of tests begins with `tests:`")
    return found["tests"].node
