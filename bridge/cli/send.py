"""`bridge send`: sign a saved body as its sender would, and post it to a running bridge."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from typing import IO

import click

from bridge.cli.serve import config_option


@click.command()
@config_option
@click.option("--source", "name", required=True, help="The source's name in the configuration.")
@click.option("--url", help="Where bridge runs. Default: server.public_url, else http://localhost:$PORT.")
@click.option("--header", "headers", multiple=True, metavar="K=V", help="A header to add or replace.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as a JSON object.")
@click.argument("file", type=click.File("rb"))
def send(
    config_path: str | None, name: str, url: str | None, headers: tuple[str, ...], file: IO[bytes], *, as_json: bool
) -> None:
    """Sign FILE (or -) as its sender would, and post it to a running bridge."""
    from bridge import config
    from bridge.cli.explain import parse_headers, source_of

    loaded = config.load(config_path, os.environ)
    source = source_of(loaded, name)
    body = file.read()
    secret = source.secrets[0] if source.secrets else ""
    signed = source.module.sign(body, secret, delivery=str(uuid.uuid4()))
    if source.type == "cirrus":
        signed["X-Cirrus-Timestamp"] = str(round(time.time() * 1000))
    if not source.secrets and source.tokens:
        signed |= {"Authorization": f"Bearer {source.tokens[0]}"}
    signed |= parse_headers(headers)
    base = url or loaded.server.public_url or f"http://localhost:{os.environ.get('PORT', '8080')}"
    target = base if "/webhooks/" in base else f"{base.rstrip('/')}/webhooks/{name}"

    async def post() -> tuple[int, str]:
        import aiohttp

        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.post(target, data=body, headers=signed, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.text()

    import aiohttp

    try:
        status, text = asyncio.run(post())
    except (aiohttp.ClientError, TimeoutError) as error:
        click.echo(
            f"no bridge answers at {target} ({type(error).__name__}): is `bridge serve` running there?", err=True
        )
        sys.exit(1)
    click.echo(json.dumps({"status": status, "answer": _parsed(text)}) if as_json else f"{status} {text}")
    sys.exit(0 if status < 300 else 1)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
