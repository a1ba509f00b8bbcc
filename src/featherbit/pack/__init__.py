"""Pack a trained PyTorch model into a graph of bit operations, equal to it to the bit."""

from ._pack import pack as pack
from ._verify import Agreement as Agreement
from ._verify import verify as verify
