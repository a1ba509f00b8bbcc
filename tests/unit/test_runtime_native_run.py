"""The native entry point of a run refuses memories that do not hold what it would touch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from featherbit import pack
from featherbit.kernels import _native, aligned_empty
from featherbit.models import LanguageModel
from featherbit.quantizers import FittedQuant, LinearQuant
from featherbit.runtime import Session
from featherbit.runtime._plan import NativePlan

STEPS, BATCH = 3, 2


@pytest.fixture(scope="module")
def session() -> Session:
    torch.manual_seed(0)
    quantizers = {"activation_quantizer": LinearQuant(3), "weight_quantizer": FittedQuant(3)}
    model = LanguageModel(11, 5, 7, **quantizers).eval()
    return Session(pack.pack(model, torch.zeros(2, 1, dtype=torch.int64)))


def other_network() -> NativePlan:
    """Return the plans of a network with as many memories, of other sizes."""
    torch.manual_seed(1)
    quantizers = {"activation_quantizer": LinearQuant(3), "weight_quantizer": FittedQuant(3)}
    model = LanguageModel(11, 5, 90, **quantizers).eval()
    return Session(pack.pack(model, torch.zeros(2, 1, dtype=torch.int64)))._native


def arguments(session: Session) -> dict[str, Any]:
    """Return what a good call has."""
    plan = session._native
    sizes = plan.row_bytes[: 2 + 2 * plan.states]
    images = [STEPS * BATCH if memory < 2 else BATCH for memory in range(len(sizes))]
    arrays = [np.zeros((many, size), dtype=np.uint8) for many, size in zip(images, sizes, strict=True)]
    return {
        "plans": plan.plans,
        "arrays": arrays,
        "states": plan.states,
        "steps": STEPS,
        "m": BATCH,
        "threads": 1,
        "taps": (),
    }


def test_a_good_call_runs(session: Session) -> None:
    call = arguments(session)
    _native.run(**call)
    scores, _ = session.run_sequence(np.zeros((STEPS, BATCH, 1), dtype=np.int32))
    assert np.array_equal(call["arrays"][1].view(np.float32).reshape(scores.shape), scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda call: call["arrays"].pop(), "its input, its output and its states"),
        (lambda call: call.update(states=0), "its input, its output and its states"),
        (lambda call: call.update(steps=STEPS + 1), "too small"),
        (lambda call: call.update(m=2**62), "too small"),
        (lambda call: call.update(m=-1), "no count is negative"),
        (lambda call: call.update(threads=0), "at least one thread"),
        (lambda call: call["arrays"][1].setflags(write=False), "read-only"),
        (lambda call: call["arrays"].__setitem__(2, call["arrays"][2][:, ::2]), "C-contiguous"),
        (lambda call: call["arrays"].__setitem__(3, call["arrays"][3][:1]), "too small"),
        (lambda call: call.update(plans=call["plans"][:2]), "three phases"),
        (lambda call: call.update(plans=[None, None, call["plans"][2]]), "three phases"),
        (lambda call: call.update(plans=[other_network().plans[0], *call["plans"][1:]]), "share their memories"),
        (lambda call: call.update(taps=[[], [], []]), "of one step"),
        (lambda call: call.update(taps=[[]], steps=1), "of one step"),
        (lambda call: call.update(taps=[[(99, 0, call["arrays"][0])], [], []], steps=1), "a tap"),
        (lambda call: call.update(taps=[[(0, 1, call["arrays"][1][:1])], [], []], steps=1), "a tap"),
    ],
)
def test_a_wrong_call_is_refused(session: Session, change: Any, message: str) -> None:
    call = arguments(session)
    change(call)
    with pytest.raises(ValueError, match=message):
        _native.run(**call)


def test_arrays_begin_on_a_line_and_live_as_long_as_a_view() -> None:
    for shape in ((0,), (1,), (3, 5), (0, 7)):
        made = aligned_empty(shape, np.int32)
        assert made.shape == shape
        assert made.ctypes.data % 64 == 0
        made[...] = 1
    part = aligned_empty((1000,), np.uint8)[500:]  # the memory lives as long as a view of it
    part[:] = 7
    assert (part == 7).all()
