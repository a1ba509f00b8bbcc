"""Model architectures, one file each."""

from ._mlp import Mlp as Mlp
