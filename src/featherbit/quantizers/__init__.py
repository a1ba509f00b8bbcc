"""Quantizers: a forward rule, a gradient estimator and a `BitFormat` each."""

from ._estimators import straight_through as straight_through
from ._linear import LinearQuant as LinearQuant
from ._linear import linear_quant as linear_quant
from ._sign import Sign as Sign
from ._sign import StochasticSign as StochasticSign
from ._sign import sign as sign
from ._sign import stochastic_sign as stochastic_sign
