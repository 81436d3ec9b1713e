"""The build hook: a wheel has the fast path in C where there is a compiler, and is Python alone where there is none."""

import shutil
import sys
import zlib
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from hatch_build import compile_fast_path

ROOT = Path(__file__).parents[1]

needed = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a project of one package with the source of the fast path."""
    (tmp_path / "media/stream").mkdir(parents=True)
    for name in ("media/stream/fast_path.c", "media/stream/__init__.py", "media/__init__.py", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".gitignore").write_text("/media/stream/_fast_path.so\n")
    hook = "[tool.hatch.build.targets.wheel]\npackages = ['media']\n[tool.hatch.build.targets.wheel.hooks.custom]\n"
    (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'trial'\nversion = '1'\n{hook}")
    return tmp_path


def wheel_of(tree: Path) -> tuple[str, set[str]]:
    """Build one; give its name and the files of it that belong to media/stream."""
    (built,) = WheelBuilder(str(tree)).build(directory=str(tree / "dist"), versions=["standard"])
    shutil.unpack_archive(built, tree / "unpacked", "zip")
    return Path(built).name, {path.name for path in (tree / "unpacked/media/stream").iterdir()}


@needed
def test_a_wheel_with_the_library_names_its_platform(tree: Path) -> None:
    name, files = wheel_of(tree)
    assert files == {"__init__.py", "fast_path.c", "_fast_path.so"}
    assert name.startswith("trial-1-py3-none-linux_")
    source = zlib.crc32((tree / "media/stream/fast_path.c").read_bytes())
    assert source.to_bytes(4, sys.byteorder) in (tree / "unpacked/media/stream/_fast_path.so").read_bytes()


@pytest.mark.parametrize("compiler", ["false", "/nowhere/cc"])
def test_without_a_compiler_the_wheel_is_pure_python(
    tree: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    (tree / "media/stream/_fast_path.so").write_bytes(b"of another source")
    monkeypatch.setenv("CC", compiler)
    name, files = wheel_of(tree)
    assert name.endswith("-none-any.whl") and files == {"__init__.py", "fast_path.c"}
    assert not (tree / "media/stream/_fast_path.so").exists()  # where an editable installation would find it


@needed
def test_a_compile_error_is_printed(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tree / "media/stream/fast_path.c").write_text("int fast_path_take(void) { return }")
    assert compile_fast_path(tree) is None
    assert "error" in capfd.readouterr().err


def test_a_compiler_that_fails_halfway_leaves_nothing_behind(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tree / "cc"
    compiler.write_text("#!/bin/sh\n: > media/stream/_fast_path.new\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.chdir(tree)
    monkeypatch.setenv("CC", str(compiler))
    assert compile_fast_path(tree) is None
    assert sorted(path.name for path in (tree / "media/stream").iterdir()) == ["__init__.py", "fast_path.c"]
