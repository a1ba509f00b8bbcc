"""Peak memory of running a packed network, measured in a process that does nothing else.

The baseline is an interpreter with numpy and the runtime imported; what the network adds to it is its pages of the
mapped file, the weights repacked for the kernels, and the buffers of a call.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import FeatherbitError

PROGRAM = Path(__file__).with_name("_memory_program.py")


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process that runs a packed network.

    Args:
        file_bytes: size of the file.
        baseline_bytes: the interpreter, numpy and the runtime.
        loaded_bytes: after the network is loaded and planned.
        peak_bytes: the most there ever was from the baseline on, while loading and running.
    """

    file_bytes: int
    baseline_bytes: int
    loaded_bytes: int
    peak_bytes: int

    @property
    def beyond_bytes(self) -> int:
        """What the network adds at its peak."""
        return self.peak_bytes - self.baseline_bytes


def measure_memory(path: Path, *, batch: int = 1, threads: int = 1, isa: str | None = None) -> Memory:
    """Measure a packed network in a fresh process that runs it twice.


    Args:
        path: the packed network.
        batch: images in a call.
        threads: of the session.
        isa: instruction set; None is the active one.

    Raises:
        FeatherbitError: the process failed; the message is its last line.
    """
    command = [sys.executable, str(PROGRAM), str(path), str(batch), str(threads), isa or ""]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise FeatherbitError(f"{path}: its memory could not be measured: {reason}")
    return Memory(file_bytes=path.stat().st_size, **json.loads(done.stdout))
