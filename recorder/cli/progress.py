"""Show the progress of a long command: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Advance = Callable[[float], None]  # called with the units done since the last call


@contextmanager
def progress(title: str, total: float | None, *, stream: TextIO | None = None) -> Iterator[Advance]:
    """Yield a function that advances the bar; `total` is None if the amount of work is unknown.

    The bar goes to standard error, so that a command's output stays clean.
    """
    with _bar(title, total, stream) as shown:
        yield _nothing if shown is None else lambda units: shown.bar.advance(shown.task, units)


@contextmanager
def watched(title: str, *, stream: TextIO | None = None) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with the amount done and the total, 0 while that is unknown."""
    with _bar(title, None, stream) as shown:

        def advance(done: int, of: int) -> None:
            if shown is not None:
                shown.bar.update(shown.task, completed=done, total=of or None)

        yield advance


class _Shown(NamedTuple):
    bar: Progress
    task: TaskID


@contextmanager
def _bar(title: str, total: float | None, stream: TextIO | None) -> Iterator[_Shown | None]:
    """Show a bar on a terminal; yields None if there is none."""
    place = stream or sys.stderr
    if not place.isatty():
        yield None
        return
    from rich.console import Console  # takes 0.1 s to import, which a pipe does not need
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=place), transient=True) as bar:
        yield _Shown(bar, bar.add_task(title, total=total))


def _nothing(units: float) -> None:
    """Do nothing: there is no bar."""
