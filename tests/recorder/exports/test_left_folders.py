"""What an earlier version left in the clear in memory is swept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from recorder.exports.export_job import remove_left_folders


def test_only_folders_of_a_killed_older_process_are_swept(tmp_path: Path) -> None:
    run, other, shared = tmp_path / "run", tmp_path / "other", tmp_path / "shared"
    for place in (run, shared):
        for whose in (run, other):
            folder = place / f"recorder-{hashlib.sha256(str(whose).encode()).hexdigest()[:12]}-abc"
            folder.mkdir(parents=True)
            (folder / "rows").write_text("Mira Okafor")
    remove_left_folders(run, (shared,))
    left = list(tmp_path.rglob("rows"))
    assert len(left) == 2
    assert all(hashlib.sha256(str(other).encode()).hexdigest()[:12] in str(path) for path in left)
