"""A program, run by `_memory.py`: prints the resident memory of a process before, while and after it runs a network.

It imports nothing but the runtime. The file's pages count as soon as they are touched, as does everything else that is
resident; Linux alone tells the peak.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path


def resident_bytes(field: str) -> int:
    """Return a figure of `/proc/self/status`.

    The figure `"VmRSS"` is what is resident, `"VmHWM"` its peak.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024  # in kB
    raise SystemExit(f"/proc/self/status has no {field}: memory can be measured on Linux alone")


def main(path: str, batch: str, threads: str, isa: str) -> None:
    """Print the figures as JSON."""
    import numpy as np

    from featherbit.runtime import Session

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew, from what is there now
    baseline = resident_bytes("VmRSS")
    session = Session(path, threads=int(threads), isa=isa or None)
    loaded = resident_bytes("VmRSS")
    x = np.zeros((int(batch), *session.input_shape), dtype=session.input_dtype)
    for _ in range(2):
        session.run(x)
    peak = resident_bytes("VmHWM")
    print(json.dumps({"baseline_bytes": baseline, "loaded_bytes": loaded, "peak_bytes": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
