"""Quantizers: a forward rule, a gradient estimator and a `BitFormat` each."""

from ._clipped import pass_between as pass_between
from ._estimators import Estimator as Estimator
from ._estimators import Polynomial as Polynomial
from ._estimators import StraightThrough as StraightThrough
from ._estimators import Swish as Swish
from ._estimators import straight_through as straight_through
from ._gradient import GradientQuant as GradientQuant
from ._identity import Identity as Identity
from ._linear import LinearQuant as LinearQuant
from ._linear import linear_quant as linear_quant
from ._log import LogQuant as LogQuant
from ._log import log_quant as log_quant
from ._quantizer import Quantizer as Quantizer
from ._quantizer import widen_windows as widen_windows
from ._rounding import PowerRounding as PowerRounding
from ._rounding import ap2 as ap2
from ._rounding import stochastic_round as stochastic_round
from ._sign import Sign as Sign
from ._sign import StochasticSign as StochasticSign
from ._sign import sign as sign
from ._sign import stochastic_sign as stochastic_sign
