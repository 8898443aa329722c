"""Which keys does a configuration have, what do they take and what do they mean?

One table for the checks, for ``bridge schema`` and so for what an editor shows; a test compares
``docs/configuration.md`` with it. Nothing here reads a file. The keys of a destination
are those of its module's `Options`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bridge.event import ALWAYS, NEWLY_FAILING, Change, Status
from bridge.hours import OUTSIDE
from bridge.route import KEYS

Schema = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One key: the JSON Schema of its value and its meaning, as an editor shows it."""

    schema: Schema = field(default_factory=dict)
    text: str = ""


# In the file a number may stand where text is meant (`branch: 1.10`), and `${NAME}` where a number or flag is meant.
TEXT: Schema = {"type": ["string", "number"]}
TEXTS: Schema = {"anyOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}
FILLED: Schema = {"type": "string", "pattern": r"\$\{"}
FLAG: Schema = {"anyOf": [{"type": "boolean"}, FILLED]}
DURATION: Schema = {
    "type": "string",
    "pattern": r"^\s*(\d+(\.\d+)?\s*(ms|s|m|min|h|d|w)\s*)+$|\$\{",
    "examples": ["20s", "5m", "24h", "7d"],
}
CLOCK: Schema = {
    "type": "string",
    "pattern": r"^\s*([01]?\d|2[0-4]):[0-5]\d\s*$|\$\{",
    "examples": ["08:00", "18:00"],
}
SIZE: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[KMkm]?[Ii]?[Bb]$|\$\{"},
    ],
    "examples": ["25MiB"],
}
RATE: Schema = {
    "type": "string",
    "pattern": r"^\s*\d+(\.\d+)?\s*/\s*(s|sec|second|min|m|minute|h|hour)\s*$|\$\{",
    "examples": ["1/s", "20/min"],
}

SERVER: dict[str, Key] = {
    "public_url": Key(
        TEXT,
        "The address under which senders reach bridge, `https://bridge.example.com`; used where bridge names itself.",
    ),
    "max_body": Key({**SIZE, "default": "25MiB"}, "The largest webhook body taken; a larger one is answered with 413."),
    "retention": Key(
        {**DURATION, "default": "30d"}, "How long events and deliveries are kept; what is still owed is never removed."
    ),
}

SOURCE: dict[str, Key] = {
    "type": Key({}, "Who sends."),
    "secret": Key(
        TEXTS, "The secret with which the sender signs; a list while it is rotated, any of them is accepted then."
    ),
    "token": Key(TEXTS, "For senders that cannot sign: what they send instead. GitHub and Cirrus sign, use `secret`."),
    "unsigned": Key(
        {**FLAG, "default": False},
        "`true` accepts events from anyone who knows the address; warned about at each start.",
    ),
    "api_token": Key(TEXT, "For the sender's API, which adds what the webhook leaves out. Empty: without."),
    "api_url": Key(TEXT, "The address of the sender's API, for a self-hosted one; default: the documented address."),
}

_CHANGES: Schema = {"enum": [*(change.value for change in Change), NEWLY_FAILING, ALWAYS]}
MENTION_WHEN: Schema = {"anyOf": [_CHANGES, {"type": "array", "items": _CHANGES, "minItems": 1}], "default": "broken"}

GOAL: dict[str, Key] = {
    "destination": Key(TEXT, "The name of a destination."),
    "template": Key(
        TEXT, "The template of the message, `run` for `run.md.j2`; default by kind: run, task, deployment, push, ..."
    ),
    "channel": Key(TEXT, "Another channel than the destination's own (not for incoming webhooks)."),
    "live": Key(
        {**FLAG, "default": False},
        "One message per run and destination, edited as the run goes on; where the chat cannot edit, one at the first "
        "match and one at the end.",
    ),
    "thread": Key({**FLAG, "default": False}, "Follow-ups go into the thread of the first message."),
    "mention": Key(
        TEXTS,
        "Whom to notify: `author`, `committer`, `pusher`, `reviewers`, `owners` (by CODEOWNERS), a name under `people` "
        "or `groups`, or a list of them.",
    ),
    "mention_when": Key(MENTION_WHEN, "On which changes `mention` holds; `always` for whatever the rule tells."),
    "settle": Key(DURATION, "Wait so long for more of the same run, and say it once."),
    "repeat": Key(DURATION, "Say again every so often what is broken, as long as it is."),
}

PERSON: dict[str, Key] = {
    "also": Key(TEXTS, "Further logins, names and e-mails of this person; upper and lower case are the same."),
    "mention": Key({**FLAG, "default": True}, "`false`: no rule notifies this person."),
}
"""The keys of somebody under `people`, beside one for each chat."""

