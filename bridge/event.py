"""What happened, in one vocabulary for all senders.

The words are OpenTelemetry's (``cicd.*``, ``vcs.*``: pipeline, run, task, result, repository, ref, change request)
wherever it has one; its ``pending``, ``executing``, ``cancellation`` and ``skip`` are called ``queued``, ``running``,
``cancelled`` and ``skipped`` here, and it has no word for ``waiting`` (for a human).
https://opentelemetry.io/docs/specs/semconv/registry/attributes/cicd/

Nothing here knows a sender, a chat, a clock or a file. All times are aware and in UTC; all durations are seconds.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import msgspec

OWN = "bridge"
"""The source (and type) of the events that bridge makes itself: no sender has this name."""


class Kind(StrEnum):
    """What an event is about."""

    PIPELINE = "pipeline"  # a whole run
    TASK = "task"  # a job within it
    DEPLOYMENT = "deployment"
    PUSH = "push"
    CHANGE_REQUEST = "change_request"
    RELEASE = "release"
    ALERT = "alert"
    AUDIT = "audit"
    DIGEST = "digest"  # of no single event: what bridge itself tells of a time that is over


class Status(StrEnum):
    """Where a run, task or deployment is, or how it ended."""

    QUEUED = "queued"
    WAITING = "waiting"  # for a human: an approval, a manual gate
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"  # a tool exited non-zero
    ERROR = "error"  # the CI system's fault
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"  # a word of the sender that we do not know: shown, never taken for success

    @property
    def finished(self) -> bool:
        return self in FINISHED

    @property
    def unsuccessful(self) -> bool:
        return self in UNSUCCESSFUL


UNSUCCESSFUL = frozenset({Status.FAILURE, Status.ERROR, Status.TIMEOUT})
FINISHED = UNSUCCESSFUL | {Status.SUCCESS, Status.CANCELLED, Status.SKIPPED}


class Change(StrEnum):
    """A result compared with the one before it on the same track."""

    BROKEN = "broken"
    STILL_FAILING = "still_failing"
    FIXED = "fixed"
    STILL_PASSING = "still_passing"


TASK_NAME = 100
"""So many characters of a task's name are compared and kept with a result."""

ALWAYS = "always"
"""What `mention_when` says beside changes: whoever is named is named in whatever is told."""

NEWLY_FAILING = "newly_failing"
"""What a rule may ask for beside a Change: something fails now that did not in the result before."""


