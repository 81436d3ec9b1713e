"""Many parts are ended together, and one that cannot be does not stop the others."""

import contextlib
import os
from pathlib import Path

import pytest

from storage.errors import Forged, PartMissing, StorageError
from storage.vault.container import Sealer, new_part
from storage.vault.parts import PartRef
from storage.vault.repair import MAX_OPEN, Repair, after, run
from storage.vault.torn_tail import Outcome

SEGMENT = 64
KEY, AAD = bytes(32), b"aad"


def part(folder: Path, number: int, data: bytes) -> Repair:
    path = folder / str(number)
    path.write_bytes(data)
    ref = PartRef("call", number, "m1", path)
    return Repair(ref, path, SEGMENT, lambda: (KEY, AAD), lambda: new_part(KEY, AAD, SEGMENT, os.urandom), None)


def torn(plain: bytes) -> bytes:
    header, secret = new_part(KEY, AAD, SEGMENT, os.urandom)
    return header + Sealer(secret).add(plain) + b"torn"


def left_open(folder: Path) -> list[str]:
    """Name the files of a folder that this process has open; what others of it open and close is passed over."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [name for name in found if name.startswith(f"{folder}/")]


def test_more_parts_than_descriptors_are_all_ended(tmp_path: Path) -> None:
    count = 2 * MAX_OPEN + 3
    done = dict(run(part(tmp_path, number, torn(bytes(200))) for number in range(count)))
    assert len(done) == count
    assert {result.outcome for result in done.values() if not isinstance(result, StorageError)} == {Outcome.ENDED}
    assert left_open(tmp_path) == []


def test_one_that_cannot_be_ended_has_its_error(tmp_path: Path) -> None:
    forged = torn(bytes(200))[:40] + os.urandom(300)
    gone = part(tmp_path, 3, b"")
    (tmp_path / "3").unlink()
    done = dict(run(iter([part(tmp_path, 1, torn(bytes(200))), part(tmp_path, 2, forged), gone])))
    by_leaf = {ref.leaf: result for ref, result in done.items()}
    assert isinstance(by_leaf[2], Forged)
    assert (tmp_path / "2").read_bytes() == forged
    assert isinstance(by_leaf[3], StorageError)
    assert not isinstance(by_leaf[1], StorageError)


def test_a_torn_header_becomes_an_empty_part(tmp_path: Path) -> None:
    data = torn(bytes(200))
    for number, left in enumerate((b"", data[:1], data[:39], data[:50], bytes(40), bytes(64))):
        ((_, result),) = run(iter([part(tmp_path, number, left)]))
        assert not isinstance(result, StorageError)
        assert (result.outcome, result.size) == (Outcome.EMPTY, 56)
        assert (tmp_path / str(number)).stat().st_size == 56
        assert (tmp_path / str(number)).read_bytes()[1:40] != data[1:40]


def test_a_damaged_header_is_not_wiped(tmp_path: Path) -> None:
    data = b"\x29" + torn(bytes(200))[1:]
    ((_, result),) = run(iter([part(tmp_path, 1, data)]))
    assert isinstance(result, Forged)
    assert (tmp_path / "1").read_bytes() == data


def test_an_error_is_raised_when_it_is_asked_for() -> None:
    ref = PartRef("call", 1, "m1", Path("x"))
    with pytest.raises(PartMissing):
        after({ref: PartMissing("gone")}, ref)
