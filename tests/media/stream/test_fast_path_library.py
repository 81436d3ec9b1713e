"""The compiled fast path: there wherever there is a compiler, and only ever one of the source beside it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.stream import fast_path_library

ROOT = Path(__file__).parents[3]
_LOAD = """
import sys
from pathlib import Path
from media.stream import fast_path_library
fast_path_library.LIBRARY = Path(sys.argv[1])
sys.exit(fast_path_library.library() is not None)
"""


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Have the library looked for again, in this test and behind it."""
    fast_path_library.library.cache_clear()
    yield
    fast_path_library.library.cache_clear()


def test_where_there_is_a_compiler_the_fast_path_was_compiled() -> None:
    assert (fast_path_library.library() is not None) == (shutil.which("cc") is not None)


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF", bytes(4096)])
def test_a_file_that_is_no_library_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "_fast_path.so").write_bytes(content)
    monkeypatch.setattr(fast_path_library, "LIBRARY", tmp_path / "_fast_path.so")
    assert fast_path_library.library() is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_part_of_a_library_is_none(tmp_path: Path, share: float) -> None:
    """As a full disk or a power cut leaves it; in a process of its own, because a loader that takes it is killed."""
    if fast_path_library.library() is None:
        pytest.skip("no C compiler")
    content = fast_path_library.LIBRARY.read_bytes()
    (tmp_path / "_fast_path.so").write_bytes(content[: int(share * len(content))])
    done = subprocess.run([sys.executable, "-c", _LOAD, str(tmp_path / "_fast_path.so")], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_a_library_of_another_source_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As when the files were upgraded without an installation."""
    (tmp_path / "fast_path.c").write_bytes(fast_path_library.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(fast_path_library, "SOURCE", tmp_path / "fast_path.c")
    assert fast_path_library.library() is None
