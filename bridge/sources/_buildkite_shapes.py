"""Which fields of Buildkite's webhooks do we read, and in which of three forms do they come? Decides nothing else.

The webhook has `build` and `pipeline`, and `job` where it tells of one. Amazon EventBridge passes the same on within
`detail`, and a build of the REST API is the whole body. `Any` marks what is looked at by hand, so that an odd value
costs only itself.

https://buildkite.com/docs/apis/rest-api/builds
https://buildkite.com/docs/pipelines/integrations/observability/amazon-eventbridge
"""

from __future__ import annotations

from typing import Any

import msgspec

from bridge.codec import decode
from bridge.sources._values import text


class Build(msgspec.Struct):
    id: Any = None
    uuid: Any = None
    number: Any = None
    web_url: Any = None
    state: Any = None
    blocked: Any = None
    cancel_reason: Any = None
    branch: Any = None
    tag: Any = None
    commit: Any = None
    message: Any = None
    source: Any = None
    creator: Any = None
    author: Any = None
    pull_request: Any = None
    rebuilt_from: Any = None
    created_at: Any = None
    scheduled_at: Any = None
    started_at: Any = None
    failing_at: Any = None
    finished_at: Any = None
    jobs: Any = None
    pipeline: Any = None  # in a build of the REST API


class Body(msgspec.Struct, rename={"detail_type": "detail-type"}):
    event: Any = None
    build: Build | None = None
    job: Any = None
    pipeline: Any = None
    organization: Any = None
    # -- EventBridge
    detail_type: Any = None
    detail: msgspec.Raw = msgspec.Raw()
    # -- a build of the REST API
    web_url: Any = None
    state: Any = None


def read(raw: bytes) -> Body:
    """Return a body of any of the three forms in that of the webhook; raise Unreadable."""
    body = decode(raw, Body)
    if body.build is None and bytes(body.detail).startswith(b"{"):
        inner = decode(bytes(body.detail), Body)
        inner.detail_type = body.detail_type
        return inner
    if body.build is None and body.event is None and text(body.web_url) and text(body.state):
        body.build = decode(raw, Build)
        body.pipeline = body.build.pipeline
    return body
