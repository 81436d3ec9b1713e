"""Show how far a long command is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

Advance = Callable[[float], None]  # by how many units the work went on


@contextmanager
def progress(title: str, total: float | None, *, stream: TextIO | None = None) -> Iterator[Advance]:
    """Give a function that moves the bar on; `total` None if nobody knows how much there is.

    The bar goes to standard error, so that a command's output stays clean.
    """
    place = stream or sys.stderr
    if not place.isatty():
        yield _nothing
        return
    from rich.console import Console  # 0.1 s of import that a pipe need not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=place), transient=True) as shown:
        bar = shown.add_task(title, total=total)

        def advance(units: float) -> None:
            shown.advance(bar, units)

        yield advance


@contextmanager
def watched(title: str, *, stream: TextIO | None = None) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how far the work is, and of how much, 0 while nobody knows."""
    with progress(title, None, stream=stream) as advance:
        before = 0

        def shown(done: int, of: int) -> None:
            nonlocal before
            advance(done - before)
            before = done

        yield shown


def _nothing(units: float) -> None:
    """Take a step nobody watches."""
