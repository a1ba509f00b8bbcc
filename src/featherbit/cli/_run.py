"""`featherbit run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from ._show import console, table

_MOST_ROWS = 40


def run(
    file: Annotated[Path, typer.Argument(help="A packed network.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, .npy or IDX files, raw or gzip.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all results as JSON.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="How many threads.")] = 1,
    isa: Annotated[str | None, typer.Option(help="Instruction set, see `featherbit kernels`.")] = None,
    resize: Annotated[bool, typer.Option("--resize", help="Resize pictures to what the network takes.")] = False,
    invert: Annotated[
        bool, typer.Option("--invert", help="Turn dark-on-light pictures into light-on-dark, as MNIST is.")
    ] = False,
) -> None:
    """Classify images with a packed network."""
    from ..runtime import Session
    from ._images import Wanted, read_images

    session = Session(file, isa=isa, threads=threads)
    wanted = Wanted(tuple(session.input_shape), str(session.input_dtype), resize=resize, invert=invert)
    results: list[dict[str, Any]] = []
    for path in images:
        results += _results(str(path), session.run(read_images(path, wanted)))
    if as_json:
        typer.echo(json.dumps(results))
        return
    columns = ("file", "index", "class", "score", "margin")
    rows = [[f"{r[c]:.4f}" if c in ("score", "margin") else r[c] for c in columns] for r in results[:_MOST_ROWS]]
    console().print(table("", ["file", ">index", ">class", ">score", ">margin"], rows))
    if len(results) > _MOST_ROWS:
        console().print(f"and {len(results) - _MOST_ROWS:,} more; --json prints all of them")


def _results(file: str, scores: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return one record per row of scores `[N, classes]`; the margin is the distance to the second-best score."""
    best = np.argmax(scores, axis=1)
    # A network of one output has no second-best score.
    ranked = np.sort(scores, axis=1)
    margins = ranked[:, -1] - ranked[:, -2] if scores.shape[1] > 1 else np.zeros(len(scores), dtype=np.float32)
    return [
        {
            "file": file,
            "index": index,
            "class": int(winner),
            "score": float(row[winner]),
            "margin": float(margin),
            "scores": [float(score) for score in row],
        }
        for index, (winner, row, margin) in enumerate(zip(best, scores, margins, strict=True))
    ]
