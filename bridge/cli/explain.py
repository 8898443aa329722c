"""`bridge explain` and `bridge test`: what would happen, and why. Both send nothing and need no database."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from bridge.cli.serve import config_option
from bridge.event import Change, Event, Inbound, Kind, Result, Run, RunRef, Status, Target, Task, Track
from bridge.fold import fold_run, fold_track, run_key, track_key
from bridge.route import Routing, Verdict, route, suggest

if TYPE_CHECKING:
    from bridge.config import Config, SourceConfig, TestCase
    from bridge.message import Message

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def source_of(config: Config, name: str) -> SourceConfig:
    """Return the source called `name`; the only one of that type will do too."""
    if name in config.sources:
        return config.sources[name]
    of_type = [source for source in config.sources.values() if source.type == name]
    if len(of_type) == 1:
        return of_type[0]
    raise click.BadParameter(f"no source named '{name}'{suggest(name, config.sources)}", param_hint="--source")


def parse_headers(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return ``K=V`` (or ``K: V``) pairs as headers."""
    headers = {}
    for pair in pairs:
        name, mark, value = pair.partition("=" if "=" in pair.split(":")[0] else ":")
        if not mark:
            raise click.BadParameter(f"'{pair}': write NAME=VALUE", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


# -- explain -----------------------------------------------------------------------------------------------------------


@click.command()
@config_option
@click.option("--source", "name", required=True, help="The source's name in the configuration.")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="A header that came with the body.")
@click.option(
    "--given",
    "given",
    multiple=True,
    metavar="K=V",
    help="What is known already: change=fixed, or status=failure for the result before.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.argument("file", type=click.File("rb"))
def explain(
    config_path: str | None,
    name: str,
    headers: tuple[str, ...],
    given: tuple[str, ...],
    file: IO[bytes],
    *,
    as_json: bool,
) -> None:
    """Say what the saved webhook FILE (or -) would cause, and why. Sends nothing.

    Shows the event in bridge's words, every rule with its verdict and, where it did not match, the first condition that
    failed and the value it saw, and the messages that would be sent. Exit 1: no rule wants it.
    """
    from bridge import config
    from bridge.receive import understand

    loaded = config.load(config_path, os.environ)
    source = source_of(loaded, name)
    body = file.read()
    guessed = source.module.sign(body, "explain", delivery="explain") | parse_headers(headers)
    inbound = Inbound(source.name, {key.lower(): value for key, value in guessed.items()}, body, datetime.now(UTC))
    found = understand(inbound, source)
    if found.event is None:
        word = "ignored" if found.ignored else "unreadable"
        reason = found.ignored or found.problem
        click.echo(json.dumps({"status": word, "reason": reason}) if as_json else f"{word}: {reason}")
        raise SystemExit(1)
    event, run = judged(found.event, _pairs(given))
    routing = route(loaded.rules, event)
    shown = [(target, _rendered(loaded, event, run, target)) for target in routing.targets]
    if as_json:
        click.echo(json.dumps(_as_json(loaded, event, routing, shown), ensure_ascii=False))
    else:
        _print(event, routing, shown)
    raise SystemExit(0 if routing.matched else 1)


def _pairs(given: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in given)
    allowed: dict[str, list[str]] = {"change": [*Change], "status": [*Status]}
    for key, value in pairs.items():
        if key not in allowed:
            raise click.BadParameter(
                f"'{key}' cannot be given{suggest(key, allowed)}; change and status can", param_hint="--given"
            )
        if value not in allowed[key]:
            raise click.BadParameter(
                f"'{value}' is none of {', '.join(allowed[key])}{suggest(value, allowed[key])}", param_hint="--given"
            )
    return pairs


def judged(event: Event, given: Mapping[str, Any]) -> tuple[Event, Run | None]:
    """Return `event` as it would be routed after what is `given`: a change, or the status of the result before."""
    folded = fold_run(event, None)
    event, run = folded.event, folded.run
    if given.get("change"):
        event = event.with_(change=Change(given["change"]))
    elif event.change is None and event.status.finished and event.kind in (Kind.PIPELINE, Kind.DEPLOYMENT):
        key = folded.track or track_key(event)
        run = run or Run(key=run_key(event) or "", event=event)
        event, run, _ = fold_track(event, run, _before(key, given.get("status")), key)
    return event, run


def _before(key: str, status: str | None) -> Track | None:
    if not status:
        return None
    failed = Status(status).unsuccessful
    result = Result(
        order=(float("-inf"), 1),
        status=Status(status),
        run="before",
        at=EPOCH,
        failing_since=EPOCH if failed else None,
        failures=int(failed),
    )
    return Track(key=key, results=(result,))


def _rendered(config: Config, event: Event, run: Run | None, target: Target) -> Message:
    from bridge.deliver import mentions
    from bridge.destinations import DESTINATIONS
    from bridge.errors import TemplateError
    from bridge.render import Renderer, View, plain

    chat = config.destinations[target.destination].type
    view = View(
        event=event,
        tasks=run.tasks if run else (),
        rule=", ".join(target.rules),
        mentions=mentions(target.mention, event, config.people, DESTINATIONS[chat].PERSON),
        now=datetime.now(UTC),
        live=target.live,
    )
    try:
        return Renderer(config.templates).render(target.template, view, chat)
    except TemplateError as error:
        click.echo(f"template failed, the plain message would go out: {error}", err=True)
        return plain(view)


def _as_json(config: Config, event: Event, routing: Routing, shown: list[tuple[Target, Message]]) -> dict[str, Any]:
    from bridge.destinations import DESTINATIONS

    return {
        "status": "matched" if routing.matched else "unrouted",
        "event": event.public(),
        "rules": [
            {"name": one.rule, "matched": one.matched, "failed": one.failed or None, "saw": one.saw or None}
            for one in routing.verdicts
        ],
        "messages": [
            {
                "destination": target.destination,
                "channel": target.channel,
                "template": target.template,
                "live": target.live,
                "mentions": list(message.mentions),
                "rules": list(target.rules),
                "payload": DESTINATIONS[config.destinations[target.destination].type].payload(
                    message, config.destinations[target.destination].options
                ),
            }
            for target, message in shown
        ],
    }


def _print(event: Event, routing: Routing, shown: list[tuple[Target, Message]]) -> None:
    from bridge.cli.look import lines_of
    from bridge.destinations import console

    click.echo("event")
    for line in lines_of(event, without=("id", "received_at")):
        click.echo(f"  {line}")
    click.echo("\nrules" if routing.verdicts else "\nno rules")
    for verdict in routing.verdicts:
        click.echo(f"  {_says(verdict)}")
    click.echo("\nmessages" if shown else "\nno message would be sent")
    for target, message in shown:
        channel = f" in {target.channel}" if target.channel else ""
        living = ", living" if target.live else ""
        asked = ", ".join(target.rules)
        click.echo(f"\n  to {target.destination}{channel} (template {target.template}{living}; asked by: {asked})")
        if message.native is not None:  # the words are the template's own JSON, and nobody else can draw that
            for line in json.dumps(message.native, ensure_ascii=False, indent=2).splitlines():
                click.echo("    " + "".join(char if char.isprintable() else "·" for char in line))
            continue
        for line in console.text(message, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")).splitlines():
            click.echo(f"    {line}")


def _says(verdict: Verdict) -> str:
    if verdict.matched:
        return f"yes  {verdict.rule}"
    return f"no   {verdict.rule}\n         failed: {verdict.failed}\n         saw:    {verdict.saw}"


# -- test --------------------------------------------------------------------------------------------------------------


@click.command("test")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def run_tests(config_path: str | None, *, as_json: bool) -> None:
    """Run the `tests:` of the configuration; failures come with the reasons of `explain`. Exit 1: one failed."""
    from bridge import config

    loaded = config.load(config_path, os.environ)
    results = [(case, *_outcome(loaded, case)) for case in loaded.tests]
    failed = [case for case, faults, _ in results if faults]
    if as_json:
        click.echo(
            json.dumps(
                [
                    {"name": case.name, "passed": not faults, "problems": faults, "file": case.file, "line": case.line}
                    for case, faults, _ in results
                ],
                ensure_ascii=False,
            )
        )
    else:
        for case, faults, routing in results:
            click.echo(f"{'FAIL' if faults else 'ok  '}  {case.name}")
            for fault in faults:
                click.echo(f"      {case.file}:{case.line}: {fault}")
            for verdict in routing.verdicts if faults else ():
                click.echo(f"      {_says(verdict)}".replace("\n", "\n      "))
        click.echo(f"{len(results) - len(failed)} passed, {len(failed)} failed" if results else "no tests are written")
    raise SystemExit(1 if failed else 0)


def _outcome(config: Config, case: TestCase) -> tuple[list[str], Routing]:
    event, _ = judged(sample(config, case.event), case.given)
    routing = route(config.rules, event)
    told = {target.destination for target in routing.targets}
    faults = []
    if "to" in case.expect:
        faults += _compare("told", set(case.expect["to"]), told)
    if "rules" in case.expect:
        faults += _compare("matched", set(case.expect["rules"]), set(routing.matched))
    if case.expect.get("none") and routing.matched:
        faults.append(f"expected that no rule matches, but {', '.join(routing.matched)} did")
    return faults, routing


def _compare(verb: str, wanted: set[str], got: set[str]) -> list[str]:
    faults = [f"expected {name} to be {verb}, but it was not" for name in sorted(wanted - got)]
    return faults + [f"{name} was {verb}, which was not expected" for name in sorted(got - wanted)]


def sample(config: Config, fields: Mapping[str, Any]) -> Event:
    """Return the event that a test describes: the field names of the event model, the rest left out."""
    known = dict(fields)
    name = known.pop("source", next(iter(config.sources), "test"))
    source = config.sources.get(name)
    task = known.pop("task", None)
    number, attempt = known.pop("number", None), known.pop("attempt", None)
    change = known.pop("change", None)
    labels = tuple(known.pop("labels", ()))
    kind = Kind(known.pop("kind", Kind.TASK if task else Kind.PIPELINE))
    status = Status(known.pop("status", _status_of(change)))
    event = Event(source=name, type=source.type if source else name, kind=kind, status=status, labels=labels, **known)
    return event.with_(
        change=Change(change) if change else None,
        task=Task(id="test", name=task, status=status) if task else None,
        run=RunRef(id="test", number=number, attempt=attempt),
    )


def _status_of(change: str | None) -> Status:
    """A test that only says `broken` means a failure."""
    if change is None:
        return Status.UNKNOWN
    return Status.FAILURE if change in (Change.BROKEN, Change.STILL_FAILING) else Status.SUCCESS
