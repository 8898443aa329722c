"""`bridge check`, `schema`, `init` and `config pack`: the commands about the configuration file."""

from __future__ import annotations

import base64
import gzip
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bridge.cli.serve import config_option
from bridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from bridge.config import Config

HEROKU_LIMIT = 32 * 1024
SCHEMA_FILE = "bridge.schema.json"
EVENT_SCHEMA = Path(__file__).parents[1] / "event.schema.json"


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the problems as a JSON array.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="How to print: for people, as JSON, or as annotations of a GitHub Actions workflow.",
)
@click.pass_context
def check(context: click.Context, config_path: str | None, as_json: bool, form: str) -> None:
    """Say everything that is wrong with the configuration and its templates.

    Each problem comes as FILE:LINE:COLUMN, what is wrong and what to do. Every rule is rendered with sample events.
    Nothing is sent. Exit 0 when there are at most warnings, else 2.
    """
    from bridge import config
    from bridge.config.trial import trial

    loaded: Config | None = None
    try:
        loaded = config.load(config_path, os.environ)
        problems = sorted([*loaded.warnings, *trial(loaded)])
    except ConfigError as error:
        problems = error.problems
    if as_json or form == "json":
        click.echo(json.dumps([asdict(problem) for problem in problems], indent=2))
    elif form == "github":
        for problem in problems:
            click.echo(_annotation(problem))
    else:
        _tell(problems, loaded)
    context.exit(2 if any(not problem.warning for problem in problems) else 0)


def _tell(problems: list[Problem], loaded: Config | None) -> None:
    for problem in problems:
        click.echo(str(problem))
    if loaded is not None and all(problem.warning for problem in problems):
        counts = (
            _count(len(loaded.sources), "source"),
            _count(len(loaded.destinations), "destination"),
            _count(len(loaded.rules), "rule"),
        )
        click.echo(f"{loaded.file} is fine: {', '.join(counts)}")


def _annotation(problem: Problem) -> str:
    """Return a problem as a workflow command, which GitHub shows at its line of the pull request.

    Text that is not escaped could begin a command of its own at the next line.
    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
    """
    level = "warning" if problem.warning else "error"
    file = _escaped(os.path.relpath(problem.file) if os.path.isabs(problem.file) else problem.file)
    file = file.replace(":", "%3A").replace(",", "%2C")
    text = _escaped(f"{problem.path}: {problem.text}" if problem.path else problem.text)
    return f"::{level} file={file},line={problem.line},col={problem.column}::{text}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@click.command()
@click.argument("what", type=click.Choice(["config", "event"]), default="config")
def schema(what: str) -> None:
    """Print the JSON Schema of the configuration, for editors, or of the EVENT that a webhook is sent."""
    click.echo(_schema_text() if what == "config" else EVENT_SCHEMA.read_text("utf-8"), nl=False)


def _schema_text() -> str:
    from bridge import config

    return json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"


@click.command()
@click.argument("path", default="config.yaml", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def init(context: click.Context, path: Path) -> None:
    """Write a commented configuration to PATH (default config.yaml) to start from.

    Its schema is written beside it, so that an editor can complete and check. Nothing is ever overwritten.
    """
    from bridge.config.load import starter_text

    if path.exists():
        click.echo(f"{path} is there already and stays as it is", err=True)
        context.exit(1)
    beside = path.parent / SCHEMA_FILE
    try:
        path.write_text(starter_text(), "utf-8")
        if not beside.exists():
            beside.write_text(_schema_text(), "utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"wrote {path}, and {beside} for your editor")
    click.echo("next: set WEBHOOK_SECRET and SLACK_WEBHOOK_URL, then `bridge check`")


@click.group("config")
def config_group() -> None:
    """Carry the configuration to platforms without files."""


@config_group.command()
@click.argument("path", required=False, type=click.Path(dir_okay=False))
@config_option
def pack(path: str | None, config_path: str | None) -> None:
    """Print the configuration in one line, for the variable BRIDGE_CONFIG_YAML.

    It is base64 of gzip: small, and safe in any form field. References like ${NAME} stay references. Rules in files
    that are included travel along.
    """
    from bridge.config.load import find, whole

    found = find(path or config_path, os.environ)
    packed = base64.b64encode(gzip.compress(whole(found), mtime=0)).decode()
    click.echo(packed)
    if len(packed) > HEROKU_LIMIT:
        click.echo("more than 32 kB, which is all that Heroku takes for all variables together", err=True)
    if (found.folder / "templates").is_dir():
        click.echo("templates/ does not travel along, only the configuration does", err=True)
