"""larq compute engine as a peer, in an environment and a process of its own.

It needs TensorFlow and a numpy of its time, which do not go together with ours. So a worker runs in another Python
(`make lce` makes the environment), builds the network there, and times its own calls when it is asked to: it takes part
in the same interleaved rounds, on the same threads, and the pipe between the processes costs it nothing.

Two peers come of it: `larq-compute-engine` with its interpreter as the documentation creates it, and
`larq-compute-engine fastest` with the fastest of the interpreter's options, which on x86 is several times as fast.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ..errors import FeatherbitError
from ._blueprint import Blueprint
from ._case import Peer

PYTHON_VARIABLE = "FEATHERBIT_LCE_PYTHON"
WORKER = Path(__file__).with_name("_larq_worker.py")
_PEERS = {"default": "larq-compute-engine", "fastest": "larq-compute-engine fastest"}
_BUILD_SECONDS = 600.0
_HOW_TO = f"make lce, then set {PYTHON_VARIABLE} or --lce-python to its Python"


class WorkerError(FeatherbitError):
    """The worker failed, was too slow, or said what it should not."""


class Worker:
    """A process that builds one network and times it on request.

    Args:
        command: starts it.
        timeout_s: the longest that an answer may take.

    Raises:
        WorkerError: it cannot be started.
    """

    def __init__(self, command: list[str], timeout_s: float = _BUILD_SECONDS) -> None:
        self._timeout_s = timeout_s
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0
            )
        except OSError as error:
            self._log.close()
            raise WorkerError(f"cannot start {command[0]}: {error}") from error
        self.close = weakref.finalize(self, _stop, self._process, self._log)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            WorkerError: the answer is an error, no answer came in time, or it is not JSON.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._line())
        except (OSError, ValueError) as error:
            raise WorkerError(f"the worker gave no answer to {request['command']!r} ({self._last_words()})") from error
        if not isinstance(answer, dict) or "error" in answer:
            raise WorkerError(f"the worker failed: {answer['error'] if isinstance(answer, dict) else answer}")
        return answer

    def _line(self) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], self._timeout_s)
            chunk = os.read(pipe.fileno(), 65536) if ready else b""
            if not chunk:
                raise OSError("the pipe is closed" if ready else f"nothing came in {self._timeout_s:g} s")
            line += chunk
        return line

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it printed nothing"


@dataclass(frozen=True)
class TimedByWorker:
    """A call that the worker makes and times.

    Args:
        worker: which has built the network.
        which: `"default"` or `"fastest"`.
    """

    worker: Worker = field(repr=False)
    which: str

    def __call__(self) -> object:
        """Run once."""
        return self.seconds(1)

    def seconds(self, count: int) -> float:
        """Run so many times; return the seconds of all together."""
        return float(self.worker.ask(command="time", which=self.which, count=count)["seconds"])


def peers(
    blueprint: Blueprint, batch: int, threads: int, python: Path | None = None, worker: Path = WORKER
) -> tuple[Peer, ...]:
    """Return larq compute engine as it comes and at its fastest.

    Where it is missing, the peers say why.

    Args:
        blueprint: the network.
        batch: images in a call.
        threads: of its interpreter.
        python: of its environment; None is what the variable `FEATHERBIT_LCE_PYTHON` says.
        worker: the program to run there.
    """
    interpreter = str(python or os.environ.get(PYTHON_VARIABLE, ""))
    if not interpreter:
        return missing(f"no environment given: {_HOW_TO}")
    try:
        started = Worker([interpreter, "-u", str(worker)])
        notes = started.ask(command="build", blueprint=blueprint.as_json(), batch=batch, threads=threads)
        return tuple(Peer(name, TimedByWorker(started, which), notes[which]) for which, name in _PEERS.items())
    except WorkerError as error:
        return missing(f"{error}; {_HOW_TO}")


def missing(reason: str) -> tuple[Peer, ...]:
    """Return larq compute engine as one missing peer, with the reason."""
    return (Peer(_PEERS["default"], None, reason),)


def _stop(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()
