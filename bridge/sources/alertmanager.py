"""What does Prometheus' Alertmanager say about a group of alerts? Never tells more than the group says.

A group is one run: its alerts fire, some are resolved, new ones join, and in the end all are over. Alertmanager sends
the whole group again each `repeat_interval`; what has not changed since is no news. It signs nothing: the token is a
Bearer token, the password of Basic or the end of the address.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
https://prometheus.io/docs/alerting/latest/notifications/#data
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bridge.codec import decode, web_url
from bridge.errors import Unauthorized
from bridge.event import Event, Identity, Inbound, Kind, RunRef, Status
from bridge.sources import _values as values
from bridge.verify import REFUSED

LABEL = "Alertmanager"
SETUP = (
    "In Alertmanager's configuration, add a receiver with webhook_configs: url: {url}, send_resolved: true, and under "
    "http_config: authorization: credentials: the source's token."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = False
TOKEN_HEADERS: tuple[str, ...] = ()
STATUS: Mapping[str, Status] = {"firing": Status.FAILURE, "resolved": Status.SUCCESS}

_SHOWN = 10  # alerts of a group
_SENTENCES = ("summary", "description", "message")


class _Alert(msgspec.Struct, rename="camel"):
    status: Any = None
    labels: Any = None
    annotations: Any = None
    starts_at: Any = None
    ends_at: Any = None
    generator_url: Any = msgspec.field(default=None, name="generatorURL")


class _Body(msgspec.Struct, rename="camel"):
    status: Any = None
    receiver: Any = None
    group_key: Any = None
    group_labels: Any = None
    common_labels: Any = None
    common_annotations: Any = None
    external_url: Any = msgspec.field(default=None, name="externalURL")
    truncated_alerts: Any = None
    alerts: list[_Alert] | None = None


def verify(inbound: Inbound, secrets: Sequence[str]) -> None:
    """Raise Unauthorized: Alertmanager cannot sign."""
    raise Unauthorized(REFUSED)


def identify(inbound: Inbound) -> Identity:
    """Return the body's digest: every change of a group moves a time in it, a mere repetition does not."""
    return values.digest(inbound.body)


def normalise(inbound: Inbound) -> Event:
    """Return the state of the group; raise Unreadable."""
    body = decode(inbound.body, _Body)
    alerts = body.alerts or []
    firing = [alert for alert in alerts if alert.status != "resolved"]
    word = values.text(body.status, 100) or _word(alerts)
    status = STATUS.get(word or "", Status.UNKNOWN)
    common = _shared(body.common_labels, [alert.labels for alert in alerts])
    notes = _shared(body.common_annotations, [alert.annotations for alert in alerts])
    begun = [when for alert in alerts if (when := values.moment(alert.starts_at))]
    ended = [when for alert in alerts if alert.status == "resolved" and (when := values.moment(alert.ends_at))]
    started_at, changed_at = min(begun, default=None), max([*begun, *ended], default=None)
    finished_at = max(ended, default=None) if status is Status.SUCCESS else None
    page = _page(body, alerts)
    return Event(
        source=inbound.source,
        type="alertmanager",
        kind=Kind.ALERT,
        status=status,
        title=_title(body, common, alerts),
        run=RunRef(id=_group(inbound, body), url=page),
        environment=values.first(common.get("environment"), common.get("env")),
        labels=tuple(f"{name}={value}" for name, value in sorted(common.items()) if name != "alertname")[:20],
        url=page,
        action=_action(word, alerts, firing, changed_at),
        description=values.first(*(notes.get(name) for name in _SENTENCES)) or values.unknown(word, STATUS),
        started_at=started_at,
        finished_at=finished_at,
        duration=values.between(started_at, finished_at),
        changed_at=changed_at,
        facts=values.facts(
            ("firing", f"{len(firing)} of {len(alerts)}" if 0 < len(firing) < len(alerts) else None),
            *((_name(alert, common), _sentence(alert, notes)) for alert in (firing or alerts)[:_SHOWN]),
            ("not sent", f"{many} more" if (many := values.whole(body.truncated_alerts)) else None),
        )
        if len(alerts) > 1
        else (),
    )


def sign(body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
    """Return the headers of Alertmanager, which signs nothing."""
    return {"Content-Type": "application/json"}


def _word(alerts: list[_Alert]) -> str | None:
    """A group whose status was left out fires while one of its alerts does."""
    words = {alert.status for alert in alerts if isinstance(alert.status, str)}
    return "firing" if "firing" in words else "resolved" if words == {"resolved"} else None


def _group(inbound: Inbound, body: _Body) -> str:
    """The group's key; a body of the user's own without one is told apart by its labels, else by itself."""
    if key := values.identifier(body.group_key):
        return key
    labels = [body.group_labels or [alert.labels for alert in body.alerts or []], body.receiver]
    return hashlib.sha256(repr(labels).encode()).hexdigest() if any(labels) else identify(inbound).key


def _action(word: str | None, alerts: list[_Alert], firing: list[_Alert], at: datetime | None) -> str | None:
    """The word for it; where no alert tells a time, with how many fire, so that a change is seen as one."""
    if at is not None or not alerts:
        return word
    return f"{word or 'sent'} {len(firing)} of {len(alerts)}"


def _shared(said: Any, each: Iterable[Any]) -> dict[str, str]:
    """Return the labels or annotations that Alertmanager names as common, else what is so by itself."""
    common = _labels(said)
    if common or said is not None:
        return common
    pairs = [set(_labels(one).items()) for one in each]
    return dict(set.intersection(*pairs)) if pairs else {}


def _labels(value: Any) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: found for key, one in pairs if (name := values.text(key, 100)) and (found := values.text(one))}


def _title(body: _Body, common: dict[str, str], alerts: list[_Alert]) -> str | None:
    names = [_labels(alert.labels).get("alertname") for alert in alerts[:_SHOWN]]
    told = common.get("alertname") or ", ".join(dict.fromkeys(name for name in names if name))
    return values.text(told or ", ".join(_labels(body.group_labels).values()))


def _page(body: _Body, alerts: list[_Alert]) -> str | None:
    """The alert's own page where there is one for all, else Alertmanager's."""
    pages = {web_url(values.text(alert.generator_url, 2_000)) for alert in alerts}
    return (pages.pop() if len(pages) == 1 else None) or web_url(values.text(body.external_url, 2_000))


def _name(alert: _Alert, common: dict[str, str]) -> str:
    own = [value for name, value in sorted(_labels(alert.labels).items()) if common.get(name) != value]
    return values.text(", ".join(own), 200) or "alert"


def _sentence(alert: _Alert, common: dict[str, str]) -> str | None:
    """What an alert says that not all of its group say; else how it stands."""
    notes = _labels(alert.annotations)
    own = values.first(*(notes.get(name) for name in _SENTENCES if notes.get(name) != common.get(name)))
    return own or values.text(alert.status, 100) or "no status was sent"
