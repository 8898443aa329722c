"""YAML text to `Config`: every problem at once, with its line.

The way of a text: `load` finds it, `yaml` reads it with places, `beside` what it names (`people`: a table),
`fill` puts the environment in, `build` walks it
(`sections`, `rules`, asking through `reader`) and collects what is wrong in a `report`. `keys` is the table of all
keys, for that walk and for the `json_schema`. Imports neither aiohttp nor slack_sdk, so that ``bridge check`` is quick.
"""

from typing import Any

from bridge.config.load import load, watched_paths
from bridge.config.model import Config, DestinationConfig, Directory, Person, ServerConfig, SourceConfig, Step, TestCase

__all__ = [
    "Config",
    "DestinationConfig",
    "Directory",
    "Person",
    "ServerConfig",
    "SourceConfig",
    "Step",
    "TestCase",
    "load",
    "schema",
    "watched_paths",
]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration. It names every type, so their modules are imported only here."""
    from bridge.config import json_schema

    return json_schema.schema()
