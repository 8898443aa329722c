"""Who is in a table of people: CSV as a spreadsheet or a directory writes it?

The table becomes the tree that ``people:`` would be, with a place for each cell, so that all that is checked there is
checked here. The first row names the columns; `name` has the login, the others are the keys of a person. An empty cell
says nothing, and several e-mails or other names stand in one cell with ``;`` between them.
https://www.rfc-editor.org/rfc/rfc4180
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from bridge.config.reader import short
from bridge.config.report import Place, Report, under
from bridge.config.yaml import MAX_BYTES, Entry, Mapping, Node, Scalar, Sequence

NAME = "name"
_LISTS = ("also", "email")
_FLAGS = ("mention",)


def people(data: bytes, report: Report) -> Mapping:
    """Return the table as a mapping of people; raise ConfigError where it is none."""
    rows = list(_rows(_text(data, report), report))
    columns = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if NAME not in columns:
        raise report.stop(Place(), "", "the first row names the columns: `name`, `slack`, `email` and so on")
    for column in columns:
        if columns.count(column) > 1:
            raise report.stop(Place(), "", "two columns have the same name, remove one")
    found: dict[str, Entry] = {}
    for line, cells in rows[1:]:
        row = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if column and cell.strip()}
        place = Place(line, 1)
        name = row.pop(NAME, "")
        if not name:
            report.error(place, "people", "this row has no `name`, write the login in that column")
        elif name in found:
            report.error(
                place, under("people", short(name)), "this name stands in an earlier row, remove one of the two"
            )
        else:
            found[name] = Entry(place, Mapping(place, {key: Entry(place, _node(key, row[key], place)) for key in row}))
    return Mapping(Place(), found)


def _text(data: bytes, report: Report) -> str:
    if len(data) > MAX_BYTES:
        raise report.stop(Place(), "", "a list of people has at most 1 MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise report.stop(Place(), "", "this is not UTF-8, save the file as UTF-8") from error


def _rows(text: str, report: Report) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that says something, and the line at which it ends."""
    lines = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield lines.line_num, cells
    except csv.Error as error:
        raise report.stop(Place(max(lines.line_num, 1)), "", "this row is no CSV: a quote is not closed") from error


def _node(key: str, text: str, place: Place) -> Node:
    if key in _LISTS and ";" in text:
        return Sequence(place, tuple(Scalar(place, one.strip(), quoted=True) for one in text.split(";") if one.strip()))
    return Scalar(place, text.lower() if key in _FLAGS else text, quoted=key not in _FLAGS)