MOST_FAILURES = 1_000

RULE: dict[str, Key] = {
    "name": Key(TEXT, "Required and unique: what `bridge explain`, mutes and metrics call the rule."),
    "match": Key({}, "Which events are meant: all keys must hold. Without it, every event that is heard unasked."),
    "to": Key({}, "Where it goes: a destination, a list of them, or mappings that override something for one."),
    **{key: GOAL[key] for key in GOAL if key != "destination"},
    "after": Key(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "failures": {
                    "type": "integer",
                    "minimum": 2,
                    "maximum": MOST_FAILURES,
                    "description": "So many in a row.",
                }
            },
            "required": ["failures"],
        },
        "`{failures: 3}`: a row of failures begins with its third for this rule; shorter ones are not told.",
    ),
    "flaky": Key(
        {"enum": ["tell", "ignore"], "default": "tell"},
        "`ignore`: what passes when the same commit is run again was not broken, and so is not fixed either.",
    ),
    "escalate": Key({}, "Whom to tell that it is still broken, when nobody has mended or muted it by then."),
    "hours": Key({}, "When the rule speaks: days and times of day in a zone, and what becomes of the rest."),
    "stop": Key({**FLAG, "default": False}, "`true`: no later rule sees an event that this one matched."),
    "digest": Key({}, "The rule speaks of no single event: at these times it tells one message about all it heard."),
}

WHEN_EMPTY = ("nothing", "say")

DIGEST: dict[str, Key] = {
    "every": Key(TEXTS, "Required: `day`, `weekday`, `week` (Monday), or days: `mon`, `mon-fri`, `[mon, thu]`."),
    "at": Key({**TEXT, "default": "09:00"}, "The time of day, in quotes."),
    "zone": Key({**TEXT, "default": "UTC"}, "Whose clocks: `Europe/Oslo`. Daylight saving is minded."),
    "when_empty": Key(
        {"enum": list(WHEN_EMPTY), "default": "nothing"},
        "`say`: one line also when no run ended and nothing is broken; else nothing is told then.",
    ),
}
"""What `digest` of a rule takes."""

HOURS: dict[str, Key] = {
    "days": Key({**TEXTS, "default": "mon-sun"}, "The days on which the hours begin: `mon-fri`, or `mon, wed`."),
    "from": Key(CLOCK, "When they begin, `08:00`."),
    "to": Key(CLOCK, "When they end, `18:00`; before `from`, it is the next day."),
    "zone": Key(TEXT, "The time zone, `Europe/Oslo`; it knows of summer time."),
    "outside": Key(
        {"enum": list(OUTSIDE), "default": "digest"},
        "What becomes of what is wanted out of hours: `digest`, one message when they begin; `hold`, one by one then; "
        "`drop`, nothing.",
    ),
}
"""The keys under `hours` of a rule."""

ESCALATE: dict[str, Key] = {
    "after": Key(DURATION, "How long it may be broken."),
    "to": Key(TEXTS, "Who is told then: a destination, or a list of them."),
    "channel": GOAL["channel"],
    "mention": GOAL["mention"],
}
"""The keys under `escalate` of a rule."""

_MATCH_TEXTS = {
    "source": "The name of a source, or its type.",
    "kind": "What the event is about. Without it a rule hears pipeline, deployment, release and alert.",
    "repository": "`owner/name`; upper and lower case are the same.",
    "branch": "The branch; a pull request's is its head. A run on a tag has none.",
    "tag": "The tag.",
    "pull_request": "`true`, `false`, or a number.",
    "draft": "`true` or `false`: whether the pull request is a draft.",
    "fork": "`true` or `false`: whether the change comes from a fork.",
    "private": "`true` or `false`: whether the repository is private.",
    "status": "Where the run is, or how it ended; `finished` is any result, `unsuccessful` failure, error or timeout.",
    "change": "A result compared with the one before it on the same branch, tag family or pull request.",
    "flaky": "`true` or `false`: whether a commit that had failed passed when it was run again.",
    "pipeline": "The workflow's, check's or pipeline's name.",
    "task": "The job's name; with `kind: task`.",
    "author": "The login, name or e-mail; upper and lower case are the same.",
    "bot": "`true` or `false`: whether the author is a bot, by the name.",
    "environment": "The deployment's environment.",
    "label": "A label of the pull request.",
}


def _match_schema(name: str) -> Schema:
    key = KEYS[name]
    if key.form == "flag":
        return {"$ref": "#/$defs/flags"}
    if key.form == "flag or number":
        return {"$ref": "#/$defs/flags_or_numbers"}
    return {"$ref": f"#/$defs/{name}_patterns"} if key.form == "word" else {"$ref": "#/$defs/patterns"}


