"""What does any sender of JSON say? The operator's YAML tells: how it signs, and where its body has what.

Fields are Jinja expressions over `body` (the JSON) and `headers` (lower case); `status` maps the sender's words to
ours. A word that is not in the map is UNKNOWN: visible, never taken for success. Without a `run` every delivery stands
for itself. Expressions are the operator's, bodies are a stranger's: no calls, nothing that makes much out of little.
https://jinja.palletsprojects.com/en/stable/templates/#expressions
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from jinja2 import TemplateError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from bridge.codec import clean, decode, first_line, web_url
from bridge.errors import Unauthorized, Unreadable
from bridge.event import Event, Identity, Ignored, Inbound, Kind, RunRef, Status, Task
from bridge.units import parse_duration
from bridge.verify import REFUSED, same

LABEL = "Any sender of JSON"
SETUP = (
    "Let the sender POST its JSON to {url}, signed as `signature` says; or with the token as Authorization: Bearer "
    "TOKEN, as the password of Basic, or at the end of the address, {url}/TOKEN."
)
CONTENT_TYPES = frozenset({"application/json"})
SIGNS = True
TOKEN_HEADERS: tuple[str, ...] = ("authorization",)
STATUS: Mapping[str, Status] = {status.value: status for status in Status}
"""Our own words, where the source has no map for one."""

NAMES = frozenset({"body", "headers"})
TEXTS = (
    "repository branch tag default_branch author author_name author_email committer committer_email pusher pipeline "
    "environment sha title action trigger"
)
LONG_TEXTS = "message description"
ADDRESSES = "url repository_url"
MOMENTS = "started_at finished_at changed_at"
FLAGS = "draft fork private"
OTHERS = "status run attempt number pull_request task duration labels reviewers"
FIELDS = frozenset(" ".join((TEXTS, LONG_TEXTS, ADDRESSES, MOMENTS, FLAGS, OTHERS)).split())

_environment = ImmutableSandboxedEnvironment()
_environment.filters["first_line"] = lambda value: first_line(str(value or "")) or ""
_MUCH = frozenset({"center", "format", "indent", "wordwrap", "batch", "slice", "xmlattr", "pprint", "tojson", "map"})


class Signature(BaseModel):
    """How the sender signs."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    header: str = Field(description="The header with the signature, `X-Signature`.")
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = Field("sha256", description="The hash of the HMAC.")
    encoding: Literal["hex", "base64"] = Field("hex", description="How the signature is written.")
    prefix: str = Field("", description="What stands before it, `sha256=`.")
    timestamp: str | None = Field(
        None, description="The header with the time of sending, in seconds since 1970; then it is signed, too."
    )
    signed: str = Field(
        "{timestamp}.{body}", description="What is signed where there is a timestamp: `{timestamp}` and `{body}`."
    )
    tolerance: Annotated[timedelta, BeforeValidator(parse_duration), WithJsonSchema({"type": "string"})] = Field(
        timedelta(minutes=5), description="How far that time may be off."
    )

    @field_validator("signed")
    @classmethod
    def _ends_with_the_body(cls, value: str) -> str:
        if value.count("{body}") != 1 or value.count("{timestamp}") != 1:
            raise ValueError("write {timestamp} and {body} once each, '{timestamp}.{body}'")
        return value


