"""Shift-based batch normalization: every factor a power of two, in the forward and in the backward pass.

Means are the one exception: a sum is divided by the number of its terms, which is a shift only where that number is a
power of two. In eval mode the layer is a plain subtraction, multiplication and addition per channel, so a packed
network folds it into thresholds as it does an ordinary batch norm.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import InputError
from ..quantizers import PowerRounding, ap2

Running = Literal["inverse_std", "var"]


class _ShiftNorm(torch.autograd.Function):
    """Normalize by the batch; see `ShiftBatchNorm1d` for both formulas.

    `weight` and `bias` are `[1, C, 1, ...]`, and so are mean, variance and inverse deviation, which come back with the
    result and have no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, rounding: PowerRounding
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims = [0, *range(2, x.ndim)]
        mean = x.mean(dims, keepdim=True)  # [1, C, 1, ...], as all below but powers
        centered = x - mean
        powers = ap2(centered, rounding)  # like x
        var = (centered * powers).mean(dims, keepdim=True)
        inverse_std = (var + eps).sqrt_().reciprocal_()
        shift = ap2(inverse_std, rounding)
        factor = shift if weight is None else shift * ap2(weight, rounding)
        y = centered.mul_(factor)
        ctx.save_for_backward(powers, shift, factor)
        ctx.mark_non_differentiable(mean, var, inverse_std)
        ctx.set_materialize_grads(False)  # no zeros for them
        return y if bias is None else y.add_(bias), mean, var, inverse_std

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        powers, shift, factor = ctx.saved_tensors
        dims = [0, *range(2, gradient.ndim)]
        g_bias = gradient.sum(dims, keepdim=True)
        along = (powers * gradient).sum(dims, keepdim=True)  # AP2(xhat) = AP2(C) * shift, for shift is a power of two
        count = gradient.numel() // gradient.shape[1]
        g_x = powers.mul(along.div(-count).mul_(shift).mul_(shift))
        g_x.add_(gradient).sub_(g_bias / count).mul_(factor)
        _, has_weight, has_bias, *_ = ctx.needs_input_grad
        return g_x, along.mul_(shift) if has_weight else None, g_bias if has_bias else None, None, None


