"""`bridge export` and `bridge import`: everything that a database holds, as lines of JSON, to take it elsewhere.

The first line says what the file is, the last one how many rows there were, so that a file that was cut is known. Bytes
are ``{"base64": "..."}``. The file holds event bodies: nobody but its owner may read it. Row by row, never as a whole.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BufferedReader
from typing import IO, TYPE_CHECKING, Any, cast

import click

from bridge import __version__
from bridge.cli.look import with_store

if TYPE_CHECKING:
    from bridge.store.base import Row, Store

FORMAT = 1
LONGEST_LINE = 128 * 2**20  # bytes: the largest body, compressed or not, and its event
ZSTD = ".zst"


def _options(command: Any) -> Any:
    command = click.option("--json", "as_json", is_flag=True, help="Tell the rows by table as a JSON object.")(command)
    # Accepted for uniformity: the database is all that counts.
    return click.option("--config", "config_path", type=click.Path(), hidden=True)(command)


@click.command("export")
@click.argument("file", default="-", type=click.Path(dir_okay=False, allow_dash=True))
@_options
def export_command(file: str, *, as_json: bool, config_path: str | None) -> None:
    """Write all that the database holds into FILE, or to standard output.

    All rows are of one moment, while the server goes on. FILE is compressed when its name ends in .zst, and only its
    owner may read it: it holds what the senders sent. `bridge import` reads it, into SQLite or PostgreSQL.
    """
    counts: Counter[str] = Counter()

    async def write(store: Store) -> None:
        with _writing(file) as out:
            out.write(_line({"bridge": "export", "format": FORMAT, "version": __version__} | _origin()))
            async for table, row in store.export():
                counts[table] += 1
                out.write(_line({"table": table, "row": {name: _shown(value) for name, value in row.items()}}))
            out.write(_line({"end": dict(counts)}))

    try:
        with_store(write)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror or error}") from error
    _sum_up(counts, as_json=as_json)


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@_options
def import_command(file: str, *, as_json: bool, config_path: str | None) -> None:
    """Read what `bridge export` wrote into FILE (or -) into the empty database that DATABASE_URL names.

    All of it or nothing: a file that is cut or broken changes nothing, and neither does a database that is not empty.
    What was just being sent is unsure then: `when_unsure` decides.
    """
    try:
        with _reading(file) as lines:
            counts = with_store(lambda store: store.restore(_rows(lines, file)), make=True)
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror or error}") from error
    _sum_up(Counter(counts), as_json=as_json)


def _sum_up(counts: Counter[str], *, as_json: bool) -> None:
    from bridge.store.moving import TABLES

    known = {table: counts[table] for table in TABLES}
    if as_json:
        click.echo(json.dumps(known), err=True)
        return
    for table, count in known.items():
        click.echo(f"{table:<12}{count:>10}", err=True)


# -- writing -----------------------------------------------------------------------------------------------------------


def _origin() -> dict[str, str]:
    from bridge.store import DEFAULT_URL, engine

    url = os.environ.get("DATABASE_URL") or DEFAULT_URL
    return {"engine": engine(url), "at": datetime.now(UTC).isoformat(timespec="seconds")}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _shown(value: str | float | bytes | None) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


@contextmanager
def _writing(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as plain:
        if stat.S_ISREG(os.fstat(plain.fileno()).st_mode):
            os.fchmod(plain.fileno(), 0o600)  # also where a file of that name was there, open to all
        if not file.endswith(ZSTD):
            yield plain
            return
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(plain, closefd=False) as compressed:
            yield cast(IO[bytes], compressed)


# -- reading -----------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with open(file, "rb") as plain:
        if not file.endswith(ZSTD):
            yield plain
            return
        import zstandard

        stream: Any = zstandard.ZstdDecompressor().stream_reader(plain, closefd=False)
        yield BufferedReader(stream)


async def _rows(lines: IO[bytes], file: str) -> AsyncIterator[tuple[str, Row]]:
    """Yield the rows of an export; raise Unfit, with the line, at what is none."""
    from bridge.store.moving import Unfit

    counts: Counter[str] = Counter()
    ended = False
    for number, value in enumerate(_values(lines, file), 1):
        where = f"{file}:{number}"
        if number == 1:
            _greet(value, file)
        elif ended:
            raise Unfit(f"{where}: something follows the end")
        elif "end" in value:
            if value["end"] != dict(counts):
                raise Unfit(f"{where}: rows are missing, or were added: it ends with other counts than it has")
            ended = True
        elif isinstance(value.get("table"), str) and isinstance(value.get("row"), dict):
            counts[value["table"]] += 1
            yield value["table"], {name: _read(item, where) for name, item in value["row"].items()}
        else:
            raise Unfit(f"{where}: this is no row of an export")
    if not ended:
        raise Unfit(f"{file} was cut: its last line is missing")


def _values(lines: IO[bytes], file: str) -> Iterator[dict[str, Any]]:
    import zstandard

    from bridge.store.moving import Unfit

    number = 0
    while True:
        number += 1
        try:
            line = lines.readline(LONGEST_LINE)
            if not line:
                return
            if not line.endswith(b"\n"):
                raise Unfit(f"{file}:{number}: the line was cut, or is too long")
            value = json.loads(line)
        except zstandard.ZstdError as error:
            raise Unfit(f"{file}:{number}: it cannot be decompressed, it was cut or broken") from error
        except (ValueError, RecursionError) as error:
            raise Unfit(f"{file}:{number}: this is not JSON, so no export of bridge") from error
        if not isinstance(value, dict):
            raise Unfit(f"{file}:{number}: this is no row of an export")
        yield value


def _greet(header: dict[str, Any], file: str) -> None:
    from bridge.store.moving import Unfit

    if header.get("bridge") != "export":
        raise Unfit(f"{file} is not what bridge export writes: its first line says so")
    if header.get("format") != FORMAT:
        raise Unfit(f"{file} was written by bridge {header.get('version')}, in a form that this version cannot read")


def _read(value: Any, where: str) -> Any:
    from bridge.store.moving import Unfit

    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value["base64"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise Unfit(f"{where}: a value that no column holds") from error
