"""Which formats a data directory holds: what is written down, and what an older program says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from recorder.persist import checkpoint_file
from recorder.persist.data_formats import FORMATS, NAME, DataFormats, note_ours, read
from recorder.runtime.version import VERSION

PAGES = Path(__file__).parents[3] / "docs/formats"
ELSEWHERE = {"export", "subject-report", "backup", "cuts"}
"""What people are given, lies in a backup, or is not written yet."""


def test_the_table_says_what_the_pages_say() -> None:
    titles = {page.stem: page.read_text().partition("\n")[0] for page in PAGES.glob("*.md")}
    ours = {name: title for name, title in titles.items() if name not in ELSEWHERE}
    versions = {name: re.findall(r"versions? (?:1 and )?(\d+)", title) for name, title in ours.items()}
    assert {name: int(found[0]) for name, found in versions.items()} == FORMATS
    assert versions["records"] == ["1", str(checkpoint_file.VERSION)]


def test_numbers_are_raised_and_never_lowered(tmp_path: Path) -> None:
    note_ours(tmp_path)
    assert read(tmp_path) == DataFormats(VERSION, FORMATS)
    assert read(tmp_path).newer() == {}
    theirs = {**FORMATS, "journal": 99, "invented": 1}
    (tmp_path / NAME).write_text(json.dumps({"version": "9.0.0", "formats": theirs}))
    note_ours(tmp_path)
    assert read(tmp_path) == DataFormats("9.0.0", theirs)
    assert read(tmp_path).newer() == {"journal": 99, "invented": 1}
    (tmp_path / NAME).write_text(json.dumps({"version": "0.0.1", "formats": {"journal": 1, "invented": 1}}))
    note_ours(tmp_path)
    assert read(tmp_path) == DataFormats(VERSION, {**FORMATS, "invented": 1})


@pytest.mark.parametrize("damage", [b"", b"[]", b"null", b'{"formats": 5, "version": ""}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_says_nothing_and_is_replaced(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / NAME).write_bytes(damage)
    assert read(tmp_path) == DataFormats("", {})
    note_ours(tmp_path)
    assert read(tmp_path).numbers == FORMATS


def test_a_disk_that_takes_nothing_stops_no_start(tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").mkdir()
    note_ours(tmp_path)
    assert read(tmp_path) == DataFormats("", {})
