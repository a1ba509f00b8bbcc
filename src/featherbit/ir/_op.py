"""`Op`: the base of all operations, and the registry that gives each a name in the file.

A new op is one frozen dataclass under `@operation`, whose annotations say what its fields are (`_fields.py`), and one
rule in `reference.py`. Everything else (checks of fields, equality, the file) works from the annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, get_type_hints

from numpy.typing import NDArray

from ..errors import FileErrorCode, GraphError
from ._fields import Array, Attribute, is_text, parse_name
from ._types import ValueType

_registry: dict[str, type[Op]] = {}
OPS: Mapping[str, type[Op]] = MappingProxyType(_registry)
"""Every op class by its name in the file."""


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: reads named values, writes one.

    Args:
        inputs: names of the values it reads.
        output: name of the value it writes, unique in its graph: 1 to 200 letters, digits and `_ . : / -`.
        path: path of the layer in the trained model, for messages; may be empty.

    Raises:
        GraphError: a name, an attribute or an array is not as declared.
    """

    input_count: ClassVar[int] = 1
    more_inputs: ClassVar[bool] = False
    """`input_count` is the least number of inputs, not the number."""
    added: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """The version of the file format in which an attribute was added, where it is not the op's first."""
    fields: ClassVar[Mapping[str, Attribute | Array]] = MappingProxyType({})
    """How each declared field is checked; filled in by `operation`."""

    inputs: tuple[str, ...]
    output: str
    path: str = ""

    def __post_init__(self) -> None:
        try:
            self._check_names()
            for name, rule in self.fields.items():
                self._parse_field(name, rule)
            self.check()
        except GraphError as error:
            raise GraphError(f"{self.label}: {error}", error.code) from None

    @property
    def label(self) -> str:
        """The op in a message: its kind, its output and, where known, its layer."""
        layer = f" (layer {self.path})" if self.path else ""
        return f"{type(self).__name__} {self.output!r}{layer}"

    def check(self) -> None:
        """Check what no single field can tell, as array shapes against attributes.

        The base has nothing to check.

        Raises:
            GraphError: with the reason.
        """

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the type of the output.

        Args:
            inputs: the types of the values it reads, `input_count` of them.

        Raises:
            GraphError: what came and what is needed.
        """
        raise NotImplementedError

    @classmethod
    def attribute_names(cls, version: int | None = None) -> tuple[str, ...]:
        """Return the names of the plain fields that a version of the file has.

        None is the version that is written.
        """
        names = tuple(name for name, rule in cls.fields.items() if isinstance(rule, Attribute))
        return tuple(name for name in names if version is None or cls.added.get(name, 1) <= version)

    @classmethod
    def array_names(cls) -> tuple[str, ...]:
        """Return the names of the array fields."""
        return tuple(name for name, rule in cls.fields.items() if isinstance(rule, Array))

    def attributes(self) -> dict[str, Any]:
        """Return the plain fields by name."""
        return {name: getattr(self, name) for name in self.attribute_names()}

    def json_attributes(self) -> dict[str, Any]:
        """Return the plain fields by name, as they stand in the file."""
        rules = {name: rule for name, rule in self.fields.items() if isinstance(rule, Attribute)}
        return {name: rule.write(getattr(self, name)) for name, rule in rules.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the array fields by name."""
        return {name: getattr(self, name) for name in self.array_names()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Op) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self.inputs, self.output))

    def _key(self) -> tuple[Any, ...]:
        # Bytes, not values: NaN equals itself and -0.0 differs from 0.0, as in the file.
        arrays = {name: (array.shape, array.tobytes()) for name, array in self.arrays().items()}
        return self.inputs, self.output, self.path, self.attributes(), arrays

    def _check_names(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        for name in (*self.inputs, self.output):
            parse_name(name)
        if not isinstance(self.path, str) or not is_text(self.path):
            raise GraphError(f"the path must be a Unicode string, got {self.path!r:.80}", FileErrorCode.BAD_NAME)
        count = len(self.inputs)
        if count < self.input_count or (count > self.input_count and not self.more_inputs):
            least = "at least " if self.more_inputs else ""
            reason = f"reads {least}{self.input_count} values, got {count}: {', '.join(self.inputs)}"
            raise GraphError(reason, FileErrorCode.WRONG_INPUT_COUNT)

    def _parse_field(self, name: str, rule: Attribute | Array) -> None:
        try:
            object.__setattr__(self, name, rule.parse(getattr(self, name)))
        except GraphError as error:
            raise GraphError(f"{name} {error}", error.code) from None


_SomeOp = TypeVar("_SomeOp", bound=Op)


def operation(cls: type[_SomeOp]) -> type[_SomeOp]:
    """Register an op class under its name and read the rules of its fields.

    Raises:
        GraphError: the name is taken.
    """
    if cls.__name__ in _registry:
        raise GraphError(f"an op named {cls.__name__} is registered already; choose another name")
    hints = get_type_hints(cls, include_extras=True)
    rules = {name: rule for name, hint in hints.items() for rule in getattr(hint, "__metadata__", ())}
    cls.fields = MappingProxyType({name: rule for name, rule in rules.items() if isinstance(rule, Attribute | Array)})
    _registry[cls.__name__] = cls
    return cls
