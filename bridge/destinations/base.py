"""What all destinations share: options, rate-limit buckets, receipts, health."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from bridge.units import Rate, parse_duration, parse_rate

Receipt = dict[str, str]
"""What the chat answered: where the message is (Slack: channel and ts). Empty where nothing can be edited."""

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class DestinationOptions(BaseModel):
    """The keys that every destination takes. Durations are ``10s``, ``5m``, ``24h``; rates ``1/s``, ``20/min``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    rate: Annotated[Rate | None, BeforeValidator(parse_rate)] = Field(
        None, description="At most so many messages, `1/s` or `20/min`; default: what the platform allows."
    )
    timeout: Duration = Field(timedelta(seconds=10), description="How long one request may take.")
    attempts: int | None = Field(
        None, ge=1, description="Give up after so many attempts; default: only `give_up_after` counts."
    )
    give_up_after: Duration = Field(
        timedelta(hours=24),
        description="Until when a message is tried again; then it is dead and can be replayed.",
    )
    when_unsure: Literal["resend", "drop"] = Field(
        "resend",
        description="A request that may or may not have arrived: send it again (perhaps twice) or not (perhaps never).",
    )

    def refuses(self, channel: str) -> str | None:
        """Return why a rule cannot send to `channel` through this destination, None when it can."""
        return "always posts to its own channel, make a destination for the other one"


class Bucket(msgspec.Struct, frozen=True):
    """A rate limit: `key` is shared by whoever counts against it, `rate` refills it, `burst` fits in at once."""

    key: str
    rate: Rate
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a destination answers. `text` is plain, without secrets, and says what to click when it does not.

    `ok` None: there is no way to ask without posting.
    """

    ok: bool | None
    text: str


def refusal(check: Callable[[str], object], value: str) -> str | None:
    """Return what `check` says against `value`, None when it takes it."""
    try:
        check(value)
    except ValueError as error:
        return f"takes no such channel: {error}"
    return None


def secret_of(value: SecretStr | None) -> str:
    """Return what was given as a secret, empty where nothing was."""
    return value.get_secret_value().strip() if value else ""


def digest(secret: str, length: int = 12) -> str:
    """Return a name for a secret that does not tell it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:length]


def is_loopback(host: str) -> bool:
    """Return whether what goes to `host` never leaves this machine, so that it need not be encrypted."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
