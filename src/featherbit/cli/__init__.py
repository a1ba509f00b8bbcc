"""The command line: `featherbit train evaluate pack run explain bench recipes kernels demo`.

One file per verb: parse, one call, print. What a verb needs is imported when it runs, so that `featherbit run` starts
without torch.
"""

from ._app import app as app
from ._app import main as main
