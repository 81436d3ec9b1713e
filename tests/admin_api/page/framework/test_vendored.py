"""Files of others are what their makers published, say whose they are, and are in what is installed."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[4]
FOLDER = ROOT / "admin_api/page/static"
LISTED = re.findall(
    r"^\| `([^`]+)` \| ([^|]+) \| ([\d.]+) \| ([^|]+) \| `(\w{64})` \|$", (FOLDER / "VENDORED.md").read_text(), re.M
)


def test_files_of_others_are_as_published_with_their_licences():
    assert {path.name for path in FOLDER.glob("*.min.*")} == {row[0] for row in LISTED}
    text = (FOLDER / "VENDORED.md").read_text()
    for file, name, _, _, digest in LISTED:
        assert hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() == digest, file
        licence = text.split(f"## {name}\n")[1]
        assert "Permission" in licence[:2000] or "Redistribution" in licence


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