class Options(BaseModel):
    """What a source of this type says beside the common keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    signature: Signature | None = Field(None, description="How the sender signs, where it does.")
    kind: Kind = Field(Kind.PIPELINE, description="What its events are about.")
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Where the body has what: Jinja expressions over `body` and `headers`, by the field's name.",
    )
    status: dict[str, Status] = Field(
        default_factory=dict, description="The sender's words for a status, and ours; any other word is `unknown`."
    )
    delivery: str | None = Field(
        None, description="An expression for what makes a delivery the same as one before; default: its body."
    )
    ignore: str | None = Field(None, description="An expression that is true for what has nothing for chat.")

    @field_validator("fields")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if name not in FIELDS:
                raise ValueError(f"'{name}' is no field, there are {', '.join(sorted(FIELDS))}")
            try:
                check(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return value

    @field_validator("delivery", "ignore")
    @classmethod
    def _expression(cls, value: str | None) -> str | None:
        if value is not None:
            check(value)
        return value


def check(text: str) -> None:
    """Raise ValueError with what is wrong with an expression."""
    try:
        tree = _environment.parse("{{ (" + text + ") }}")
        # Before anything compiles it: Jinja works out constants then, and 9**9**9 takes for ever.
        if any(tree.find_all((nodes.Call, nodes.Pow, nodes.Mul))):
            raise ValueError("calls, * and ** are not for fields, use filters")
        if found := {one.name for one in tree.find_all(nodes.Filter)} & _MUCH:
            raise ValueError(f"the filter '{sorted(found)[0]}' is not for fields")
        unknown = meta.find_undeclared_variables(tree) - NAMES
        _environment.compile_expression(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"no expression: {error.message}") from error
    if unknown:
        raise ValueError(f"unknown name '{sorted(unknown)[0]}', there are `body` and `headers`: write body.NAME")


class Generic:
    """The source as one operator has described it."""

    LABEL, SETUP, CONTENT_TYPES, SIGNS, TOKEN_HEADERS = LABEL, SETUP, CONTENT_TYPES, SIGNS, TOKEN_HEADERS

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def STATUS(self) -> Mapping[str, Status]:
        return self._options.status or STATUS

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return {name: _compiled(text) for name, text in self._options.fields.items()}

    def verify(self, inbound: Inbound, secrets: Sequence[str]) -> None:
        how = self._options.signature
        given = inbound.headers.get(how.header.lower(), "") if how is not None else ""
        if how is None or not given.startswith(how.prefix):
            raise Unauthorized(REFUSED)
        signature = _bytes_of(given.removeprefix(how.prefix).strip(), how.encoding)
        signed = _signed(inbound, how)
        fits = False
        for secret in secrets:
            if secret:
                fits |= same(hmac.digest(secret.encode(), signed, how.algorithm), signature)
        if not signature or not fits:
            raise Unauthorized(REFUSED)

    def identify(self, inbound: Inbound) -> Identity:
        if self._options.delivery is not None:
            try:
                found = _text(_compiled(self._options.delivery)(**_names(inbound)), 200)
            except (Unreadable, *_FAILS):
                found = None
            if found:
                return Identity(found)
        return Identity("sha256:" + hashlib.sha256(inbound.body).hexdigest())

    def normalise(self, inbound: Inbound) -> Event | Ignored:
        names = _names(inbound)
        if self._options.ignore is not None and _value(_compiled(self._options.ignore), names):
            return Ignored("the source's `ignore` holds")
        found = {name: value for name, one in self._fields.items() if (value := _value(one, names)) not in (None, "")}
        said: dict[str, Any] = {name: read(found[name]) for name, read in _READ.items() if name in found}
        status = self._status(found.get("status"))
        run, task = _line(found.get("run")), _line(found.get("task"))
        kind = Kind.TASK if task and self._options.kind is Kind.PIPELINE else self._options.kind
        return Event(
            source=inbound.source,
            type="generic",
            kind=kind,
            status=status,
            run=RunRef(id=run, number=_number(found.get("number")), attempt=_number(found.get("attempt")))
            if run
            else None,
            task=Task(id=task, name=task, status=status) if task and kind is Kind.TASK else None,
            **said,
        )

    def _status(self, word: Any) -> Status:
        if word is None:
            return Status.UNKNOWN
        text = str(word).lower() if isinstance(word, bool) else str(word)
        return self.STATUS.get(text, Status.UNKNOWN)

    def sign(self, body: bytes, secret: str, *, delivery: str) -> dict[str, str]:
        how = self._options.signature
        headers = {"Content-Type": "application/json"}
        if how is None or not secret:
            return headers
        if how.timestamp is not None:
            headers[how.timestamp] = str(round(datetime.now(UTC).timestamp()))
        lower = {name.lower(): value for name, value in headers.items()}
        inbound = Inbound("", lower, body, datetime.now(UTC))
        digest = hmac.digest(secret.encode(), _signed(inbound, how), how.algorithm)
        written = digest.hex() if how.encoding == "hex" else base64.b64encode(digest).decode()
        return headers | {how.header: how.prefix + written}


def bind(options: Options) -> Generic:
    """Return the source that `options` describe."""
    return Generic(options)


# -- the signature -----------------------------------------------------------------------------------------------------


def _signed(inbound: Inbound, how: Signature) -> bytes:
    """Return the bytes that were signed; raise Unauthorized when they say a time that is long over."""
    if how.timestamp is None:
        return inbound.body
    said = inbound.headers.get(how.timestamp.lower(), "")
    if not said.isascii() or not said.isdecimal() or len(said) > 12:
        raise Unauthorized(REFUSED)
    if abs(inbound.received_at.timestamp() - int(said)) > how.tolerance.total_seconds():
        raise Unauthorized(REFUSED)
    before, _, after = how.signed.replace("{timestamp}", said).partition("{body}")
    return before.encode() + inbound.body + after.encode()


def _bytes_of(text: str, encoding: str) -> bytes:
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unauthorized(REFUSED) from None


# -- values ------------------------------------------------------------------------------------------------------------

_FAILS = (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RecursionError)


def _compiled(text: str) -> Any:
    return _environment.compile_expression(text, undefined_to_none=True)


def _names(inbound: Inbound) -> dict[str, Any]:
    return {"body": decode(inbound.body, Any), "headers": inbound.headers}


def _value(expression: Any, names: dict[str, Any]) -> Any:
    """Return what an expression finds in a body; None where this body has nothing of the kind."""
    try:
        value = expression(**names)
    except _FAILS:
        return None
    return None if isinstance(value, Undefined) else value


def _line(value: Any) -> str | None:
    return _text(value, 1_000)


def _text(value: Any, limit: int) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return first_line(str(value).lower() if isinstance(value, bool) else str(value), limit)


def _number(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 2**53 else None


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < 1e9 else None


def _flag(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def _labels(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value] if value is not None else []
    return tuple(label for one in given[:50] if (label := _text(one, 100)))


def _moment(value: Any) -> datetime | None:
    """Return a time: ISO 8601, or seconds or milliseconds since 1970."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
        parsed = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _paragraphs(value: Any) -> str | None:
    return clean(str(value))


def _address(value: Any) -> str | None:
    return web_url(str(value))


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(TEXTS.split(), _line),
    **dict.fromkeys(LONG_TEXTS.split(), _paragraphs),
    **dict.fromkeys(ADDRESSES.split(), _address),
    **dict.fromkeys(MOMENTS.split(), _moment),
    **dict.fromkeys(FLAGS.split(), _flag),
    "pull_request": _number,
    "duration": _seconds,
    "labels": _labels,
    "reviewers": _labels,
}
