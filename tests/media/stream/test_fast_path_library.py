"""The compiled fast path: there wherever there is a compiler, and only ever one of the sources beside it."""

import shutil

import pytest

from media.stream import fast_path_library


@pytest.fixture(autouse=True)
def anew():
    """Have the module looked for again, in this test and after it."""
    fast_path_library.library.cache_clear()
    yield
    fast_path_library.library.cache_clear()


def test_where_there_is_a_compiler_the_fast_path_was_compiled():
    assert (fast_path_library.library() is not None) == (shutil.which("cc") is not None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODULE", "media.stream._not_compiled"),
        ("SOURCES", fast_path_library.SOURCES[:1]),  # as when files were upgraded without an installation
        ("NUMBERS", (*fast_path_library.NUMBERS[:-1], 1)),
    ],
)
def test_a_missing_or_outdated_compiled_module_is_not_used(monkeypatch, name, value):
    monkeypatch.setattr(fast_path_library, name, value)
    assert fast_path_library.library() is None
