"""A document is replaced by one change at a time: as a file, or in the database of several nodes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from storage.access.documents import Document, FileDocument, Replacement
from storage.errors import StorageError

Documents = Callable[[], AbstractAsyncContextManager[tuple[Document, Document]]]


@pytest.fixture(params=["file", pytest.param("database", marks=pytest.mark.system)])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Documents:
    """Give two that are the same: of two processes, or of two nodes."""
    if request.param == "file":
        return lambda: nullcontext(
            (FileDocument(tmp_path, "tokens.json", "tokens"), FileDocument(tmp_path, "tokens.json", "tokens"))
        )
    one, other = request.getfixturevalue("two")

    @asynccontextmanager
    async def shared() -> AsyncIterator[tuple[Document, Document]]:
        async with one.opened() as first, other.opened() as second:
            assert first.shared
            assert second.shared
            yield first.shared.documents.tokens, second.shared.documents.tokens

    return shared


def appended(data: bytes | None, word: bytes) -> Replacement:
    """Add a word to a list in JSON."""
    return Replacement(b'{"words": "' + (b"" if data is None else data[11:-2]) + word + b'"}')


async def test_no_change_of_two_is_lost(documents: Documents) -> None:
    async with documents() as (first, second):
        assert first.read() is None
        assert first.signature() is None
        changes = [each.changing(lambda data: appended(data, b"x")) for each in (first, second) * 10]
        await asyncio.gather(*changes)
        before = first.signature()
        await asyncio.to_thread(first.change, lambda data: appended(data, b"y"))
        assert first.read() == b'{"words": "' + 20 * b"x" + b'y"}'
        assert first.signature() != before
        seen: list[bytes | None] = []
        await second.changing(lambda data: seen.append(data))
        assert seen == [first.read()]


async def test_a_change_that_fails_changes_nothing(documents: Documents) -> None:
    def fail(data: bytes | None) -> Replacement:
        raise StorageError("no")

    async with documents() as (first, second):
        await first.changing(lambda data: appended(data, b"x"))
        for each in (first, second):
            with pytest.raises(StorageError, match="no"):
                await each.changing(fail)
        await second.changing(lambda data: appended(data, b"y"))
        assert second.read() == b'{"words": "xy"}'
