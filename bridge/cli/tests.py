"""`bridge test`: do the rules do what their tests say? Sends nothing and needs no database."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.explain import _before, _says, source_of
from bridge.cli.serve import config_option
from bridge.config.keys import EVENT_LISTS
from bridge.errors import IngestError
from bridge.event import Change, Event, Inbound, Kind, RunRef, Status, Task
from bridge.route import Verdict, route
from bridge.units import span

if TYPE_CHECKING:
    from bridge.config import Config, Step, TestCase
    from bridge.rehearse import Heard


class _CannotTell(Exception):
    """Why there is no event to test with, in words."""


@dataclass(slots=True)
class Outcome:
    """What a test found: `faults` in words, each with its line, the rules that matched, and why others did not."""

    case: TestCase
    faults: list[tuple[int, str]] = field(default_factory=list)
    fired: set[str] = field(default_factory=set)
    verdicts: tuple[Verdict, ...] = ()


@click.command("test")
@config_option
@click.option("--coverage", is_flag=True, help="Name the rules that no test fires; exit 1 when there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array; with --coverage an object.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
def run_tests(config_path: str | None, files: tuple[Path, ...], *, coverage: bool, as_json: bool) -> None:
    """Run the `tests:` of the configuration and of each FILE; failures come with the reasons of `explain`.

    \b
    Sends nothing. How to write them: docs/testing-rules.md
      bridge test
      bridge test rules_test.yaml --coverage

    Exit 1: one failed, or (--coverage) no test fires a rule.
    """
    from bridge import config
    from bridge.config.cases import read_cases

    loaded = config.load(config_path, os.environ)
    cases = [*loaded.tests, *(case for path in files for case in read_cases(path, loaded))]
    results = [outcome(loaded, case) for case in cases]
    failed = sum(1 for one in results if one.faults)
    fired = {name for one in results for name in one.fired}
    # No event fires a digest: `bridge digest` prints what it would tell.
    rules = [rule.name for rule in loaded.rules if rule.digest is None]
    unfired = [name for name in rules if name not in fired] if coverage else []
    if as_json:
        told = [_as_json(one) for one in results]
        click.echo(json.dumps({"tests": told, "unfired": unfired} if coverage else told, ensure_ascii=False))
    else:
        for one in results:
            _print(one)
        click.echo(f"{len(results) - failed} passed, {failed} failed" if results else "no tests are written")
        for name in unfired:
            click.echo(f"no test fires the rule: {name}")
        if coverage:
            click.echo(f"{len(rules) - len(unfired)} of {len(rules)} rules are fired by tests")
    raise SystemExit(1 if failed or unfired else 0)


def _as_json(one: Outcome) -> dict[str, Any]:
    problems = [fault for _, fault in one.faults]
    case = one.case
    return {"name": case.name, "passed": not problems, "problems": problems, "file": case.file, "line": case.line}


def _print(one: Outcome) -> None:
    click.echo(f"{'FAIL' if one.faults else 'ok  '}  {one.case.name}")
    for line, fault in one.faults:
        click.echo(f"      {one.case.file}:{line}: {fault}")
    for verdict in one.verdicts if one.faults else ():
        click.echo(f"      {_says(verdict)}".replace("\n", "\n      "))


# -- one test ----------------------------------------------------------------------------------------------------------


def outcome(config: Config, case: TestCase) -> Outcome:
    """Tell the events of a test to the rules, and compare what comes of each and of all with what is expected."""
    from bridge.rehearse import START, Rehearsal

    found = Outcome(case)
    rehearsal = Rehearsal(config, lambda key: _before(key, case.given))
    change = Change(case.given["change"]) if "change" in case.given else None
    everything: list[Heard] = []
    for step in case.steps:
        line = step.line or case.line
        try:
            event = _event(config, case, step, START + step.at)
        except _CannotTell as error:
            found.faults.append((line, str(error)))
            return found
        heard = rehearsal.hear(event, change)
        change = None if event.status.finished else change  # what is given was before the first result
        everything.append(heard)
    rehearsal.end()
    for step, heard in zip(case.steps, everything, strict=True):
        faults = list(_faults(config, step.expect, [heard]))
        found.faults += [(step.line or case.line, f"at +{span(step.at)}: {fault}") for fault in faults]
        if faults or len(case.steps) == 1:
            found.verdicts = route(config.rules, heard.event).verdicts
    found.fired = {name for heard in everything for name in heard.rules}
    found.faults += [(case.line, fault) for fault in _faults(config, case.expect, everything)]
    return found


def _faults(config: Config, expect: Mapping[str, Any], heard: list[Heard]) -> Iterator[str]:
    said = [one for event in heard for one in event.said]
    rules = dict.fromkeys(name for event in heard for name in event.rules)
    if "to" in expect:
        yield from _compare("told", expect["to"], {target.destination for target, _ in said})
    if "rules" in expect:
        yield from _compare("matched", expect["rules"], set(rules))
    if expect.get("none") and rules:
        yield f"expected that no rule matches, but {', '.join(rules)} did"
    if "messages" in expect and len(said) != expect["messages"]:
        yield f"expected {expect['messages']} messages, but there were {len(said)}"
    if "text" in expect:
        yield from _missing(expect["text"], heard)
    if "mention" in expect:
        yield from _compare("mentioned", expect["mention"], set(_mentioned(config, heard)))


def _compare(verb: str, wanted: list[str], got: set[str]) -> Iterator[str]:
    for name in sorted(set(wanted) - got):
        yield f"expected {name} to be {verb}, but it was not"
    for name in sorted(got - set(wanted)):
        yield f"{name} was {verb}, which was not expected"


def _missing(wanted: list[str], heard: list[Heard]) -> Iterator[str]:
    from bridge.destinations import console

    texts = [console.text(message, colour=False) for event in heard for _, message in event.said]
    for text in wanted:
        if not any(text in one for one in texts):
            said = "; ".join(one.split("\n")[0] for one in texts) or "nothing was said"
            yield f"expected a message with '{text}', but the titles were: {said}"


def _mentioned(config: Config, heard: list[Heard]) -> Iterator[str]:
    """Yield who is mentioned, by the names under `people`."""
    from bridge.destinations import DESTINATIONS

    for target, message in (one for event in heard for one in event.said):
        chat = DESTINATIONS[config.destinations[target.destination].type].PERSON
        for known in message.mentions:
            ids = ((person.name, person.name if chat == "console" else person.ids.get(chat)) for person in _all(config))
            yield next((name for name, id_ in ids if id_ == known), known)


def _all(config: Config) -> Any:
    return config.people.values()


# -- its events --------------------------------------------------------------------------------------------------------


def _event(config: Config, case: TestCase, step: Step, at: datetime) -> Event:
    fields = {**case.event, **step.event}
    if step.payload is not None:
        return _from_payload(config, case, step.payload, fields, at)
    event = sample(config, fields)
    return event.with_(received_at=at, changed_at=at)


def _from_payload(config: Config, case: TestCase, name: str, fields: dict[str, Any], at: datetime) -> Event:
    """Return the event that a webhook's body in a file tells, with the fields that the test says replaced."""
    from bridge.receive import understand

    fields = dict(fields)
    source_name = fields.pop("source", next(iter(config.sources), ""))
    try:
        source = source_of(config, source_name)
        body = (Path(case.file).parent / name).read_bytes()
        headers = source.module.sign(body, "test", delivery="test")
        found = understand(Inbound(source.name, {key.lower(): one for key, one in headers.items()}, body, at), source)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        raise _CannotTell(f"{name} cannot be read: {why}") from error
    except click.BadParameter as error:
        raise _CannotTell(error.message) from error
    except IngestError as error:
        raise _CannotTell(f"{name}: {error}") from error
    if found.event is None:
        raise _CannotTell(f"{name} tells no event: {found.ignored or found.problem}")
    said = sample(config, {"source": source.name, **fields})
    task, run = found.event.task, found.event.run
    changes = {key: getattr(said, key) for key in fields if key not in ("task", "number", "attempt")}
    if "task" in fields:
        changes["task"] = task.with_(name=fields["task"]) if task else said.task
    if run is not None:
        changes["run"] = run.with_(**{key: fields[key] for key in ("number", "attempt") if key in fields})
    return found.event.with_(**changes)


