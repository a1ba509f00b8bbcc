"""Data sets in memory: images as uint8, text as numbers of tokens."""

from ._cifar10 import cifar10 as cifar10
from ._cifar10 import parse_binary_batch as parse_binary_batch
from ._cifar10 import parse_python_batch as parse_python_batch
from ._dataset import Batches as Batches
from ._dataset import Dataset as Dataset
from ._dataset import Split as Split
from ._dataset import epoch_order as epoch_order
from ._dataset import mix_seed as mix_seed
from ._digits import digits as digits
from ._idx import read_idx as read_idx
from ._image_folder import image_folder as image_folder
from ._image_folder import read_image as read_image
from ._mnist import FOLDER_VARIABLE as FOLDER_VARIABLE
from ._mnist import idx_folder as idx_folder
from ._mnist import mnist as mnist
from ._svhn import read_mat as read_mat
from ._svhn import svhn as svhn
from ._text import NO_TARGET as NO_TARGET
from ._text import Corpus as Corpus
from ._text import Streams as Streams
from ._text_files import penn_treebank as penn_treebank
from ._text_files import text_file as text_file
