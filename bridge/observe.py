"""What bridge says about itself: one line per event, and metrics. Never a body, a secret or a webhook address.

Log lines are an event name (constant, dotted) with key=value data. Metrics are named in Alertmanager's manner; they
carry no repository, branch or channel. https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger("bridge")

_SHAPES = re.compile(
    r"xox[a-z]-[\w-]+"  # Slack tokens
    r"|https?://hooks\.slack\.com/\S+"
    r"|https?://(?:\w+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\S+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password in an address
)
HIDDEN = "[hidden]"


class Redaction:
    """The last step of every log line: known secrets, and what looks like one, are not shown."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first, so that a secret that contains another goes whole; short ones would hide ordinary words.
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def clean(self, value: Any) -> Any:
        if isinstance(value, str):
            value = self._known.sub(HIDDEN, value) if self._known else value
            return _SHAPES.sub(HIDDEN, value) if "://" in value or "xox" in value else value
        if isinstance(value, dict):
            return {key: self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(item) for item in value]
        if isinstance(value, int | float | bool | type(None)):
            return value
        return self.clean(str(value))

    def __call__(self, _logger: Any, _method: str, line: Any) -> Any:
        return {key: self.clean(value) for key, value in line.items()}


def _where_it_broke(_logger: Any, _method: str, line: Any) -> Any:
    """Show an exception as its frames and its type: its words may be those of a stranger."""
    found = line.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = "".join(traceback.format_tb(error.__traceback__))
        line["exception"] = f"{frames}{type(error).__name__}"
    return line


def configure(form: str | None, level: str, secrets: Iterable[str] = ()) -> None:
    """Set up logging on stderr: `form` "json" or "console" (default: console on a terminal)."""
    json_lines = form == "json" or (form != "console" and not sys.stderr.isatty())
    last: Any
    if json_lines:
        last = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        last = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _where_it_broke,
        Redaction(secrets),
    ]
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    _say[0] = _nothing if number > logging.INFO else _json_lines if json_lines else _told
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    logging.getLogger("slack_sdk").setLevel(logging.WARNING)  # at DEBUG it prints webhook addresses
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("asyncpg").setLevel(logging.ERROR)  # it writes tracebacks while the database is away


def _told(name: str, **values: Any) -> None:
    log.info(name, **values)


def _json_lines(name: str, **values: Any) -> None:
    values["event"] = name
    values["level"] = "info"
    values["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    with suppress(OSError, ValueError):  # a full disk or a reader that is gone must not undo what is told
        sys.stderr.write(_line(values).decode() + "\n")


def _nothing(_name: str, **_values: Any) -> None:
    pass


_line = msgspec.json.Encoder().encode


_say: list[Callable[..., None]] = [_told]  # how `told` says it, by the configuration


def told(name: str, **values: Any) -> None:
    """Log what happens with every event, at a tenth of what `log.info` costs.

    `values` are ids, numbers and names of the configuration: what can hold no secret, for nothing is redacted here.
    """
    _say[0](name, **values)


disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=registry)


events_received = _counter(
    "bridge_events_received_total", "Requests with a right signature, by answer.", "source", "status"
)
events_invalid = _counter("bridge_events_invalid_total", "Requests that were refused.", "source", "reason")
events_unrouted = _counter("bridge_events_unrouted_total", "Events that no rule wanted.", "source")
notifications = _counter(
    "bridge_notifications_total", "Messages posted or edited.", "destination", "integration", "how"
)
notifications_failed = _counter(
    "bridge_notifications_failed_total", "Deliveries given up.", "destination", "integration", "reason"
)
notification_requests = _counter(
    "bridge_notification_requests_total", "Requests to chats, whatever came back.", "destination", "integration"
)
notification_requests_failed = _counter(
    "bridge_notification_requests_failed_total",
    "Requests to chats that failed.",
    "destination",
    "integration",
    "reason",
)
notifications_suppressed = _counter(
    "bridge_notifications_suppressed_total", "Messages not sent on purpose.", "destination", "reason"
)
template_errors = _counter("bridge_template_errors_total", "Messages sent plain because a template failed.", "template")
lookups = _counter("bridge_lookups_total", "Questions to senders' APIs.", "source", "result")
notification_latency = Histogram(
    "bridge_notification_latency_seconds",
    "How long one request to a chat took.",
    ("integration",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20),
    registry=registry,
)
end_to_end_latency = Histogram(
    "bridge_end_to_end_latency_seconds",
    "From the event's arrival to its message in the chat.",
    ("destination",),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 3600),
    registry=registry,
)
accept_latency = Histogram(
    "bridge_accept_latency_seconds",
    "From the whole body to the answer, the sync included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
    registry=registry,
)
queue_pending = Gauge("bridge_queue_pending", "Deliveries that wait.", ("destination",), registry=registry)
queue_oldest_age = Gauge(
    "bridge_queue_oldest_age_seconds", "Age of the oldest delivery that waits.", ("destination",), registry=registry
)
queue_dead = Gauge("bridge_queue_dead", "Deliveries given up and kept.", ("destination",), registry=registry)
destination_up = Gauge(
    "bridge_destination_up", "1: the last answer was good, 0: the last was not.", ("destination",), registry=registry
)
leader = Gauge("bridge_leader", "1: the timers (forgetting, routing again) are this process's task.", registry=registry)
config_reload_successful = Gauge(
    "bridge_config_last_reload_successful",
    "Whether the last attempt to load the configuration worked.",
    registry=registry,
)
config_reload_time = Gauge(
    "bridge_config_last_reload_success_timestamp_seconds", "When the configuration was last loaded.", registry=registry
)
build_info = Gauge("bridge_build_info", "The version that runs.", ("version",), registry=registry)
