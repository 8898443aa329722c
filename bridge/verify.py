"""Who signed these bytes? Never parses them, never logs them.

Signatures are compared as bytes and in constant time; whatever is odd about one (missing, empty, not ASCII, not hex)
is the same Unauthorized.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

from bridge.errors import Unauthorized

REFUSED = "signature missing or wrong"


def hmac_hex(body: bytes, secret: str, digest: str = "sha256") -> str:
    """Return the hex HMAC of `body`."""
    return hmac.digest(secret.encode(), body, digest).hex()


def require_hmac_hex(
    body: bytes, signature: str | None, secrets: Sequence[str], *, prefix: str = "", digest: str = "sha256"
) -> None:
    """Return if one of `secrets` signed `body`, else raise Unauthorized. Every secret is tried, whichever fits."""
    if not signature or not signature.startswith(prefix):
        raise Unauthorized(REFUSED)
    given = signature[len(prefix) :].encode("utf-8", "surrogatepass")
    fits = False
    for secret in secrets:
        if secret:
            fits |= hmac.compare_digest(hmac_hex(body, secret, digest).encode(), given)
    if not given or not fits:
        raise Unauthorized(REFUSED)


def same(given: str | bytes, known: str | bytes) -> bool:
    """Return whether two texts are the same, in constant time, whatever odd characters they hold."""
    first, second = (one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in (given, known))
    return hmac.compare_digest(first, second)


def shows_token(
    headers: Mapping[str, str], path_token: str | None, tokens: Sequence[str], names: Sequence[str] = ()
) -> bool:
    """Return whether a request shows one of `tokens`: in a header of `names`, as Bearer, as the password of Basic, or
    at the end of its path. Every token is tried, whichever fits; an empty one never does.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    shown = [headers.get(name) for name in names]
    shown += [path_token, given.strip() if scheme.lower() == "bearer" else None]
    shown.append(_password(given) if scheme.lower() == "basic" else None)
    fits = False
    for one in shown:
        for token in tokens:
            if one and token:
                fits |= same(one, token)
    return fits


def _password(basic: str) -> str | None:
    try:
        return base64.b64decode(basic, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return None
