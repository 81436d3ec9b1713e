"""Show how far a long command is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Advance = Callable[[float], None]  # by how many units the work went on


@contextmanager
def progress(title: str, total: float | None, *, stream: TextIO | None = None) -> Iterator[Advance]:
    """Give a function that moves the bar on; `total` None if nobody knows how much there is.

    The bar goes to standard error, so that a command's output stays clean.
    """
    with _bar(title, total, stream) as shown:
        yield _nothing if shown is None else lambda units: shown.bar.advance(shown.task, units)


@contextmanager
def watched(title: str, *, stream: TextIO | None = None) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how far the work is, and of how much, 0 while nobody knows."""
    with _bar(title, None, stream) as shown:

        def told(done: int, of: int) -> None:
            if shown is not None:
                shown.bar.update(shown.task, completed=done, total=of or None)

        yield told


class _Shown(NamedTuple):
    bar: Progress
    task: TaskID


@contextmanager
def _bar(title: str, total: float | None, stream: TextIO | None) -> Iterator[_Shown | None]:
    """Show a bar on a terminal; gives None where there is none."""
    place = stream or sys.stderr
    if not place.isatty():
        yield None
        return
    from rich.console import Console  # 0.1 s of import that a pipe need not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=place), transient=True) as bar:
        yield _Shown(bar, bar.add_task(title, total=total))


def _nothing(units: float) -> None:
    """Take a step nobody watches."""
