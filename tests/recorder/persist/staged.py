"""Tests that run beside a whole node."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.in_process.recorder_node import stage
from tests.in_process.worker_call import run


def staged(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine function whose first argument, `one`, is a node in a folder of its own."""

    async def story(tmp_path: Path, more: dict[str, Any]) -> None:
        async with stage(tmp_path) as one:
            await test(one, **more)

    @functools.wraps(test)
    def wrapped(tmp_path: Path, **more: Any) -> None:
        run(story(tmp_path, more))

    _, *others = inspect.signature(test).parameters.values()
    place = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    wrapped.__signature__ = inspect.Signature([place, *others])  # type: ignore[attr-defined]  # read by pytest
    return wrapped
