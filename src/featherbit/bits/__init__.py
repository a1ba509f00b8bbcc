"""What a low-bit number is: formats, and packing of codes into 64-bit words."""

from ._format import ENCODINGS as ENCODINGS
from ._format import BitFormat as BitFormat
from ._format import Encoding as Encoding
from ._pack import WORD_BITS as WORD_BITS
from ._pack import pack_sign as pack_sign
from ._pack import pack_unsigned as pack_unsigned
from ._pack import unpack_sign as unpack_sign
from ._pack import unpack_unsigned as unpack_unsigned
from ._pack import words_per_row as words_per_row
from ._weights import WEIGHT_ENCODINGS as WEIGHT_ENCODINGS
from ._weights import WeightEncoding as WeightEncoding
from ._weights import pack_weight as pack_weight
from ._weights import unpack_weight as unpack_weight
from ._weights import weight_range as weight_range
