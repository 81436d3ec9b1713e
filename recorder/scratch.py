"""Folders for what must lie in the clear for a moment: on tmpfs, private, gone afterwards also if we were killed."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recorder.errors import NotPossible
from recorder.folders import SHARED_MEMORY, in_memory


class Scratch:
    """Makes such folders for one daemon."""

    def __init__(self, runtime_dir: Path, others: Sequence[Path] = (SHARED_MEMORY,)) -> None:
        """Use the runtime directory if it is on tmpfs, as it should be, else the first of the others that is."""
        self._places = (runtime_dir, *others)
        self._prefix = f"recorder-{hashlib.sha256(str(runtime_dir.resolve()).encode()).hexdigest()[:12]}-"

    def sweep(self) -> None:
        """Remove what a killed process left; call it when no other process of this daemon runs."""
        for place in self._places:
            for left in place.glob(f"{self._prefix}*"):
                shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder that is removed with everything in it; raises NotPossible where there is no tmpfs."""
        place = next((each for each in self._places if in_memory(each)), None)
        if place is None:
            hint = "put [node] runtime_dir on tmpfs"
            raise NotPossible("Nothing may lie in the clear on a disk, and there is no tmpfs.", hint)
        made = Path(tempfile.mkdtemp(prefix=self._prefix, dir=place))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)
