"""Files of others are what their makers published, say whose they are, and are in what is installed."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "admin_api/page/static"
LISTED = re.findall(
    r"^\| `([^`]+)` \| ([^|]+) \| ([\d.]+) \| ([^|]+) \| `(\w{64})` \|$", (FOLDER / "VENDORED.md").read_text(), re.M
)


@pytest.mark.parametrize(("file", "digest"), [(row[0], row[4]) for row in LISTED])
def test_it_is_what_was_published(file, digest):
    assert hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() == digest


def test_every_file_that_is_not_ours_is_listed():
    assert {path.name for path in FOLDER.glob("*.min.*")} == {row[0] for row in LISTED}


def test_each_has_its_licence_beside_it():
    text = (FOLDER / "VENDORED.md").read_text()
    for name in {row[1] for row in LISTED}:
        assert "Permission" in text.split(f"## {name}\n")[1][:2000] or "Redistribution" in text.split(f"## {name}\n")[1]


def test_it_is_not_served():
    from admin_api.page.framework.static import Static

    assert not any(name.endswith(".md") for name in Static()._files)


def test_everything_the_page_needs_is_in_the_wheel(tmp_path):
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    page = ROOT / "admin_api/page"
    wanted = {
        str(path.relative_to(ROOT))
        for kind in ("templates/**/*.html", "static/*", "words/*.toml")
        for path in page.glob(kind)
        if path.is_file()
    }
    assert len(wanted) > 20 and wanted <= names
