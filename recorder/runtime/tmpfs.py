"""What a version before this one left in the clear in memory when it was killed while it made an export."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from recorder.runtime.folders import SHARED_MEMORY


def sweep(runtime_dir: Path, others: Sequence[Path] = (SHARED_MEMORY,)) -> None:
    """Remove its folders of rows; this version writes rows to no file that has a name."""
    prefix = f"recorder-{hashlib.sha256(str(runtime_dir.resolve()).encode()).hexdigest()[:12]}-"
    for place in (runtime_dir, *others):
        for left in place.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
