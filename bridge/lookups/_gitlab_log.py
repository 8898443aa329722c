"""How did a GitLab job's log end: which command failed, and what were the last lines? Pure; any bytes will do.

A log is what a terminal would show. Sections are marked by `section_start:TIME:NAME`, a carriage return and an escape;
the script's own lines are in one called `step_script` (`build_script` of older runners), and behind it come clean-up,
`after_script` and artifacts. A command is echoed in green behind a dollar sign before it runs. Newer runners put a time
and a stream's number before each line.

https://docs.gitlab.com/ci/jobs/job_logs/
https://docs.gitlab.com/runner/configuration/feature-flags/ (FF_TIMESTAMPS)
"""

from __future__ import annotations

import re
from typing import NamedTuple

from bridge.codec import first_line

_LAST = 3  # lines
_LENGTH = 200  # characters of one


class End(NamedTuple):
    command: str | None
    lines: tuple[str, ...]


_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[0-9:.]{8,18}Z [0-9a-f]{2}[EO][ +]?", re.MULTILINE)
_MARK = re.compile(r"section_(start|end):\d{1,20}:([A-Za-z0-9_.-]{1,200})(?:\[[^\]\r\n]{0,200}\])?\r?(?:\x1b\[0K)?")
_SCRIPT = frozenset({"step_script", "build_script"})
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_ECHO = re.compile(r"^(?:\x1b\[0(?:K|;?m))*\x1b\[32;1m\$ (.+)$", re.MULTILINE)
_ENDING = re.compile(r"ERROR: Job failed\b|Cleaning up project directory\b|Job failed \(system failure\)")


def read(trace: bytes, *, cut: bool = False) -> End:
    """Return the command that was echoed last and the script's last lines. `cut`: it begins in the middle of a line."""
    if cut:
        trace = trace.partition(b"\n")[2]
    script = _script(_STAMP.sub("", trace.decode("utf-8", "replace").replace("\r\n", "\n")))
    echoes = [(found.end(), found[1]) for found in _ECHO.finditer(script)]
    after, command = echoes[-1] if echoes else (0, "")
    lines = [shown for line in script[after:].split("\n") if (shown := _shown(line))]
    said = [line for line in lines if not _ENDING.match(line)] or lines
    return End(_shown(command), tuple(said[-_LAST:]))


def _script(text: str) -> str:
    """Return the part that the job's own script wrote, as far as the marks tell; else all."""
    begin, end = 0, len(text)
    for mark in _MARK.finditer(text):
        if mark[2] in _SCRIPT:
            begin, end = (mark.end(), len(text)) if mark[1] == "start" else (begin, mark.start())
    return _MARK.sub("", text[begin:end])


def _shown(line: str) -> str | None:
    """Return a line as a terminal leaves it: what is behind the last carriage return has overwritten the rest."""
    return first_line(_ESCAPE.sub("", line).rstrip("\r").rpartition("\r")[2], _LENGTH)
