"""What a restore took from the log is accepted once, in the log; everything that is lost later is found again."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.audit.audit_files import AuditFiles
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import ACCEPT, Act, AuditError, Checkpoint, Loss

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VIEW = Act("alice", "listener", "call.view", "some call")
WHY = Act("cli:root", "operator", ACCEPT, reason="a disk failed")


class Node:
    """A folder with a log, and one with the keys, that are copied and put back apart from each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.keys = folder / "data", folder / "keys"
        self.told: list[Checkpoint] = []
        self._ticks = count()
        self.data.mkdir()
        self.keys.mkdir()

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=next(self._ticks))

    def open(self) -> Audit:
        return Audit(self.data, self.keys, "acme", KEY, self.now)

    def write(self, entries: int, checkpoint: bool = True) -> None:
        """Write entries, each in a process of its own, and a checkpoint that a witness gets."""
        for _ in range(entries):
            audit = self.open()
            audit.append(VIEW).result()
            if checkpoint and (mark := audit.checkpoint()):
                self.told.append(mark)
            audit.close()

    def copy(self, *names: str) -> Callable[[], None]:
        """Copy folders; return what puts them back."""
        copy = self.folder / f"copy-{next(self._ticks)}"
        for name in names:
            shutil.copytree(self.folder / name, copy / name)

        def back() -> None:
            for name in names:
                shutil.rmtree(self.folder / name)
                shutil.copytree(copy / name, self.folder / name)

        return back

    def accept(self, told: bool = False) -> int | None:
        audit = self.open()
        try:
            return audit.accept(WHY, self.told if told else ())
        finally:
            audit.close()

    def good(self, told: bool = False) -> bool:
        files = AuditFiles(self.data, self.keys, "acme")
        return files.verify(KEY.public_key(), self.told if told else ()).good


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def rolled_back(node: Node, kept: int = 5, lost: int = 4) -> None:
    node.write(kept)
    back = node.copy("data")
    node.write(lost)
    back()
    assert not node.good()


def test_an_accepted_rollback_is_good_and_stays_so(node: Node) -> None:
    rolled_back(node)
    assert node.accept() == 7  # entry 6 says that the log was broken
    assert node.good() and node.good(told=True)
    node.write(20)  # past the numbers of the lost entries
    assert node.good() and node.good(told=True)
    (accepted,) = AuditFiles(node.data, node.keys, "acme").accepted(KEY.public_key())
    assert (accepted.entry, accepted.reason, accepted.loss.first, accepted.loss.last) == (7, "a disk failed", 6, 9)


def test_a_log_that_went_on_before_anybody_accepted(node: Node) -> None:
    rolled_back(node)
    node.write(10)
    assert not node.good()
    assert node.accept() == 17
    assert node.good() and node.good(told=True)


def test_a_restore_is_noted_as_broken_once(node: Node) -> None:
    """Every process used to note it again until the log was as long as before, and no checkpoint was sent meanwhile."""
    rolled_back(node)
    told = len(node.told)
    node.write(3)
    assert (node.data / "audit.jsonl").read_bytes().count(b'"audit.broken"') == 1
    assert [mark.head.n for mark in node.told[told:]] == [7, 8, 9]


@pytest.mark.parametrize("before", ["accepted", "lost"])
def test_a_later_rollback_is_found_again(node: Node, before: str) -> None:
    rolled_back(node, lost=20)  # so what is lost later has numbers that were lost before
    back = node.copy("data") if before == "accepted" else lambda: None
    node.accept()
    if before == "lost":
        back = node.copy("data")
    node.write(3, checkpoint=False)  # so only the entries are lost
    assert node.good()
    back()
    assert not node.good()
    assert node.accept() is not None
    assert node.good() and node.good(told=True)


def test_nothing_is_accepted_where_nothing_is_lost(node: Node) -> None:
    node.write(3)
    before = (node.data / "audit.jsonl").read_bytes()
    assert node.accept() is None
    assert (node.data / "audit.jsonl").read_bytes() == before


def test_an_accepted_rollback_cannot_be_accepted_again(node: Node) -> None:
    rolled_back(node)
    assert node.accept() is not None and node.accept() is None


def test_a_log_that_was_lost_whole_is_accepted(node: Node) -> None:
    node.write(5)
    (node.data / "audit.jsonl").unlink()
    assert node.accept() == 2
    assert node.good() and node.good(told=True)


