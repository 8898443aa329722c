"""`bridge explain`: what would happen, and why. Sends nothing, and needs no database but for an event of it.

Where there is one, `explain` also says what is muted in it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.serve import config_option
from bridge.errors import BridgeError
from bridge.event import Change, Event, Inbound, Kind, Result, Role, Run, Status, Target, Track
from bridge.fold import fold_failing_task, fold_run, fold_track, run_key, track_key
from bridge.route import Routing, Verdict, route, suggest

if TYPE_CHECKING:
    from bridge.config import Config, SourceConfig
    from bridge.message import Message

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def source_of(config: Config, name: str | None) -> SourceConfig:
    """Return the source called `name`; the only one of that type will do too."""
    if name is None:
        raise click.UsageError("say who sent the file: --source NAME")
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
@click.option("--source", "name", help="Of FILE: the source's name in the configuration.")
@click.option(
    "--event",
    "texts",
    multiple=True,
    metavar="K=V,...",
    help="An event that did not happen: repository=acme/app,branch=main,change=broken.",
)
@click.option("--rules", "only_rules", is_flag=True, help="Draw the rules as a table, for no event at all.")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="A header that came with the body.")
@click.option(
    "--given",
    "given",
    multiple=True,
    metavar="K=V",
    help="What is known already: change=fixed, or status=failure for the result before.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.argument("what", metavar="[FILE | EVENT_ID]", required=False)
def explain(
    config_path: str | None,
    name: str | None,
    texts: tuple[str, ...],
    headers: tuple[str, ...],
    given: tuple[str, ...],
    what: str | None,
    *,
    only_rules: bool,
    as_json: bool,
) -> None:
    """Say who would be told, and why. Sends nothing.

    \b
    Of a saved webhook (or -), of a recorded event, of an event that did not happen, of none:
      bridge explain --source github body.json
      bridge explain e12
      bridge explain --event repository=acme/app,branch=main,change=broken
      bridge explain --rules

    Shows the event in bridge's words, every rule with its verdict and, where it did not match, the first condition that
    failed and the value it saw, and the messages that would be sent. Of a recorded event also what was decided when it
    came. Exit 1: no rule wants it.
    """
    from bridge import config
    from bridge.cli import asking

    if sum((only_rules, bool(texts), what is not None)) != 1:
        raise click.UsageError("name one of: a FILE (with --source), an event of the database (e12), --event, --rules")
    loaded = config.load(config_path, os.environ)
    if only_rules:
        asking.draw(loaded, as_json=as_json)
        return
    then: dict[str, Any] = {}
    run: Run | None
    if texts:
        event, run = judged(asking.supposed(loaded, texts), _pairs(given))
    elif what is not None and name is None and asking.EVENT_ID.fullmatch(what):
        stored, owed = asking.recorded(what)
        then = {"recorded": asking.as_routed_then(stored, owed)}
        if stored.event is None:
            raise _no_event(stored.state, stored.problem, as_json=as_json)
        event, run = stored.event, fold_run(stored.event, None).run
    else:
        event, run = judged(_read(source_of(loaded, name), headers, what, as_json=as_json), _pairs(given))
    routing = route(loaded.rules, event)
    shown = [(target, rendered(loaded, event, run, target)) for target in routing.targets]
    muted = _muted(event, routing.targets)
    if as_json:
        click.echo(json.dumps(_as_json(loaded, event, routing, shown, muted) | then, ensure_ascii=False))
    else:
        if then:
            asking.print_routed_then(then["recorded"])
        _print(loaded, event, routing, shown, muted)
    raise SystemExit(0 if routing.matched else 1)


def _read(source: SourceConfig, headers: tuple[str, ...], path: str | None, *, as_json: bool) -> Event:
    """Return the event that a saved body tells; exit in words when it tells none."""
    from bridge.receive import understand

    try:
        with click.open_file(path or "-", "rb") as file:
            body = file.read()
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'no such path'}"
        ) from error
    guessed = source.module.sign(body, "explain", delivery="explain") | parse_headers(headers)
    inbound = Inbound(source.name, {key.lower(): value for key, value in guessed.items()}, body, datetime.now(UTC))
    found = understand(inbound, source)
    if found.event is None:
        word = "ignored" if found.ignored else "unreadable"
        raise _no_event(word, found.ignored or found.problem, as_json=as_json)
    return found.event


def _no_event(word: str, reason: str, *, as_json: bool) -> SystemExit:
    click.echo(json.dumps({"status": word, "reason": reason}) if as_json else f"{word}: {reason}")
    return SystemExit(1)


def _muted(event: Event, targets: Sequence[Target]) -> dict[str, str]:
    """Return, by the key of the target, why it would be kept quiet now: by what is muted in the database, if any."""
    from bridge.cli.look import with_store
    from bridge.mute import silenced, why
    from bridge.store import DEFAULT_URL, is_missing

    if not targets or is_missing(os.environ.get("DATABASE_URL") or DEFAULT_URL):
        return {}
    now = datetime.now(UTC)
    try:
        mutes = with_store(lambda store: store.mutes(now))
    except BridgeError as error:
        click.echo(f"what is muted is not known: {error}", err=True)
        return {}
    found = {target.key: silenced(mutes, target.rules, event, owed_at=now, now=now) for target in targets}
    return {key: why(mute) for key, mute in found.items() if mute is not None}


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
        event, run, _ = fold_track(event, run, _before(key, given), key)
    elif event.kind is Kind.TASK and event.status.unsuccessful and not event.newly_failing:
        event, run, _ = fold_failing_task(event, run or Run(key="", event=event), _before("", given))
    return event, run


def _before(key: str, given: Mapping[str, Any]) -> Track | None:
    """Return the track on which the result before was as it is given: its status, how often it failed, its commit."""
    status = given.get("status")
    if not status:
        return None
    failed = Status(status).unsuccessful
    result = Result(
        order=(float("-inf"), 1),
        status=Status(status),
        run="before",
        at=EPOCH,
        failing_since=EPOCH if failed else None,
        failures=max(1, given.get("failures", 1)) if failed else 0,
        sha=given.get("sha"),
    )
    return Track(key=key, results=(result,))


def rendered(config: Config, event: Event, run: Run | None, target: Target) -> Message:
    from bridge.errors import TemplateError
    from bridge.render import Renderer, View, plain
    from bridge.whom import ids, of_target

    chat = config.destinations[target.destination].type
    view = View(
        event=event,
        tasks=run.tasks if run else (),
        rule=", ".join(target.rules),
        mentions=ids(of_target(target, event, config)),
        now=datetime.now(UTC),
        live=target.live,
    )
    try:
        return Renderer(config.templates).render(target.template, view, chat)
    except TemplateError as error:
        click.echo(f"template failed, the plain message would go out: {error}", err=True)
        return plain(view)


def _as_json(
    config: Config, event: Event, routing: Routing, shown: list[tuple[Target, Message]], muted: Mapping[str, str]
) -> dict[str, Any]:
    from bridge.destinations import DESTINATIONS
    from bridge.whom import of_target

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
                "whom": [
                    {"word": one.word, "name": one.name or None, "id": one.id, "why": one.why or None}
                    for one in of_target(target, event, config)
                ],
                "rules": list(target.rules),
                "muted": muted.get(target.key),
                "waits": target.why or None,
                "payload": DESTINATIONS[config.destinations[target.destination].type].payload(
                    message, config.destinations[target.destination].options
                ),
            }
            for target, message in shown
        ],
    }


def _print(
    config: Config,
    event: Event,
    routing: Routing,
    shown: list[tuple[Target, Message]],
    muted: Mapping[str, str],
) -> None:
    from bridge.cli.look import lines_of

    click.echo("event")
    for line in lines_of(event, without=("id", "received_at")):
        click.echo(f"  {line}")
    click.echo("\nrules" if routing.verdicts else "\nno rules")
    for verdict in routing.verdicts:
        click.echo(f"  {_says(verdict)}")
    click.echo("\nmessages" if shown else "\nno message would be sent")
    print_messages(config, shown, muted, event)


def print_messages(
    config: Config, shown: Sequence[tuple[Target, Message]], muted: Mapping[str, str], event: Event | None = None
) -> None:
    """Print each message once, below the places where it looks like this; of an `event` also whom it notifies."""
    from bridge.cli.look import one_line

    alike: dict[str, list[Target]] = {}
    for target, message in shown:
        alike.setdefault(_previewed(config, target, message), []).append(target)
    for text, targets in alike.items():
        for number, target in enumerate(targets):
            channel = f" in {target.channel}" if target.channel else ""
            living = ", living" if target.live else ""
            asked = ", ".join(target.rules)
            new = "" if number else "\n"
            click.echo(
                f"{new}  to {target.destination}{channel} (template {target.template}{living}; asked by: {asked})"
            )
            if target.why:
                click.echo(f"    {one_line(target.why)}")
            if target.key in muted:
                click.echo(f"    not sent now: {one_line(muted[target.key])}")
            for line in _notified(config, event, target) if event is not None else ():
                click.echo(f"    notifies {one_line(line)}")
        for line in text.splitlines():
            click.echo(f"    {line}")


def _previewed(config: Config, target: Target, message: Message) -> str:
    """Return what the destination's chat would show, read back from what it would get."""
    from bridge import preview
    from bridge.destinations import DESTINATIONS, console

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    place = config.destinations[target.destination]
    if message.native is not None:  # the words are the template's own JSON, and who wrote it knows it by that
        written = json.dumps(message.native, ensure_ascii=False, indent=2)
        return "\n".join("".join(char if char.isprintable() else "·" for char in line) for line in written.split("\n"))
    if place.type not in preview.READERS:
        return console.text(message, colour=colour)
    module = DESTINATIONS[place.type]
    known = {one.ids[module.PERSON]: one.name for one in config.people.values() if module.PERSON in one.ids}
    body = module.payload(message, place.options)
    return preview.text(preview.READERS[place.type](body, lambda one: known.get(one, one)), colour=colour)


def _notified(config: Config, event: Event, target: Target) -> Iterator[str]:
    """Yield whom a message notifies, or why nobody; what only an API or the chat knows is asked when it is sent."""
    from bridge.lookups.who import WHO
    from bridge.whom import of_target

    source = config.sources.get(event.source)
    asks = source is not None and source.api_token and source.type == event.type and source.type in WHO
    finds = getattr(config.destinations[target.destination].options, "find_people", False)
    for one in of_target(target, event, config):
        later = ""
        if not one.name and asks and one.word in (Role.REVIEWERS, Role.OWNERS):
            later = f"; {config.sources[event.source].name}'s API is asked when it is sent"
        elif one.id is None and one.emails and finds:
            later = f"; {target.destination} is asked by e-mail when it is sent"
        yield f"{one}{later}"


def _says(verdict: Verdict) -> str:
    if verdict.matched:
        return f"yes  {verdict.rule}"
    return f"no   {verdict.rule}\n         failed: {verdict.failed}\n         saw:    {verdict.saw}"
