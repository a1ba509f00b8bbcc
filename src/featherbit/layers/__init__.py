"""Layers: a torch layer plus its quantizers, same argument names and order as torch, ours keyword-only."""

from ._cells import QuantLSTMCell as QuantLSTMCell
from ._cells import QuantRNNCell as QuantRNNCell
from ._conv import QuantConv1d as QuantConv1d
from ._conv import QuantConv2d as QuantConv2d
from ._gradient import quantize_gradient as quantize_gradient
from ._gradient import set_gradient_quantizer as set_gradient_quantizer
from ._input import FixedPointInput as FixedPointInput
from ._linear import QuantLinear as QuantLinear
from ._loss import SquareHingeLoss as SquareHingeLoss
from ._recurrent import QuantLSTM as QuantLSTM
from ._recurrent import QuantRNN as QuantRNN
from ._rprelu import ChannelShift as ChannelShift
from ._rprelu import RPReLU as RPReLU
from ._shift_norm import ShiftBatchNorm1d as ShiftBatchNorm1d
from ._shift_norm import ShiftBatchNorm2d as ShiftBatchNorm2d
from ._tabulated import Tabulated as Tabulated
from ._tabulated import look_up as look_up
