"""Thin typed access to the native kernels: which instruction sets there are, and one function per kernel."""

from ._calls import MAX_THREADS as MAX_THREADS
from ._calls import Panel as Panel
from ._calls import gemm_u1u1 as gemm_u1u1
from ._calls import gemm_u8u1 as gemm_u8u1
from ._calls import pack_f32u1 as pack_f32u1
from ._calls import threshold_i32u1 as threshold_i32u1
from ._isa import FORCE_VARIABLE as FORCE_VARIABLE
from ._isa import active_isa as active_isa
from ._isa import available_isas as available_isas
from ._isa import compiled_isas as compiled_isas
from ._isa import resolve_isa as resolve_isa
from ._memory import aligned_empty as aligned_empty
