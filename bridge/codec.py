"""JSON in and out, in one place.

Decoding is msgspec's: the typed shape of a source names the fields it reads and everything else is skipped unparsed.
Encoding of our own dataclasses is msgspec's too, so that what is stored can be read back by type.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from bridge.errors import Unreadable

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


@cache
def _decoder(shape: Any, strict: bool) -> Callable[[bytes | str], Any]:
    return msgspec.json.Decoder(shape, strict=strict).decode


def decode(body: bytes | str, shape: type[T]) -> T:
    """Return `body` as `shape`; raise Unreadable (naming the field, never its value) when it does not fit.

    Not strict: numbers in strings and strings in numbers are taken where a sender mixes them up.
    """
    decoder = _decoder(shape, False)  # type: ignore[arg-type] # a type is hashable
    try:
        try:
            return decoder(body)  # type: ignore[no-any-return]
        except msgspec.DecodeError:
            return decoder(_whole_surrogates(body))  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise Unreadable(_where(error)) from error


_ESCAPE = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def _whole_surrogates(body: bytes | str) -> bytes:
    """Return JSON whose half surrogate escapes, which msgspec refuses, are U+FFFD. Pairs and the rest stay."""
    raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
    return _ESCAPE.sub(lambda found: rb"\ufffd" if len(found[0]) == 6 else found[0], raw)


def _where(error: Exception) -> str:
    """What is wrong with a body, without any of its words."""
    if isinstance(error, msgspec.ValidationError):
        return re.sub(r"Invalid (?:enum )?value '.*?'", "invalid value", str(error), flags=re.DOTALL)
    if isinstance(error, RecursionError):
        return "JSON nested too deeply"
    return "not JSON: " + re.sub(r"'.*'", "...", str(error), flags=re.DOTALL)


def load(text: bytes | str, shape: type[T]) -> T:
    """Return what `dump` wrote. Raises msgspec.MsgspecError: stored state that does not fit is a bug."""
    return _decoder(shape, True)(text)  # type: ignore[no-any-return, arg-type]


def dump(value: Any) -> bytes:
    """Return our own data as JSON."""
    return _encode(value)


def form_field(body: bytes, name: str) -> bytes:
    """Return the first field called `name` of a form; raise Unreadable without one.

    The other fields are never split, and the escapes are undone by the C decoder of quoted-printable, whose `=41` is a
    form's `%41`: urllib takes four seconds for 25 MB of them.
    """
    _, named, rest = (b"&" + body).partition(f"&{name}=".encode())
    if not named:
        raise Unreadable(f"a form without a field named {name}")
    value = rest.partition(b"&")[0]
    return binascii.a2b_qp(value.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


_PLAIN_LINK = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[A-Za-z0-9/._~-]*)?")
_NO_LINK = re.compile(r'[\x00-\x20<>"\\^`{|}\x7f]')


def web_url(value: str | None) -> str | None:
    """Return `value` when it is an absolute http(s) address that may be shown as a link, else None."""
    if not value or len(value) > 2_000:
        return None
    if _PLAIN_LINK.fullmatch(value):  # nearly all are
        return value
    if _NO_LINK.search(value):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme in ("http", "https") and parts.netloc else None


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ud800-\udfff\ue000-\ue0ff\ufffe\uffff]")


def clean(value: str | None, limit: int = 4_000) -> str | None:
    """Return foreign text without control characters and lone surrogates, shortened, or None when nothing is left."""
    if not value:
        return None
    if len(value) <= limit and value.isprintable():  # most texts are short and on one line: that is known quickly
        return value.strip() or None
    text = _CONTROL.sub("\ufffd", value[: limit + 1].replace("\x00", "")).strip()
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return text or None


def first_line(value: str | None, limit: int = 1_000) -> str | None:
    """Return the first line of foreign text that has something in it, cleaned."""
    if not value:
        return None
    if len(value) <= limit and value.isprintable():
        return value.strip() or None
    text = clean(value, limit)
    if text is None or text.isprintable():
        return text
    return text.splitlines()[0].strip() or None
