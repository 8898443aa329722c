"""Texts that strangers send, and events that carry one in every field that takes text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge.event import Digest, Event, Kind, RunRef, Status, Task, Trouble
from bridge.render import View
from bridge.render.samples import NOW, full

TEMPLATES = {path.name: path.read_text() for path in (Path(__file__).parents[1] / "templates").glob("*.j2")}

HOSTILE = [
    "a \"quote\" and 'another'",
    "two\nlines",
    "a `backtick`",
    "<!channel>",
    "<!here|here>",
    "<@U024BE7LH>",
    "<!subteam^S123|x>",
    "<#C123>",
    "*bold*",
    "_it_",
    "~s~",
    "**very** __much__",
    "@here @channel @everyone",
    "[x](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "<https://evil.example|x>",
    "<https://evil.example>",
    "https://evil.example/a?b=c&d=e",
    "x" * 10_000,
    "word " * 2_000,
    "& &amp; &lt;!channel&gt;",
    "🎉 :tada: 👩‍👩‍👧",
    "\u202eevil\u202c",
    "שלום עולם",
    "a\x00b\x1b[31mred",
    "lone \ud800 surrogate",
    "}}{{ 7*7 }}",
    "{% raw %}",
    "{{ ''.__class__ }}",
    "<b>bold</b><script>alert(1)</script>",
    "trailing backslash\\",
    "- x",
    "1. x",
    "# x",
    "> x",
    "    code",
    "```",
    "~~~\nx",
    "---",
    "===",
    "| a | b |",
    "[x]: https://evil.example",
    "**",
    "](",
    "\ue03c!channel\ue03e",
    "javascript:alert(1)",
    "\u2028line\u2029separator\x85",
]


def view(kind: Kind, status: Status, value: str, **more: Any) -> View:
    """Return a view whose every free text is `value`; addresses and what bridge itself writes stay good."""
    event = full(kind, status, None).event
    texts = (
        "repository branch tag default_branch sha title message author author_name author_email committer "
        "committer_email pusher pipeline environment action description trigger overtaken_by"
    )
    if event.digest is not None:
        event = event.with_(digest=_digest(event.digest, value))
    task = Task(id=value, name=value, status=status, url="https://ci.example.com/task/1", step=value, note=value)
    event = event.with_(
        **dict.fromkeys(texts.split(), value),
        run=RunRef(id=value, number=41, attempt=2, url="https://ci.example.com/run/41"),
        task=task,
        tasks=(),
        labels=(value, value),
        reviewers=(value,),
        owners=(value,),
        facts=((value, value), ("commits", value), (value, "x")),
        pull_request=None,
    )
    return View(event=event, tasks=(task, task), rule=value, now=NOW, **more)


def _digest(digest: Digest, value: str) -> Digest:
    """Return a digest whose every text is `value`."""

    def troubles(known: tuple[Trouble, ...]) -> tuple[Trouble, ...]:
        return tuple(one.with_(name=value) for one in known)

    return digest.with_(
        rule=value,
        mute=value,
        reason=value,
        repositories=tuple(
            one.with_(
                repository=value,
                broke=troubles(one.broke),
                still=troubles(one.still),
                fixed=troubles(one.fixed),
                flaky=tuple(task.with_(name=value) for task in one.flaky),
                slowest=tuple(run.with_(name=value) for run in one.slowest),
            )
            for one in digest.repositories
        ),
    )


def with_bad_addresses(value: str) -> View:
    """Return a view whose every address is `value`."""
    event = full(Kind.PIPELINE, Status.FAILURE, None).event
    task = Task(id="1", name="lint", status=Status.FAILURE, url=value)
    run = event.run and event.run.with_(url=value)
    return View(event=event.with_(url=value, repository_url=value, run=run, task=task), tasks=(task,), now=NOW)


def bare(kind: Kind) -> View:
    return View(event=Event(source="github", type="github", kind=kind), now=NOW)
