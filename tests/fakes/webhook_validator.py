"""Would a receiver understand this? The event by its published schema, a CDEvent by its specification's own schemas.

The schemas of CDEvents are read where ``../shared/schemas`` is at hand.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.fakes.base import Invalid

EVENT_SCHEMA = Path(__file__).parents[2] / "bridge" / "event.schema.json"
CDEVENTS = Path(__file__).parents[2] / "../shared/schemas/cdevents"
LARGEST = 20_000
_OWN = re.compile(r"dev\.cdeventsx\.bridge-[a-z]+\.[a-z]+\.0\.1\.0")
_SHARED = re.compile(r"dev\.cdevents\.([a-z]+)\.([a-z]+)\.\d+\.\d+\.\d+")


def check(body: dict[str, Any], *, edit: bool = False) -> None:
    """Return if a receiver could read `body`, else raise Invalid."""
    size = len(json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())
    if size > LARGEST:
        raise Invalid(f"{size} bytes")
    if "specversion" in body:
        _cloud_event(body)
    else:
        _fits(body, EVENT_SCHEMA)


def _cloud_event(body: dict[str, Any]) -> None:
    """https://github.com/cloudevents/spec/blob/main/cloudevents/spec.md#required-attributes"""
    inner = body["data"]
    context = inner["context"]
    same = all(body[name] == context[name] for name in ("id", "source", "type"))
    if body["specversion"] != "1.0" or not same or not inner["subject"]["id"]:
        raise Invalid("the CloudEvent and its CDEvent do not say the same")
    if _OWN.fullmatch(body["type"]):
        return
    known = _SHARED.fullmatch(body["type"])
    if known is None:
        raise Invalid(f"{body['type']} is no type of an event")
    if CDEVENTS.exists():
        _fits(inner, CDEVENTS / f"{known[1]}{known[2]}.json")


def _fits(body: Any, schema: Path) -> None:
    fault = next(_validator(schema).iter_errors(body), None)
    if fault:
        raise Invalid(f"{fault.json_path}: {fault.message}"[:300])


@cache
def _validator(schema: Path) -> jsonschema.Draft202012Validator:
    if not schema.exists():
        raise Invalid(f"no schema {schema.name}")
    return jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))
