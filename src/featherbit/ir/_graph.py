"""`Graph`: ops in topological order, checked once when it is built and immutable from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import FileErrorCode, GraphError
from ._op import Op
from ._ops_recurrent import Embedding, State
from ._ops_shapes import Input
from ._types import ValueType


@dataclass(frozen=True)
class Graph:
    """A packed network.

    Args:
        ops: in topological order; the first, and only the first, is an `Input`; every other value is used, by an op, as
            the output, or as what the next step takes over.
        output: name of the value that the network computes.

    Raises:
        GraphError: the graph is not well formed; the message names the op and says what came and what is needed.

    >>> x = Input((), "x", shape=(2, 2), dtype="uint8")
    >>> graph = Graph((x,), "x")
    >>> str(graph.types["x"])
    'u8[2, 2]'
    """

    ops: tuple[Op, ...]
    output: str
    types: Mapping[str, ValueType] = field(init=False, repr=False, compare=False)
    """The type of every value, in the order of the ops."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ops", tuple(self.ops))
        _check_input(self.ops)
        object.__setattr__(self, "types", MappingProxyType(_infer_types(self.ops)))
        _check_states(self.states, self.types)
        _check_used(self.ops, self.output)

    @property
    def input(self) -> Input:
        """The op that takes the caller's array."""
        first = self.ops[0]
        assert isinstance(first, Input)
        return first

    @property
    def states(self) -> tuple[State, ...]:
        """What a step takes over from the one before; none in a network without a memory."""
        return tuple(op for op in self.ops if isinstance(op, State))

    @property
    def tokens(self) -> int | None:
        """How many tokens every embedding has a row for; `None` without an embedding."""
        return min((op.tokens for op in self.ops if isinstance(op, Embedding)), default=None)

    def op_of(self, value: str) -> Op:
        """Return the op that writes `value`.

        Raises:
            GraphError: there is no such value.
        """
        for op in self.ops:
            if op.output == value:
                return op
        raise GraphError(
            f"the graph has no value {value!r}; it has {', '.join(self.types)}", FileErrorCode.UNKNOWN_VALUE
        )


def _check_input(ops: tuple[Op, ...]) -> None:
    places = [place for place, op in enumerate(ops) if isinstance(op, Input)]
    if places != [0]:
        reason = f"exactly the first op must be an Input, got one at {places or 'no place'} of {len(ops)} ops"
        raise GraphError(reason, FileErrorCode.MISPLACED_INPUT)


def _infer_types(ops: tuple[Op, ...]) -> dict[str, ValueType]:
    types: dict[str, ValueType] = {}
    outputs = {op.output for op in ops}
    for op in ops:
        try:
            if op.output in types:
                raise GraphError("another op writes this value already", FileErrorCode.DUPLICATE_VALUE)
            types[op.output] = op.infer(*(_known(types, name, outputs) for name in op.inputs))
        except GraphError as error:
            raise GraphError(f"{op.label}: {error}", error.code) from None
    return types


def _known(types: Mapping[str, ValueType], name: str, outputs: set[str]) -> ValueType:
    if name in types:
        return types[name]
    if name in outputs:
        raise GraphError(f"reads {name!r} before it is written: a cycle, or ops out of order", FileErrorCode.CYCLE)
    raise GraphError(f"reads {name!r}, which no op writes", FileErrorCode.UNKNOWN_VALUE)


def _check_states(states: tuple[State, ...], types: Mapping[str, ValueType]) -> None:
    own = {state.output for state in states}
    for state in states:
        if state.next not in types:
            reason = f"{state.label}: takes over {state.next!r}, which no op writes"
            raise GraphError(reason, FileErrorCode.UNKNOWN_VALUE)
        if state.next in own:
            reason = f"{state.label}: takes over {state.next!r}, which is the state of a step before"
            raise GraphError(reason, FileErrorCode.WRONG_VALUE_TYPE)
        try:
            types[state.next].expect("float32", state.shape)
        except GraphError as error:
            raise GraphError(f"{state.label}: {error}", error.code) from None


def _check_used(ops: tuple[Op, ...], output: str) -> None:
    if output not in {op.output for op in ops}:
        raise GraphError(f"the output {output!r} is a value that no op writes", FileErrorCode.UNKNOWN_VALUE)
    used = {output, *(op.next for op in ops if isinstance(op, State))}
    for op in reversed(ops):
        if op.output not in used:
            raise GraphError(f"{op.label}: its value is not used; remove the op", FileErrorCode.UNUSED_VALUE)
        used.update(op.inputs)
