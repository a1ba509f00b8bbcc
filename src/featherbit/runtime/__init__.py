"""Run packed networks: plan once, then one native call per inference. Needs numpy alone."""

from ._explain import LayerRow as LayerRow
from ._explain import explain as explain
from ._language import generate as generate
from ._language import nats_per_token as nats_per_token
from ._session import Session as Session
from ._session import State as State
from ._vocabulary import Level as Level
from ._vocabulary import Vocabulary as Vocabulary
from ._vocabulary import split_text as split_text
