"""The definition of right: every op in plain numpy, obvious, slow and short.

Every other execution of a graph must equal this one to the bit. Values are unpacked: `sign` values are int8 -1 and +1,
unsigned codes uint8, the rest int32 or float32, each `[B, *shape]`.
"""

from . import _elementwise as _elementwise
from . import _recurrent as _recurrent
from . import _shapes as _shapes
from . import _windows as _windows
from ._interpret import RULES as RULES
from ._interpret import rule as rule
from ._interpret import run as run
from ._interpret import zero_states as zero_states
