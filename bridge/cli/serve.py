"""`bridge serve`, `release` and `demo`: the commands that run the program."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import asyncio  # 30 ms, and every command takes its options from here


def config_option(command: Any) -> Any:
    return click.option(
        "--config",
        "config_path",
        metavar="PATH",
        type=click.Path(dir_okay=False),
        help="The configuration. Default: $BRIDGE_CONFIG, then $BRIDGE_CONFIG_YAML, then config.yaml.",
    )(command)


@click.command()
@config_option
@click.option("--host", envvar="HOST", default="0.0.0.0", show_default=True, show_envvar=True, help="Where to listen.")  # noqa: S104 - a platform's router must reach it
@click.option(
    "--port", envvar="PORT", type=int, default=8080, show_default=True, show_envvar=True, help="Where to listen."
)
@click.option(
    "--role",
    type=click.Choice(["all", "web", "worker"]),
    default="all",
    show_default=True,
    help="web only takes webhooks, worker only delivers.",
)
def serve(config_path: str | None, host: str, port: int, role: Any) -> None:
    """Run the server.

    DATABASE_URL says where the memory is (default sqlite:///bridge.db). SIGTERM ends it cleanly within 10 s. SIGHUP or
    a changed configuration file reloads; a bad file keeps the running configuration and says why.
    """
    if hasattr(signal, "SIGHUP"):  # a reload asked for while it starts must not end it
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    import asyncio

    from bridge import app, config, observe

    loaded = config.load(config_path, os.environ)
    bridge = app.Bridge(loaded, config_path=config_path, environ=os.environ, role=role)
    observe.configure(os.environ.get("LOG_FORMAT"), os.environ.get("LOG_LEVEL", "info"), bridge.secrets())
    for warning in loaded.warnings:
        click.echo(str(warning), err=True)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(app.serve(bridge, host, port, say=click.echo))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, where it is installed: it takes a fifth off what an event costs. None: asyncio's own."""
    try:
        import uvloop
    except ImportError:  # Windows, or an interpreter without a wheel
        return None
    return uvloop.new_event_loop


@click.command()
@config_option
def release(config_path: str | None) -> None:
    """Check the configuration and bring the database up to date.

    What a platform runs before a new version takes over: when it fails, the old version keeps running.
    """
    import asyncio

    from bridge import config
    from bridge.render import Renderer
    from bridge.store import DEFAULT_URL, open_store

    loaded = config.load(config_path, os.environ)
    problems = Renderer(loaded.templates).problems()
    for problem in problems:
        click.echo(f"templates/{problem.name}:{problem.line}:1: {problem.text}", err=True)
    if problems:
        raise SystemExit(2)

    async def migrate() -> None:
        store = await open_store(os.environ.get("DATABASE_URL") or DEFAULT_URL)
        await store.close()

    asyncio.run(migrate())
    click.echo(f"{loaded.file} is fine and the database is up to date")


@click.command()
@click.option("--once", is_flag=True, help="End after the last message is delivered.")
@click.option("--port", envvar="PORT", type=int, default=8080, show_default=True, help="Where the page is.")
def demo(port: int, *, once: bool) -> None:
    """Show the whole story on this machine: a run that fails, is re-run and fixed, on two branches.

    Signed webhooks go through the real server and the real database into the terminal and a page. No account, no key.
    """
    import asyncio

    from bridge import demo as story

    raise SystemExit(asyncio.run(story.run("127.0.0.1", port, once=once)))
