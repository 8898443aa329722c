"""Would Google take these messages, by its own definition of one? Run by a Python that has `google-apps-chat`.

A message is a line of JSON on standard input; what is wrong with it, or nothing, is a line on standard output. `make
slow` makes `.venv-google-chat` from ``tests/google-chat-requirements.txt``: 46 MB that ours goes without.

https://developers.google.com/workspace/chat/api/reference/rpc/google.chat.v1
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-google-chat" / "bin" / "python"


def main() -> None:
    json_format = import_module("google.protobuf.json_format")
    message = import_module("google.apps.chat_v1.types").Message
    for line in sys.stdin:
        try:
            json_format.ParseDict(json.loads(line), message()._pb)
        except json_format.ParseError as error:
            print(" ".join(str(error).split())[:300])
        else:
            print()


if __name__ == "__main__":
    main()
