"""The packed network: ops, `Graph`, the reference interpreter and the file."""

from . import reference as reference
from ._file import FORMAT_VERSION as FORMAT_VERSION
from ._file import load as load
from ._file import save as save
from ._graph import Graph as Graph
from ._op import OPS as OPS
from ._op import Op as Op
from ._op import operation as operation
from ._ops import MAX_EXACT as MAX_EXACT
from ._ops import SIGN as SIGN
from ._ops import Affine as Affine
from ._ops import Flatten as Flatten
from ._ops import Input as Input
from ._ops import Linear as Linear
from ._ops import PackSign as PackSign
from ._ops import QuantizeLinear as QuantizeLinear
from ._ops import Threshold as Threshold
from ._types import MAX_RANK as MAX_RANK
from ._types import MAX_SIZE as MAX_SIZE
from ._types import Element as Element
from ._types import ValueType as ValueType
