"""Speaks the protocol of the larq worker without larq: builds nothing, and its clock says what the request says."""

from __future__ import annotations

import json
import sys
import time

SECONDS = {"default": 0.02, "fastest": 0.005}


def answer(request: dict[str, object]) -> dict[str, object] | None:
    """Return what to say; a batch of 13 fails, one of 14 is never answered, one of 15 ends the program."""
    if request["command"] == "time":
        return {"seconds": SECONDS[str(request["which"])] * int(str(request["count"]))}
    batch = request["batch"]
    if batch == 13:
        return {"error": "ValueError: unlucky"}
    if batch == 14:
        time.sleep(30)
    if batch == 15:
        raise SystemExit("the end")
    blueprint = request["blueprint"]
    assert isinstance(blueprint, dict)
    return {"default": f"{len(blueprint['layers'])} layers", "fastest": f"threads: {request['threads']}"}


for line in sys.stdin:
    if json.loads(line).get("batch") == 16:
        print("this is no JSON", flush=True)
    else:
        print(json.dumps(answer(json.loads(line))), flush=True)
