"""What documents say of the source is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
DOCUMENTS = [HERE / "ARCHITECTURE.md", HERE / "CONTRIBUTING.md", *sorted((HERE / "docs").rglob("*.md"))]
FILE = re.compile(r"(?<![\w./-])(?:recorder|sip|media|storage|admin_api|tests|bench)/[\w./-]*\.(?:py|c|toml|md|html)\b")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HERE)))
def test_files_that_a_document_names_exist(document: Path) -> None:
    named = {path for path in FILE.findall(document.read_text(encoding="utf-8")) if "NAME" not in path}
    assert sorted(path for path in named if not (HERE / path).is_file()) == []
