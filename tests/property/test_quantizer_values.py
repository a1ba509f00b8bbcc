"""Quantizers equal their oracles on any float32."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.quantizers import LinearQuant, Sign
from oracles_training import fixed_point, passes, sign_of

any_float = st.floats(width=32)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(any_float, max_size=70), window=st.none() | st.floats(0.0625, 4.0, width=32))
def test_sign_and_its_gradient_equal_the_oracle(values, window):
    x = torch.tensor(values, dtype=torch.float32, requires_grad=True)
    result = Sign(window)(x)
    result.sum().backward()
    assert result.tolist() == [sign_of(v) for v in values]
    assert x.grad.tolist() == [float(passes(v, window)) for v in values]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(width=32, allow_nan=False), max_size=40), bits=st.integers(2, 8))
def test_linear_quant_equals_the_oracle(values, bits):
    x = torch.tensor(values, dtype=torch.float32)
    assert LinearQuant(bits)(x).tolist() == [fixed_point(v, bits) for v in values]
