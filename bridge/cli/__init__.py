"""The command line. Every command lives in a module of this folder and is only imported when it is asked for.

Exit codes: 0 done, 1 the answer is no, 2 wrong usage or configuration. Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module

import click

from bridge import __version__
from bridge.errors import BridgeError, ConfigError

COMMANDS = {
    "serve": ("bridge.cli.serve", "serve"),
    "check": ("bridge.cli.config", "check"),
    "explain": ("bridge.cli.explain", "explain"),
    "test": ("bridge.cli.tests", "run_tests"),
    "backtest": ("bridge.cli.backtest", "backtest"),
    "digest": ("bridge.cli.digest", "digest"),
    "send": ("bridge.cli.send", "send"),
    "events": ("bridge.cli.look", "events"),
    "sources": ("bridge.cli.sources", "sources"),
    "deliveries": ("bridge.cli.look", "deliveries"),
    "destinations": ("bridge.cli.destinations", "destinations"),
    "show": ("bridge.cli.look", "show"),
    "replay": ("bridge.cli.look", "replay"),
    "mute": ("bridge.cli.mute", "mute"),
    "mutes": ("bridge.cli.mute", "mutes"),
    "unmute": ("bridge.cli.mute", "unmute"),
    "backfill": ("bridge.cli.backfill", "backfill"),
    "doctor": ("bridge.cli.doctor", "doctor"),
    "cirrus": ("bridge.cli.cirrus", "cirrus"),
    "init": ("bridge.cli.config", "init"),
    "schema": ("bridge.cli.config", "schema"),
    "config": ("bridge.cli.config", "config_group"),
    "export": ("bridge.cli.transfer", "export_command"),
    "import": ("bridge.cli.transfer", "import_command"),
    "release": ("bridge.cli.serve", "release"),
    "demo": ("bridge.cli.serve", "demo"),
}
SHORT = {
    "serve": "Run the server.",
    "check": "Find every problem of the configuration and its templates.",
    "explain": "Say who would be told of a webhook or event, and why; draw the rules. Sends nothing.",
    "test": "Run the tests of the configuration and of files; name rules without one.",
    "backtest": "Say what another configuration would have said of the recorded events.",
    "digest": "Say what a digest would tell. Sends nothing.",
    "send": "Sign a saved webhook as its sender would, and post it to a running bridge.",
    "events": "List what came in.",
    "sources": "List who sends, what was refused and why, and repositories that no rule matches.",
    "deliveries": "List what went out, or waits, or is dead.",
    "destinations": "List the chats: whether each answers, what waits for it and what was given up.",
    "show": "Show one event or delivery, and why.",
    "replay": "Deliver again.",
    "mute": "Keep a rule, a repository, a branch or everything quiet for a while.",
    "mutes": "List what is muted, until when and why.",
    "unmute": "End a mute before its time.",
    "backfill": "Ask a sender for what it sent while bridge was away.",
    "doctor": "Check each source and destination live; --post sends a test message.",
    "cirrus": "Ask Cirrus CI's API.",
    "init": "Write a commented config.yaml.",
    "schema": "Print the JSON Schema of the configuration.",
    "config": "Pack the configuration for platforms without files.",
    "export": "Write all that the database holds into a file.",
    "import": "Read such a file into an empty database, of whichever engine.",
    "release": "Check the configuration and bring the database up to date, before a new version takes over.",
    "demo": "The whole story on this machine: no account, no key.",
}


class _Late(click.Group):
    """A group whose commands are imported when they are needed: `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SHORT[name]) for name in COMMANDS])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f", did you mean '{near[0]}'?" if near else "; bridge --help lists them all"
            ctx.fail(f"no command '{args[0]}'{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Late, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bridge", message="%(prog)s %(version)s")
def bridge() -> None:
    """bridge carries CI and deployment events to chat: signed webhooks in, one living message per run out.

    \b
    First steps:
      bridge demo                 see it work, no account needed
      bridge init                 write a commented config.yaml
      bridge check                find every problem in it
      bridge explain --source github event.json
                                  who would be told of a saved webhook, and why
      bridge serve                run it

    The configuration is --config PATH, else $BRIDGE_CONFIG, else the text in $BRIDGE_CONFIG_YAML, else config.yaml,
    else a start made of $SLACK_WEBHOOK_URL (or $DISCORD_WEBHOOK_URL) and $WEBHOOK_SECRET. Every command that lists
    takes --json. Exit codes: 0 done, 1 the answer is no, 2 wrong usage or configuration.
    """


def main() -> None:
    """Run the command line; errors that are ours end in words, not in a traceback."""
    # What a start makes is there to stay: looking for garbage every 2,000 objects finds none, in a sixth of the time.
    gc.set_threshold(100_000)
    # Pydantic would read the entry points of every installed package, 10 ms, for plug-ins that nobody has.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        bridge(prog_name="bridge")
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)
    except BridgeError as error:
        click.echo(f"bridge: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # `bridge events | head`
        sys.stderr.close()
        sys.exit(0)
