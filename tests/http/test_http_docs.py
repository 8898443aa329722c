"""docs/http.md says what is true."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from bridge.receive import LARGE, LARGE_AT_ONCE, READ_WITHIN
from tests.http.wire import SECRET, Client

PAGE = (Path(__file__).parents[2] / "docs/http.md").read_text()


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="no curl, or no openssl")
async def test_the_example_by_hand_works(client: Client, tmp_path: Path) -> None:
    found = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-ec",
        found[1],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin:/usr/local/bin",
            "SECRET": SECRET,
            "BRIDGE": f"http://127.0.0.1:{client.bridge.port}",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert json.loads(said)["status"] == "ignored"


def test_the_limits_are_those_of_the_code() -> None:
    assert f"bodies within {READ_WITHIN.seconds} s" in PAGE
    assert f"Bodies over {LARGE // 1024} KiB" in PAGE
    assert LARGE_AT_ONCE == 8
    assert "at most eight at a time" in PAGE
