"""`Identity`: no quantization at all, for the float twin of a low-bit network."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Identity(nn.Identity):
    """Leave every value as it is, so that a layer computes in float.

    As a weight quantizer it also asks for a float layer's initialization, `reset_latent`. It has no `format`: the
    optimizer treats its weights like any other parameter, and `pack` refuses its layer.

    >>> import torch
    >>> Identity()(torch.tensor([0.3])).tolist() == torch.tensor([0.3]).tolist()
    True
    """

    def reset_latent(self, weight: Tensor) -> None:
        """Draw the weight as torch's own layers do, Kaiming uniform."""
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