MATCH: dict[str, Key] = {
    **{name: Key(_match_schema(name), _MATCH_TEXTS[name]) for name in KEYS},
    "if": Key(
        {"type": "string"},
        "A Jinja expression over the names of an event, for the rest: `duration > 600 and attempt == 1`.",
    ),
}

# What a test may say of an event: the fields of the event model, by the type of their value.
EVENT_TEXTS = frozenset(
    {"source", "repository", "repository_url", "branch", "tag", "default_branch", "sha", "title", "message"}
    | {"author", "author_name", "author_email", "pipeline", "task", "environment", "url", "action", "description"}
    | {"trigger", "committer", "committer_email", "pusher"}
)
EVENT_NUMBERS = frozenset({"pull_request", "number", "attempt", "failures", "duration"})
EVENT_FLAGS = frozenset({"draft", "fork", "private", "flaky"})
EVENT_LISTS = frozenset({"labels", "reviewers", "owners", "newly_failing", "flaky_tasks"})
EVENT_WORDS: dict[str, tuple[str, ...]] = {"kind": KEYS["kind"].words, "status": tuple(Status), "change": tuple(Change)}
EVENT_KEYS = (*sorted(EVENT_TEXTS | EVENT_NUMBERS | EVENT_FLAGS | set(EVENT_WORDS)), *sorted(EVENT_LISTS))


def _event_schema(name: str) -> Schema:
    if name in EVENT_WORDS:
        return {"enum": [str(word) for word in EVENT_WORDS[name]]}
    if name in EVENT_FLAGS:
        return {"type": "boolean"}
    if name in EVENT_NUMBERS:
        return {"type": "number"}
    return TEXTS if name in EVENT_LISTS else TEXT


EVENT: dict[str, Key] = {name: Key(_event_schema(name)) for name in EVENT_KEYS}

EXPECT: dict[str, Key] = {
    "to": Key({}, "Exactly these destinations are told, in any order."),
    "rules": Key({}, "Exactly these rules match, in any order."),
    "none": Key({"const": True}, "`true`: no rule matches."),
    "text": Key(TEXTS, "Each of these texts stands in a message."),
    "messages": Key({"type": "integer", "minimum": 0}, "So many messages are posted; an edit of one is none."),
    "mention": Key({}, "Exactly these people are mentioned, in any order; `[]` for nobody."),
}

TEST: dict[str, Key] = {
    "name": Key(TEXT, "What the test shows."),
    "event": Key({}, "The event: fields of the event model, what is left out is unknown; with `events`, of them all."),
    "payload": Key(
        TEXT, "A file beside this one: a webhook's body, in place of `event` or with fields of it replaced."
    ),
    "events": Key({}, "Several events in their order: fields of the event model, with `at`, `payload` and `expect`."),
    "given": Key({}, "What is known from before and decides, for example `change: fixed`."),
    "expect": Key({}, "What must come of it."),
}

STEP: dict[str, Key] = {
    **EVENT,
    "at": Key({"type": "string"}, "When the event comes, counted from the beginning: `+5m`."),
    "payload": TEST["payload"],
    "expect": Key({}, "What must come of this event alone."),
}
"""One of `events`."""

TOP: dict[str, Key] = {
    "version": Key({"enum": [1, "1"], "default": 1}, "The form of this file: 1."),
    "server": Key({}, "What holds for the whole server."),
    "sources": Key({}, "Who sends: each becomes `POST /webhooks/NAME`."),
    "destinations": Key({}, "Where messages go, by name."),
    "people": Key({}, "Who a CI login, name or e-mail is in each chat."),
    "people_from": Key(TEXTS, "Files with more people: CSV with a row for each, or YAML like `people`."),
    "groups": Key({}, "Names for several people at once, for `mention`."),
    "rules": Key({}, "Which events are told where; every rule that matches speaks."),
    "include": Key(TEXTS, "Files with more rules, each a list of them: `rules/*.yaml`, relative to this file."),
    "tests": Key({}, "Events and where they must lead, run by `bridge test`."),
}

SYNONYMS = {
    "webhook_secret": "secret",
    "password": "secret",
    "webhook_url": "url",
    "webhook": "url",
    "on": "match",
    "when": "match",
    "filter": "match",
    "where": "if",
    "notify": "to",
    "send": "to",
    "destinations": "to",
    "channels": "channel",
    "routes": "rules",
    "receivers": "destinations",
    "users": "people",
    "base_url": "public_url",
}
"""What others call these keys, for "did you mean"."""
