"""Ask torch for huge pages while training.

The C library gives large blocks back to the system when they are freed, and the next training step faults them in
again, 4 KiB at a time: a 4096-wide network spent 30 % of its time in the kernel that way (150 million page faults in 15
minutes) and 5 % with pages of 2 MiB. Keeping freed blocks by `mallopt` was tried and did not help.
"""

from __future__ import annotations

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"


def ask_for_huge_pages() -> None:
    """Let torch ask Linux for huge pages, unless the user has decided already.

    The user decides by the variable `THP_MEM_ALLOC_ENABLE`.
    Torch reads the variable once, at its first allocation; after that this has no effect.
    """
    os.environ.setdefault(VARIABLE, "1")
