"""Who signed these bytes? Never parses them, never logs them.

Signatures are compared as bytes and in constant time; whatever is odd about one (missing, empty, not ASCII, not hex)
is the same Unauthorized.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

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
