"""Small texts in the Penn Treebank's three files, made up, for tests of whatever reads or trains on them."""

from __future__ import annotations

import random
from pathlib import Path

FOLLOWERS = {
    "the": ("cat", "dog"),
    "cat": ("sat", "ran"),
    "dog": ("ran", "slept"),
    "sat": ("on",),
    "on": ("the",),
    "ran": ("home", "\n"),
    "slept": ("\n",),
    "home": ("\n",),
    "\n": ("the", "N"),
    "N": ("cat",),
}
"""A grammar of ten words; a line's end is one."""


def tiny_text(words: int, *, seed: int = 0) -> str:
    """Return a text of so many words and line ends, each drawn from the followers of the one before."""
    chance = random.Random(seed)
    chosen = ["\n"]
    while len(chosen) <= words or chosen[-1] != "\n":
        chosen.append(chance.choice(FOLLOWERS[chosen[-1]]))
    return " ".join(chosen[1:]).replace(" \n ", "\n").replace(" \n", "\n")


def write_treebank(folder: Path, *, train: int = 3000, held_out: int = 300) -> Path:
    """Write `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt` of about so many words."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, words) in enumerate((("train", train), ("valid", held_out), ("test", held_out))):
        lines = tiny_text(words, seed=seed).splitlines()
        (folder / f"ptb.{part}.txt").write_text("".join(f" {line} \n" for line in lines), encoding="utf-8")
    return folder
