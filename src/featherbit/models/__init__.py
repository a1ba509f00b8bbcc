"""Model architectures, one file each."""

from ._convnet import ConvNet as ConvNet
from ._mlp import Mlp as Mlp
