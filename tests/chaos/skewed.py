"""The real `bridge serve`, with a wall clock that the test moves and with leases short enough to be waited for.

``python -m tests.chaos.skewed serve ...``. The clock is the real one plus the seconds in the file $CHAOS_CLOCK (eight
bytes, a double); asyncio's own steady clock stays, as it does when a machine's clock is set. Three constants are made
smaller or larger because no option should: how long a lease outlives its request, how long a claimed delivery waits for
its turn (less than a lease, as in the product), and how often Slack lets a workspace edit.
"""

from __future__ import annotations

import mmap
import os
import struct
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

LEASE_BEYOND_TIMEOUT = timedelta(seconds=4)
HOLD_AT_MOST = 1.5
EDITS_PER_SECOND = 500.0


def main() -> None:
    from bridge import app, cli, deliver
    from bridge.destinations import slack
    from bridge.units import Rate

    with Path(os.environ["CHAOS_CLOCK"]).open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def now() -> datetime:
        return app.utc_now() + timedelta(seconds=struct.unpack("d", offset[:8])[0])

    deliver.LEASE_BEYOND_TIMEOUT = LEASE_BEYOND_TIMEOUT
    deliver.HOLD_AT_MOST = HOLD_AT_MOST
    slack.EDITS = Rate(EDITS_PER_SECOND)
    app.Bridge = partial(app.Bridge, now=now)  # type: ignore[misc,assignment]
    cli.main()


if __name__ == "__main__":
    main()
