"""Run packed networks: plan once, then one native call per inference. Needs numpy alone."""

from ._explain import LayerRow as LayerRow
from ._explain import explain as explain
from ._session import Session as Session
