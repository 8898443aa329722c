"""What can go wrong, and who has to act on it.

::

    BridgeError
    ├── ConfigError            every problem with file:line:column; refuse to start, on reload keep the old one
    ├── IngestError            carries its HTTP status; answer the sender, say nothing to a stranger
    │   ├── Unauthorized       401: signature missing, empty or wrong
    │   ├── Unreadable         202: correctly signed, but not understood; stored, shown, counted
    │   └── KeyUnavailable     503 with Retry-After: the public key of who signs could not be fetched yet
    ├── StoreUnavailable       the event cannot be made durable now: 503 with Retry-After
    ├── LookupFailed           a sender's API did not help; the message goes out without it
    ├── TemplateError          the operator's template; a plain message goes out instead
    └── DeliveryError
        ├── Transient          again, with backoff and jitter
        ├── RateLimited        again at that time; uses up no attempt; the whole bucket waits
        ├── Unsure             it may have arrived; `when_unsure` decides
        ├── Gone               the message to edit, or the thread, is gone: post anew
        ├── Rejected           this message is bad: plain fallback once, then dead
        └── Dead               the destination is bad (token revoked, channel gone)

Messages say what, where and what to do, in lower case, without a full stop and without secrets.
"""

from __future__ import annotations

from dataclasses import dataclass


class BridgeError(Exception):
    """The family: whatever bridge raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with the configuration, and where. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return where + (f"{self.path}: " if self.path else "") + ("warning: " if self.warning else "") + self.text


class ConfigError(BridgeError):
    """The configuration has problems: all of them, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class IngestError(BridgeError):
    """A request that is not taken; `status` is the HTTP answer."""

    status = 400


class Unauthorized(IngestError):
    """The signature is missing, empty or wrong: one error for all three."""

    status = 401


class Unreadable(IngestError):
    """Correctly signed, but not understood. The text is for the operator, not for the sender."""

    status = 202


class KeyUnavailable(IngestError):
    """Whether the request is signed cannot be told now: the sender's public key could not be fetched yet."""

    status = 503


class StoreUnavailable(BridgeError):
    """The store cannot make anything durable now (disk full, locked, away)."""


class LookupFailed(BridgeError):
    """A sender's API did not help. `away`: it did not answer at all, and is better left alone for a while.

    `after`: the seconds for which it wants to be left alone, where it said so.
    """

    def __init__(self, message: str, *, away: bool = False, after: float = 0.0) -> None:
        super().__init__(message)
        self.away = away
        self.after = after


class TemplateError(BridgeError):
    """A template that does not load or does not render."""


class DeliveryError(BridgeError):
    """A message that was not delivered. The text may be shown: it names no secret and no webhook address."""


class Transient(DeliveryError):
    """It may work later: 5xx, connection refused, a name that does not resolve now."""


class RateLimited(DeliveryError):
    """The chat asks to wait `after` seconds. `bucket` says what waits; None is the whole destination."""

    def __init__(self, message: str, after: float, bucket: str | None = None) -> None:
        super().__init__(message)
        self.after = after
        self.bucket = bucket


class Unsure(DeliveryError):
    """The request was sent and the answer was lost: it may have arrived."""


class Gone(DeliveryError):
    """The message to edit or the thread to reply to is not there (any more), or may not be edited."""


class Rejected(DeliveryError):
    """The chat refuses this message, not this destination."""


class Dead(DeliveryError):
    """The destination itself is bad: nothing will arrive before somebody mends it."""