def sample(config: Config, fields: Mapping[str, Any]) -> Event:
    """Return the event that a test describes: the field names of the event model, the rest left out.

    Events of one test are of one run, unless they name its number.
    """
    known = dict(fields)
    name = known.pop("source", next(iter(config.sources), "test"))
    source = config.sources.get(name)
    task = known.pop("task", None)
    number, attempt = known.pop("number", None), known.pop("attempt", None)
    change = known.pop("change", None)
    lists: dict[str, Any] = {key: tuple(known.pop(key)) for key in EVENT_LISTS & known.keys()}
    kind = Kind(known.pop("kind", Kind.TASK if task else Kind.PIPELINE))
    status = Status(known.pop("status", _status_of(change)))
    event = Event(source=name, type=source.type if source else name, kind=kind, status=status, **lists, **known)
    run = str(number) if number is not None else "test"
    return event.with_(
        change=Change(change) if change else None,
        task=Task(id=task, name=task, status=status) if task else None,
        run=RunRef(id=run, number=number, attempt=attempt),
    )


def _status_of(change: str | None) -> Status:
    """A test that only says `broken` means a failure."""
    if change is None:
        return Status.UNKNOWN
    return Status.FAILURE if change in (Change.BROKEN, Change.STILL_FAILING) else Status.SUCCESS
