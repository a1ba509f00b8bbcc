"""Model architectures, one file each."""

from ._convnet import ConvNet as ConvNet
from ._language import Cell as Cell
from ._language import LanguageModel as LanguageModel
from ._mlp import Mlp as Mlp
from ._norm import NormKind as NormKind
from ._norm import make_norm as make_norm
from ._resnet import ResNet as ResNet
from ._resnet import resnet18 as resnet18
from ._resnet import resnet20 as resnet20
from ._vgg_small import VggSmall as VggSmall
