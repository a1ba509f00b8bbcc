"""`QuantLinear`: a torch linear layer plus its quantizers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ._gradient import quantize_gradient
from ._product import Operand, ProductLayer, operand


class QuantLinear(ProductLayer, nn.Linear):
    """A linear layer whose weight, input and gradient may be quantized.

    Forward: `F.linear(input_quantizer(x), weight_quantizer(weight)) + bias`. The bias is added after the product,
    which is an exact integer product for low-bit operands: where a quantizer has `codes` and a `scale`, the product
    runs on the codes and is scaled afterwards. Under autocast it may run in bfloat16 (exact operands, rounded sums);
    its result is returned as float32, so that the batch norm after it computes in float32. In evaluation mode a product
    whose sums can pass 2^24 (weights of up to 8 bits) is formed in float64, where they are exact, and rounded once.
    Backward: each quantizer's own estimator; `gradient_quantizer` is applied to the gradient at the layer's output.

    Args:
        in_features: length of an input row.
        out_features: length of an output row.
        bias: whether a float bias is added.
        input_quantizer: applied to the input; `None` takes it as it comes.
        weight_quantizer: applied to the latent weight; by default the sign, with every gradient passed.
        gradient_quantizer: applied to the gradient at the output; `None` leaves it.

    The latent weight is `weight`, float `[out_features, in_features]`, initialized uniform in (-1, 1), or as
    its quantizer's `reset_latent` says.

    Source: the paper's algorithm 1; initialization as in the authors' code.

    >>> layer = QuantLinear(3, 2, bias=False)
    >>> sorted(layer.quantized_weight.unique().tolist()) in ([-1.0], [1.0], [-1.0, 1.0])
    True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        input_quantizer: nn.Module | None = None,
        weight_quantizer: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.take_quantizers(input_quantizer, weight_quantizer, gradient_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product, float32 `[..., out_features]`.

        Args:
            x: float `[..., in_features]`.
        """
        return self.multiply(x, operand(self.weight_quantizer, self.weight))

    def multiply(self, x: Tensor, weight: Operand) -> Tensor:
        """Return the product with a weight that is quantized already.

        A recurrent layer quantizes it once for all steps.

        Args:
            x: float `[..., in_features]`.
            weight: the operand that `operand(weight_quantizer, weight)` gives.
        """
        return self._finished(operand(self.input_quantizer, x), weight, self.bias)

    def parts(self, x: Tensor, count: int) -> tuple[Tensor, ...]:
        """Return the product in equal parts, each computed by itself.

        Packed, each part is a step with all that follows it: the gates of a recurrent layer.

        Args:
            x: float `[..., in_features]`.
            count: of parts, a divisor of `out_features`.

        Returns:
            `count` tensors `[..., out_features / count]`.
        """
        source, weight = operand(self.input_quantizer, x), operand(self.weight_quantizer, self.weight)
        size = self.out_features // count

        def part(rows: slice) -> Tensor:
            scale = weight.scale
            own = Operand(weight.values[rows], scale[rows] if scale is not None and scale.ndim else scale)
            return self._finished(source, own, None if self.bias is None else self.bias[rows])

        return tuple(part(slice(i * size, (i + 1) * size)) for i in range(count))

    def _finished(self, source: Operand, weight: Operand, bias: Tensor | None) -> Tensor:
        product = self.summed(F.linear, source, weight)  # [..., out_features]
        product = quantize_gradient(product, self.gradient_quantizer)
        return product if bias is None else product + bias