class _ShiftBatchNorm(nn.Module):
    """What the layers of any number of dimensions share."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.125,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        rounding: PowerRounding = "nearest",
        running: Running = "inverse_std",
    ) -> None:
        super().__init__()
        if running not in ("inverse_std", "var"):
            raise InputError(f"running must be 'inverse_std' or 'var', got {running!r}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.rounding, self.running = rounding, running
        self.weight = nn.Parameter(torch.empty(num_features)) if affine else None
        self.bias = nn.Parameter(torch.empty(num_features)) if affine and bias else None
        if track_running_stats:
            self.register_buffer("running_mean", torch.empty(num_features))
            self.register_buffer(f"running_{running}", torch.empty(num_features))
            self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the deviation to 1 and the count to 0."""
        if self.track_running_stats:
            self.get_buffer("running_mean").zero_()
            self.get_buffer(f"running_{self.running}").fill_(1.0)
            self.get_buffer("num_batches_tracked").zero_()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0, and reset the running statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized input, same shape, float32 unless it is float64.

        Args:
            x: float `[B, C, ...]`.

        Raises:
            InputError: a shape the layer does not take, or one value per channel while training.
        """
        self._check_shape(x)
        if x.dtype in (torch.bfloat16, torch.float16):
            x = x.float()
        if self.training or not self.track_running_stats:
            return self._normalize_by_batch(x)
        return self._normalize_by_running(x)

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        if x.numel() <= self.num_features:
            raise InputError(f"more than 1 value per channel is needed in training, got shape {tuple(x.shape)}")
        shape = (1, -1, *[1] * (x.ndim - 2))  # [1, C, 1, ...]
        weight, bias = (None if p is None else p.view(shape) for p in (self.weight, self.bias))
        y, mean, var, inverse_std = _ShiftNorm.apply(x, weight, bias, self.eps, self.rounding)  # type: ignore[no-untyped-call]
        if self.training and self.track_running_stats:
            self._track(mean.flatten(), (inverse_std if self.running == "inverse_std" else var).flatten())
        normalized: Tensor = y
        return normalized

    @torch.no_grad()
    def _track(self, mean: Tensor, spread: Tensor) -> None:
        count = self.get_buffer("num_batches_tracked").add_(1)
        share = 1.0 / float(count) if self.momentum is None else self.momentum
        for name, new in (("running_mean", mean), (f"running_{self.running}", spread)):
            old = self.get_buffer(name)
            old.add_(new.sub(old).mul_(share))  # not (1 - share) * old + share * new: one factor, a power of two

    def _normalize_by_running(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))  # [C, 1, ...]
        spread = self.get_buffer(f"running_{self.running}")
        inverse_std = spread if self.running == "inverse_std" else (spread + self.eps).sqrt().reciprocal()
        factor = ap2(inverse_std, self.rounding)
        if self.weight is not None:
            factor = factor * ap2(self.weight, self.rounding)
        y = (x - self.get_buffer("running_mean").view(shape)) * factor.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)

    def _check_shape(self, x: Tensor) -> None:
        raise NotImplementedError

    def _refuse_shape(self, x: Tensor, wanted: str) -> InputError:
        return InputError(f"{type(self).__name__}({self.num_features}) takes {wanted}, got shape {tuple(x.shape)}")

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class ShiftBatchNorm1d(_ShiftBatchNorm):
    """Batch norm of `[B, C]` or `[B, C, L]` whose factors are powers of two.

    Forward: with `C = x - mean(x)` and `var = mean(C * AP2(C))`, `y = C * AP2(1 / sqrt(var + eps)) * AP2(weight) +
    bias`. Eval mode: `y = (x - running_mean) * AP2(running_inverse_std) * AP2(weight) + bias`.
    Backward: with `s = AP2(1 / sqrt(var + eps))`, `g_x = (g - mean(g) - AP2(C) * mean(AP2(C) * g) * s^2) * s *
    AP2(weight)`, `g_weight = sum(AP2(xhat) * g)` with `xhat = C * s`, `g_bias = sum(g)`. In eval mode AP2 passes its
    gradient as it comes.

    Args:
        num_features: C.
        eps: added to the variance, > 0.
        momentum: share of the new batch in the running statistics, a power of two to be a shift; `None` averages all
            batches alike.
        affine: whether weight and bias are learned.
        track_running_stats: whether eval mode uses running statistics rather than the batch's.
        bias: whether a bias is learned; the paper's printed formula has none.
        rounding: of the exponent in AP2: `"nearest"`, or `"floor"` for the most significant bit.
        running: what is averaged over batches: the unrounded `"inverse_std"`, 1 / sigma, or the variance `"var"`.

    Raises:
        InputError: an unknown `running`.

    Source: the paper's shift-based batch normalization (section 1); eps, momentum, running statistic, bias and backward
    pass as in the authors' Torch7 code.
    Differs: the printed formula leaves out the bias; `bias=False` does too. Running statistics are updated by
    `old + momentum * (new - old)`, so that momentum is the only factor.

    >>> norm = ShiftBatchNorm1d(1)
    >>> norm(torch.tensor([[-6.0], [-3.0], [3.0], [6.0]])).flatten().tolist()
    [-1.5, -0.75, 0.75, 1.5]
    """

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            raise self._refuse_shape(x, f"[B, {self.num_features}] or [B, {self.num_features}, L]")


class ShiftBatchNorm2d(_ShiftBatchNorm):
    """Batch norm of `[B, C, H, W]` whose factors are powers of two.

    Formulas, arguments and sources are those of `ShiftBatchNorm1d`; means run over batch, height and width.

    >>> ShiftBatchNorm2d(3)(torch.ones(2, 3, 4, 4)).abs().max().item()
    0.0
    """

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise self._refuse_shape(x, f"[B, {self.num_features}, H, W]")
