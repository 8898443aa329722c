"""Who signed these bytes? Never parses them, never logs them.

Signatures are compared as bytes and in constant time; whatever is odd about one (missing, empty, not ASCII, not hex)
is the same Unauthorized.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (`require_standard`)
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bridge.errors import Unauthorized

REFUSED = "signature missing or wrong"
CLOCKS_DIFFER = timedelta(minutes=5)  # how far a signed time may be off, as in the reference libraries of senders


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


def require_hmac_base64(body: bytes, signature: str | None, secrets: Sequence[str]) -> None:
    """Return if one of `secrets` signed `body` with HMAC-SHA256, else raise Unauthorized."""
    fits = False
    for secret in secrets:
        if secret and signature:
            fits |= same(signature, base64.b64encode(hmac.digest(secret.encode(), body, "sha256")))
    if not fits:
        raise Unauthorized(REFUSED)


def require_recent(stamp: str | None, now: datetime) -> None:
    """Return if `stamp`, Unix seconds that were signed, is at most five minutes from `now`, else raise Unauthorized."""
    if not stamp or not _SECONDS.fullmatch(stamp):
        raise Unauthorized(REFUSED)
    if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > CLOCKS_DIFFER:
        raise Unauthorized(REFUSED)


_SECONDS = re.compile(r"[0-9]{1,11}")


# -- Standard Webhooks -------------------------------------------------------------------------------------------------

_ID = re.compile(r"[!-\-/-~]{1,200}")  # visible ASCII without a dot: the dot parts what is signed
_MOST_SIGNATURES = 20  # a sender gives one per secret while it rotates; a stranger shall not buy work with more


def require_standard(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime, *, prefix: str = "webhook"
) -> None:
    """Return if one of `secrets` signed the body with its id and its time, and lately; else raise Unauthorized.

    A `whsec_` secret checks `v1` (HMAC-SHA256) only and a `whpk_` public key checks `v1a` (Ed25519) only: were a
    public key ever a HMAC's, everybody could sign. Signatures of other versions are passed over.
    """
    delivery, stamp = headers.get(f"{prefix}-id", ""), headers.get(f"{prefix}-timestamp", "")
    if not _ID.fullmatch(delivery):
        raise Unauthorized(REFUSED)
    require_recent(stamp, now)
    signed = _standard_content(delivery, stamp, body)
    given = headers.get(f"{prefix}-signature", "").split(" ")[:_MOST_SIGNATURES]
    fits = False
    for secret in secrets:
        for one in given:
            version, _, signature = one.partition(",")
            if version == "v1":
                fits |= _signed_v1(signed, signature, secret)
            elif version == "v1a":
                fits |= _signed_v1a(signed, signature, secret)
    if not fits:
        raise Unauthorized(REFUSED)


def standard_headers(
    body: bytes, secret: str, *, delivery: str, now: datetime, prefix: str = "webhook"
) -> dict[str, str]:
    """Return the headers with which `secret` signs `body` by `v1`."""
    stamp = str(int(now.timestamp()))
    key = next(_standard_keys(secret), b"")
    digest = hmac.digest(key, _standard_content(delivery, stamp, body), "sha256")
    signature = "v1," + base64.b64encode(digest).decode()
    return {f"{prefix}-id": delivery, f"{prefix}-timestamp": stamp, f"{prefix}-signature": signature}


def _standard_content(delivery: str, stamp: str, body: bytes) -> bytes:
    return b".".join((delivery.encode(), stamp.encode(), body))


def _standard_keys(secret: str) -> Iterator[bytes]:
    """The bytes that a secret stands for. Without the prefix some senders mean base64 and some the text as it is."""
    if secret.startswith("whpk_"):
        return
    key = _unpadded(secret.removeprefix("whsec_"))
    if key:
        yield key
    if secret and not secret.startswith("whsec_"):
        yield secret.encode()


def _signed_v1(signed: bytes, signature: str, secret: str) -> bool:
    fits = False
    for key in _standard_keys(secret):
        fits |= same(signature, base64.b64encode(hmac.digest(key, signed, "sha256")))
    return fits


def _signed_v1a(signed: bytes, signature: str, secret: str) -> bool:
    if not secret.startswith("whpk_"):
        return False
    from cryptography.exceptions import InvalidSignature  # slow to import, and few senders use it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(_unpadded(secret.removeprefix("whpk_")))
        key.verify(_unpadded(signature), signed)
    except (InvalidSignature, ValueError):
        return False
    return base64.b64encode(_unpadded(signature)).decode().rstrip("=") == signature.rstrip("=")  # written in one way


def _unpadded(text: str) -> bytes:
    """Return what base64 holds, with or without its padding; nothing where it is none."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


# -- tokens ------------------------------------------------------------------------------------------------------------


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