class Role(StrEnum):
    """Whom a rule can mention without knowing his name: what an event says of him."""

    AUTHOR = "author"
    COMMITTER = "committer"
    PUSHER = "pusher"
    REVIEWERS = "reviewers"
    OWNERS = "owners"


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept: immutable, and written as JSON without what is not said.

    Some nine copies are made per event and three are written down: a Struct takes a tenth of a dataclass's time.
    """

    def with_(self, **changes: Any) -> Self:
        """Return a copy with `changes`."""
        return msgspec.structs.replace(self, **changes)


class RunRef(Data, frozen=True):
    """Which run an event belongs to.

    `id` is the sender's, stable over all events of one run, as text. `attempt` counts re-runs from 1; it is None where
    the sender does not count them. `number` is what people call the run (``#41``) and what tracks are ordered by.
    `unique`: the id alone names the run, for not every event of it tells the repository.
    `of_tasks`: the run is no more than its tasks, of which each event brings one (the statuses of a commit).
    `twin`: one push may begin two of these, one for its branch and one for its pull request (GitLab).
    """

    id: str
    number: int | None = None
    attempt: int | None = None
    url: str | None = None
    unique: bool = False
    of_tasks: bool = False
    twin: bool = False


class Task(Data, frozen=True):
    """A job within a run. `step` is the step or command that failed first; `attempt` as in RunRef."""

    id: str
    name: str
    status: Status = Status.UNKNOWN
    url: str | None = None
    step: str | None = None
    attempt: int | None = None
    created_at: datetime | None = None  # when the sender made the task (a re-run makes it anew)
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: float | None = None
    changed_at: datetime | None = None  # when the sender says that the task took this status
    note: str | None = None  # what the sender says about it (an annotation, a notification)
    allowed: bool = False  # to fail: then its failure is not its run's


class Trouble(Data, frozen=True):
    """What is, or was, broken in the time of a digest: the runs of one track.

    `since`: when it broke. `until`: when it was fixed, if it was. `failures` in a row.
    """

    name: str  # "CI on main"
    url: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    failures: int = 0

    @property
    def duration(self) -> float | None:
        """How long it was broken until it was fixed, in seconds."""
        return (self.until - self.since).total_seconds() if self.since and self.until else None


class Flaky(Data, frozen=True):
    """A task that failed and passed on the same commit, so many times."""

    name: str
    times: int = 1


class Slow(Data, frozen=True):
    """A run that took long."""

    name: str
    duration: float
    url: str | None = None


class Pulse(Data, frozen=True):
    """How many runs ended, how many of them well, and how long those took: the median, in seconds."""

    runs: int = 0
    passed: int = 0
    median: float | None = None

    @property
    def rate(self) -> int | None:
        """The percentage that ended well: 100 only where all did, 0 only where none."""
        if not self.runs:
            return None
        if self.passed in (0, self.runs):
            return 100 if self.passed else 0
        return min(99, max(1, round(100 * self.passed / self.runs)))


class Standing(Data, frozen=True):
    """How one repository did: what broke and is broken still, what was fixed, what was broken all the time."""

    repository: str
    url: str | None = None
    broke: tuple[Trouble, ...] = ()
    still: tuple[Trouble, ...] = ()
    fixed: tuple[Trouble, ...] = ()
    flaky: tuple[Flaky, ...] = ()
    slowest: tuple[Slow, ...] = ()
    pulse: Pulse = Pulse()
    before: Pulse = Pulse()  # in the week before

    @property
    def broken(self) -> tuple[Trouble, ...]:
        """What is broken at the end."""
        return (*self.broke, *self.still)


class Digest(Data, frozen=True):
    """What bridge tells of a time that is over: of a period by a rule's `digest`, or of a mute.

    `repositories` are the ones worth a line, the troubled ones first; `more` were left out, of which `more_broken` have
    something broken. `mute` names what was muted, and `quiet` counts the messages that were kept from this destination.
    """

    since: datetime | None = None
    until: datetime | None = None
    rule: str = ""
    period: str = ""  # in words, by the clocks of the rule's zone
    broke: int = 0
    still: int = 0
    fixed: int = 0
    repositories: tuple[Standing, ...] = ()
    more: int = 0
    more_broken: int = 0
    pulse: Pulse = Pulse()
    before: Pulse = Pulse()
    mute: str = ""
    reason: str = ""
    quiet: int = 0

    @property
    def empty(self) -> bool:
        """Whether no run ended, and nothing is broken."""
        return not (self.pulse.runs or self.broke or self.still or self.fixed)


class Event(Data, frozen=True):
    """One thing that happened. What the sender did not say is None (or empty), never guessed."""

    source: str  # the configured name: POST /webhooks/NAME
    type: str  # the source's type: "github", "cirrus"
    kind: Kind
    status: Status = Status.UNKNOWN
    repository: str | None = None  # "owner/name"
    repository_url: str | None = None
    branch: str | None = None  # None on a tag; a pull request's branch is its head
    tag: str | None = None
    default_branch: str | None = None
    pull_request: int | None = None
    draft: bool | None = None
    fork: bool | None = None
    private: bool | None = None
    sha: str | None = None
    title: str | None = None  # the commit's or pull request's title: one line
    message: str | None = None  # the commit's whole message, where known
    author: str | None = None  # the login, else the name
    author_name: str | None = None
    author_email: str | None = None
    committer: str | None = None  # of the commit: the login, else the name
    committer_email: str | None = None
    pusher: str | None = None  # who pushed, or began the run by hand
    reviewers: tuple[str, ...] = ()  # who is asked to review the pull request; a team is "acme/team"
    pipeline: str | None = None  # the workflow's, check's or CI's name
    run: RunRef | None = None  # also set for pushes, releases, ...: what makes two events "the same thing"
    task: Task | None = None  # kind task: the task itself
    tasks: tuple[Task, ...] = ()  # all tasks, where one event brings them all
    environment: str | None = None
    labels: tuple[str, ...] = ()
    url: str | None = None  # the page a reader wants to open
    action: str | None = None  # the sender's word for what happened: "opened", "published"
    description: str | None = None  # the sender's sentence about the state, if any
    trigger: str | None = None  # push, pull_request, schedule, ...
    committed_at: datetime | None = None  # orders runs whose sender tells neither number nor start
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: float | None = None
    changed_at: datetime | None = None  # when the object took this state, by the sender's clock
    restarted: bool = False  # the sender says that the run left a final state: a new attempt begins
    facts: tuple[tuple[str, str], ...] = ()  # more that is worth showing: (label, text)
    # -- set by bridge
    id: str | None = None
    received_at: datetime | None = None
    change: Change | None = None  # set by fold, on a result
    failing_since: datetime | None = None  # with change: when the present row of failures began (fixed: had begun)
    failures: int = 0  # with change: how many unsuccessful results in a row, this one included (fixed: before it)
    digest: Digest | None = None  # with kind: digest
    overtaken_by: str | None = None  # a later run of the track already ended: "#12 success"
    # With `failures`, where results came late: the most that this row was ever counted, if that is not what follows
    # from `failures` itself (`counted_before`).
    counted: int | None = None
    newly_failing: tuple[str, ...] = ()  # the tasks that fail now and did not in the result before, by name
    flaky: bool = False  # a success of the very commit whose failure was all that was wrong before
    flaky_tasks: tuple[str, ...] = ()  # with flaky: what had failed, by name
    owners: tuple[str, ...] = ()  # whom CODEOWNERS names for what changed; asked for when a rule mentions them

    @property
    def fails_anew(self) -> bool:
        """Whether something is wrong that was not wrong before: `change: newly_failing` asks for it."""
        return bool(self.newly_failing) or self.change is Change.BROKEN

    @property
    def counted_before(self) -> int:
        """How many failures in a row were counted when the result before this one was told."""
        if self.counted is not None:
            return self.counted
        return max(0, self.failures - self.status.unsuccessful)

    @property
    def on_pull_request(self) -> bool:
        """For a pull request, also where its number is not told: GitHub leaves it out for forks."""
        return self.pull_request is not None or bool(self.fork) or (self.trigger or "").startswith("pull_request")

    def names_of(self, role: Role) -> tuple[tuple[str, ...], ...]:
        """Return who has `role`, each as the names that were told of one person: login, name, e-mail."""
        told: dict[Role, tuple[tuple[str | None, ...], ...]] = {
            Role.AUTHOR: ((self.author, self.author_name, self.author_email),),
            Role.COMMITTER: ((self.committer, self.committer_email),),
            Role.PUSHER: ((self.pusher,),),
            Role.REVIEWERS: tuple((name,) for name in self.reviewers),
            Role.OWNERS: tuple((name,) for name in self.owners),
        }
        return tuple(names for one in told[role] if (names := tuple(name for name in one if name)))

    def public(self) -> dict[str, Any]:
        """Return the event as `--json` and the `webhook` destination show it: plain JSON values, stable names."""
        shown = {name: _plain(getattr(self, name)) for name in self.__struct_fields__ if name not in _INTERNAL}
        shown["task"] = self.task.name if self.task else None
        shown["step"] = self.task.step if self.task else None
        if self.digest is None:  # only events of bridge's own have it
            del shown["digest"]
        return shown


_INTERNAL = frozenset({"task", "tasks", "restarted", "message", "counted", "owners"})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Data) and not isinstance(value, RunRef):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, RunRef):
        return {"id": value.id, "number": value.number, "attempt": value.attempt, "url": value.url}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


class Ignored(msgspec.Struct, frozen=True):
    """A request that has nothing for chat, and why, in words for its sender's owner."""

    reason: str


class Inbound(msgspec.Struct, frozen=True):
    """A request as data. Header names are lower case; the body is the raw bytes that were signed."""

    source: str
    headers: dict[str, str]
    body: bytes
    received_at: datetime
    path_token: str | None = None  # the last segment of /webhooks/NAME/TOKEN


class Identity(msgspec.Struct, frozen=True):
    """What makes a delivery the same as one seen before.

    `key`: the same key is always a duplicate (the sender's delivery id, or a digest of the body).
    `repeatable`: the sender may rightly send these very bytes again as news (Cirrus re-runs). Then an equal key is
    only a duplicate when it changes nothing in what is known of the run, or when `sent_at` (by the sender's unsigned
    clock) is not later than that of the one seen before.
    """

    key: str
    repeatable: bool = False
    sent_at: datetime | None = None


REMINDER, ESCALATION, ALL_CLEAR = "reminder", "escalation", "all clear"
"""The roles of a target: said again while it fails; to somebody else if it fails for long; to him when it is fixed."""


class Target(Data, frozen=True):
    """Where one message goes and in what form: what a rule owes for an event.

    `mention` are the words of the rule ("author", a person's name) that hold for this event. `named` are those of the
    messages before it to the same destination: whom they name is not named again. `rules` are the names of all rules
    that asked for this same message.
    """

    destination: str
    template: str
    channel: str | None = None
    live: bool = False
    thread: bool = False
    mention: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    reply: bool = False  # the result, said once more in a living message's thread: edits notify nobody
    answered: bool = False  # a living message whose run's result is said by such a reply, too
    quiet_if_flaky: bool = False  # nobody wants it any more, once the run has passed when it was run again
    rules: tuple[str, ...] = ()
    # -- what is not said at once, see `bridge.turn`
    wait: float = 0.0  # seconds from when it is owed until it is due
    until: datetime | None = None  # it is not due before
    gather: bool = False  # what waits behind it for the same message is said with it
    queue: str = ""  # a lane of its own, so that it holds nothing up: "run:", "track:" or "all:" and a name
    role: str = ""  # REMINDER, ESCALATION, ALL_CLEAR: what is said depends on its track then
    again: float = 0.0  # a reminder's: seconds after which it is said again
    within: str = ""  # a reminder's: the hours within which it is said
    why: str = ""  # why it waits, for people: "waits 20 s"

    @property
    def key(self) -> str:
        """Two targets with one key are one message: a destination is told once per event and template."""
        reply, role = "|reply" if self.reply else "", f"|{self.role}" if self.role else ""
        return f"{self.destination}|{self.channel or ''}|{self.template}{reply}{role}"

    @property
    def patience(self) -> tuple[float, float]:
        """How long it waits, to be compared with another's."""
        return self.until.timestamp() if self.until is not None else 0.0, self.wait

    @property
    def gathers(self) -> bool:
        """A living message shows the newest state anyway: it gathers nothing."""
        return self.gather and not self.live


class Run(Data, frozen=True):
    """All that is known of one run: the newest event's words with everything that earlier ones said.

    `version` grows with every visible change; a living message shows one version. `attempt` counts from 1.
    """

    key: str
    event: Event  # merged; its kind is the run's own, never `task`
    seen: bool = False  # False: known from task events only, nothing said about the run itself yet
    attempt: int = 1
    version: int = 0
    tasks: tuple[Task, ...] = ()  # of the present attempt
    following: tuple[Target, ...] = ()  # the living messages that this run has opened
    first_at: datetime | None = None  # received_at of its first event
    task_at: datetime | None = None  # the newest time that a task of this run told, by the sender's clock
    sent_at: datetime | None = None  # the newest unsigned time of sending, where the sender tells one
    marks: tuple[str, ...] = ()  # what was already told of a push, release, change request, ...

    @property
    def status(self) -> Status:
        return self.event.status


class Result(Data, frozen=True):
    """One finished attempt on a track. `order` is (run number or start time, attempt).

    Results of one `line` are compared with each other: a branch and its pull requests share a track where runs have
    twins. `sha` and `failed` (tasks, by name) are only kept of what was unsuccessful.
    """

    order: tuple[float, int]
    status: Status
    run: str  # the run's id
    at: datetime
    number: int | None = None
    failing_since: datetime | None = None
    failures: int = 0
    line: str = ""
    sha: str | None = None
    failed: tuple[str, ...] = ()


class Told(Data, frozen=True):
    """That a run of this commit and line has spoken: in which message (`Target.key`), and what mattered of it."""

    sha: str
    line: str
    message: str
    what: str = ""  # "broken", "waiting"; "" for what surrounds these


class Track(Data, frozen=True):
    """What runs are compared with: the newest results of one branch, tag family or pull request, oldest first.

    `told` is only kept of runs that have twins.
    """

    key: str
    results: tuple[Result, ...] = ()
    told: tuple[Told, ...] = ()
