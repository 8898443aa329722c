"""How does a file come in an answer's JSON? Alike at both forges: as base64, for whatever is in it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from bridge.errors import LookupFailed


class File(msgspec.Struct):
    """`Any` throughout: a folder of that name has no content."""

    content: Any = None
    encoding: Any = None


def text_of(file: File) -> str:
    """Return what is in the file; raise LookupFailed where nothing is told."""
    if file.encoding != "base64" or not isinstance(file.content, str):
        raise LookupFailed("the answer has no file in it")
    try:
        return base64.b64decode(file.content).decode("utf-8-sig", "replace")
    except (binascii.Error, ValueError) as error:
        raise LookupFailed("the answer's file is no base64") from error