def test_only_checkpoints_beside_the_log_are_lost(node: Node) -> None:
    node.write(4, checkpoint=False)
    back = node.copy("data")
    audit = node.open()
    audit.checkpoint()
    audit.close()
    back()
    assert not node.good()
    assert node.accept() == 5
    assert node.good()
    node.write(2)
    assert node.good()


def test_a_rewritten_log_is_not_accepted(node: Node) -> None:
    """Whoever rewrites entries and hashes them anew has lost nothing."""
    node.write(5)
    (node.folder / "twin").mkdir()
    twin = Node(node.folder / "twin")
    twin.now()  # so every time in it is another
    twin.write(6)
    shutil.copy(twin.data / "audit.jsonl", node.data / "audit.jsonl")
    with pytest.raises(AuditError, match="rewritten"):
        node.accept()
    assert not node.good()


@pytest.mark.parametrize("damage", [b"bob", b""])
def test_an_edited_or_shortened_line_is_not_accepted(node: Node, damage: bytes) -> None:
    rolled_back(node)
    log = node.data / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"alice", damage, 1))
    with pytest.raises(AuditError):
        node.accept()
    assert not node.good()


def test_a_forged_checkpoint_beside_the_log_is_not_accepted(node: Node) -> None:
    rolled_back(node)
    forged = Checkpoint.sign(OTHER, "acme", node.told[-1].head, node.now())
    with (node.data / "audit.checkpoints").open("ab") as file:
        file.write(bytes(forged))
    with pytest.raises(AuditError, match="not signed"):
        node.accept()


def test_nobody_without_the_key_can_accept(node: Node) -> None:
    rolled_back(node)
    loss = Loss(6, 9, node.told[-1].head.hash, node.told[-1].at, 9)
    for text in (loss.signed(OTHER, "acme"), loss.signed(KEY, "zeta"), "first=6 last=9", "", "a b=c"):
        assert Loss.parse(text, KEY.public_key(), "acme") is None
        audit = node.open()
        audit.append(Act("mallory", "operator", ACCEPT, text)).result()
        audit.close()
    assert not node.good()
    assert Loss.parse(loss.signed(KEY, "acme"), KEY.public_key(), "acme") == loss
    changed = loss.signed(KEY, "acme").replace("last=9", "last=90")
    assert Loss.parse(changed, KEY.public_key(), "acme") is None


def test_an_old_acceptance_hides_no_later_loss(node: Node) -> None:
    """Its line, appended again by somebody who can write the log, covers what it did and no more."""
    rolled_back(node)
    node.accept()
    text = str(next(AuditFiles(node.data, node.keys, "acme").accepted(KEY.public_key())).loss.signed(KEY, "acme"))
    back = node.copy("data")
    node.write(3)
    back()
    audit = node.open()
    audit.append(Act("mallory", "operator", ACCEPT, text)).result()
    audit.close()
    assert not node.good()


def test_a_snapshot_of_the_machine_is_found_by_a_witness_alone(node: Node) -> None:
    """Log and keys are rolled back together, so they fit each other."""
    node.write(5)
    back = node.copy("data", "keys")
    node.write(4)
    back()
    node.write(1)
    assert node.good() and not node.good(told=True)
    assert node.accept() is None, "nobody here knows"
    assert node.accept(told=True) is not None
    assert node.good() and node.good(told=True)
    node.write(10)
    assert node.good(told=True)


def test_a_witness_that_somebody_forged_is_not_accepted(node: Node) -> None:
    rolled_back(node)
    node.told.append(Checkpoint.sign(OTHER, "acme", node.told[-1].head, node.now()))
    with pytest.raises(AuditError, match="not signed"):
        node.accept(told=True)


def test_a_recorder_that_runs_meanwhile_goes_on(node: Node) -> None:
    """It has the end of the log and the count of checkpoints in memory."""
    node.write(5)
    back = node.copy("data")
    node.write(4)
    back()
    daemon = node.open()
    for _ in range(2):
        daemon.append(VIEW).result()
        daemon.checkpoint()
    assert not node.good()
    assert node.accept() == 9
    assert node.good()
    for _ in range(3):
        daemon.append(VIEW).result()
        daemon.checkpoint()
    daemon.close()
    assert node.good()
