"""Files of others are what their makers published, and say whose they are."""

import hashlib
import re
from pathlib import Path

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
