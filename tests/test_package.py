"""Results of `make package`: a source archive, and a wheel with the fast path in C if there is a compiler."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.system
needed = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    words = ["egg_info", "--egg-base", folder, "sdist", "--dist-dir", folder]
    subprocess.run([sys.executable, "setup.py", "--quiet", *words], cwd=ROOT, check=True)
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture
def tree(archive, tmp_path):
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    (found,) = tmp_path.iterdir()
    return found


def build(tree):
    """Build a wheel; return the finished process, and the wheel if there is one."""
    words = [
        "wheel",
        "--verbose",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        tree / "made",
        tree,
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    return done, next(iter((tree / "made").glob("*.whl")), None)


@needed
def test_one_wheel_serves_every_python_on_any_linux(tree, archive):
    done, wheel = build(tree)
    assert wheel is not None, done.stdout + done.stderr
    assert wheel.name.split("-", 2)[2].startswith("cp311-abi3-linux_")
    shown = subprocess.run([BIN / "auditwheel", "show", wheel], capture_output=True, text=True, check=True).stdout
    assert '"manylinux_2_' in shown
    subprocess.run([BIN / "twine", "check", "--strict", wheel, archive], capture_output=True, check=True)
    names = set(zipfile.ZipFile(wheel).namelist())
    page = ROOT / "admin_api/page"
    kinds = ("templates/**/*.html", "static/*", "translations/*")
    wanted = {str(path.relative_to(ROOT)) for kind in kinds for path in page.glob(kind) if path.is_file()}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "storage").rglob("*.py")}
    assert len(wanted) > 100 and wanted | {"media/stream/_fast_path.abi3.so"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "setup"))]


def test_without_a_compiler_the_wheel_is_pure_python_and_warns(tree, monkeypatch):
    monkeypatch.setenv("CC", "/nowhere/cc")
    done, wheel = build(tree)
    assert wheel is not None and wheel.name.endswith("-py3-none-any.whl")
    assert "NO C COMPILER" in done.stdout + done.stderr


@needed
def test_an_error_in_the_c_source_ends_the_build(tree):
    source = tree / "media/stream/fast_path.c"
    source.write_text(source.read_text().replace("return STORED;", "return STORED"))
    done, wheel = build(tree)
    assert done.returncode != 0 and wheel is None
    assert "media/stream/fast_path.c:" in done.stdout + done.stderr
