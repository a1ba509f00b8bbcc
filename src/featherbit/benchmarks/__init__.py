"""Speed side by side with peers: every case is timed interleaved in one run.

A new case is one decorated function in a file of its own family; nothing else changes. Imported by the command line
alone, so that a wheel has it and the runtime never pays for it.
"""

from . import _conv_cases as _conv_cases
from . import _gemm as _gemm
from . import _mlp as _mlp
from . import _recurrent as _recurrent
from ._case import Case as Case
from ._case import Contest as Contest
from ._case import Peer as Peer
from ._case import Setting as Setting
from ._case import case as case
from ._case import cases as cases
from ._case import find as find
from ._case import select as select
from ._measure import Budget as Budget
from ._measure import Comparison as Comparison
from ._measure import compare as compare
from ._memory import Memory as Memory
from ._memory import measure_memory as measure_memory
from ._plot import plot as plot
from ._run import Row as Row
from ._run import read_json as read_json
from ._run import run_case as run_case
from ._run import write_json as write_json
from ._trained import compare_trained as compare_trained
from ._trained import plain_float32 as plain_float32
