"""How does a program read what a webhook brings: which names are there, where does it lead, who is mentioned?"""

from __future__ import annotations

from typing import Any

ADDRESSES = frozenset({"url", "repository_url", "uri"})


def form(body: Any) -> Any:
    """The names, and how long lists are."""
    if isinstance(body, dict):
        return {name: form(value) for name, value in body.items() if name not in ("step", "url")}
    return [form(one) for one in body] if isinstance(body, list) else None


def effects(body: Any, name: str = "") -> set[str]:
    """The addresses that are promised to be some, and the names of people."""
    if isinstance(body, dict):
        return set().union(*(effects(value, key) for key, value in body.items())) if body else set()
    if isinstance(body, list):
        return set().union(*(effects(one, name) for one in body)) if body else set()
    if name in ADDRESSES and body:
        return {f"leads to {body}"}
    return {f"calls {body}"} if name == "mentions" else set()
