"""The keys of one customer: derive, seal, number, cut (docs/formats/keytree.md).

Files in `keys/` (all 0600, made by `create`, and overwritten in place, so that cuts work on a full disk):

    NAME.forget, NAME.forget.new     the forget secret, twice outside a cut
    NAME.tree.0, NAME.tree.1         the sealed tree; the newest that opens counts
    NAME.leaves                      the counter of recordings
    NAME.erasures                    the cut log (storage.keys.cut_log): a line for every cut
    NAME.lock                        flock of the process that cuts

A cut has four steps: 1. append its line to `.erasures`; 2. write a new secret to `.forget.new`; 3. write the tree,
sealed under the new secret, to the older slot, which makes the new state valid; 4. write the new secret to `.forget`,
which destroys the old one. Each step is durable before the next begins, and `settle` finishes a cut that a crash
interrupted. `tree.state` beside the vault is a copy for disaster recovery. It also shows when the keys are older than
the data; such keys are refused, because they could read what was erased later. Restored older keys are brought up to
date from the lines of `.erasures`.

Only cuts and the allocation of numbers write. A cut by another process is noticed at the next use (one `stat`).
"""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict, Unpack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.cuts.lines import Kind, Numbered
from storage.errors import Forgotten, KeysError, KeysExist, KeysMissing, KeysWrong, NoSpace, SealBroken
from storage.files.durable_files import Disk, alone, denied
from storage.keys.cut_log import Entry, Ledger, entry_of
from storage.keys.key_files import (
    SECRET,
    ForgetSecret,
    KeyState,
    check_age,
    choose,
    is_forget,
    pack_forget,
    seal_tree,
    trim,
)
from storage.keys.key_tree import DAY_BITS, KeyTree, label
from storage.keys.leaf_counter import Leaves, create_leaves
from storage.keys.root_secret import RootSecret

__all__ = ["CustomerKeys", "RootSecret"]

NONCE = 12
SLOT_STEP = 64 << 10  # slots grow in such steps, with half a step to spare: about 25 scattered erasures on a full disk
READ_TRIES = 8  # a read during a cut is repeated; eight cuts never happen during one read
MAX_SKIPPED = 64 << 10  # most numbers to skip: those allocated and erased after the restored backup was made


class KeyOptions(TypedDict, total=False):
    """Resources of the keys; each member is optional."""

    node: int
    # number of the node, part of every recording number
    disk: Disk | None
    # how files are written
    random: Callable[[int], bytes]
    # source of secrets
    now: Callable[[], datetime]
    # the wall clock, for lines of the cut log


class CustomerKeys:
    """The keys of one customer; safe between threads and processes."""

    def __init__(
        self, keys_dir: Path, customer_dir: Path, customer: str, root: RootSecret, **means: Unpack[KeyOptions]
    ) -> None:
        """Set up the object; call `open` or `create` instead."""
        self.customer = customer
        self._root = root.secret
        self._disk = means.get("disk") or Disk()
        self._random = means.get("random", os.urandom)
        self._clock = means.get("now", _wall_clock)
        self._ledger = Ledger(keys_dir, customer)
        self._files = KeyFiles(keys_dir, customer_dir, customer)
        self._seen = (0, 0)
        self._state = self._load()
        #: Number of the node, part of every leaf that it allocates.
        self.node = means.get("node", 0)
        self._shared = False
        self._leaves = Leaves(self._files.leaves, self.node, self._disk)

    @classmethod
    def open(
        cls, keys_dir: Path, customer_dir: Path, customer: str, root: RootSecret, **means: Unpack[KeyOptions]
    ) -> "CustomerKeys":
        """Open existing keys without writing anything; raise KeysError with a hint if they cannot be used."""
        return cls(keys_dir, customer_dir, customer, root, **means)

    @classmethod
    def create(
        cls, keys_dir: Path, customer_dir: Path, customer: str, root: RootSecret, **means: Unpack[KeyOptions]
    ) -> "CustomerKeys":
        """Create keys for a new customer; raise KeysExist if anything of this customer exists already."""
        disk, files = means.get("disk") or Disk(), KeyFiles(keys_dir, customer_dir, customer)
        disk.make_folder(keys_dir)
        with _locked(files.lock):
            if not files.fresh():
                hint = "restore its keys/ folder; new keys could not open its recordings"
                raise KeysExist(f"customer {customer} exists already", hint)
            disk.make_folder(customer_dir)
            _create(files, customer, root.secret, disk, means.get("random", os.urandom))
        return cls(keys_dir, customer_dir, customer, root, **means)

    # --- use ---------------------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Return the number of cuts so far, which grows with every change of the tree."""
        return self._now().forget.generation

    @property
    def nodes(self) -> int:
        """Return the number of nodes of the tree, for statistics; each takes 39 bytes."""
        return self._now().tree.nodes

    def keeps(self, leaf: int) -> bool:
        """Return whether the leaf was not erased."""
        return self._now().tree.keeps(leaf)

    def secret(self, leaf: int, name: str) -> bytes:
        """Return the 32-byte key for one use ("media", "details", …) of a leaf; raise Forgotten if it was erased."""
        return label(self._now().tree.derive(leaf), name)

    def secrets(self, leaf: int, names: Iterable[str]) -> dict[str, bytes]:
        """Return `secret` for several uses of a leaf, with only one check for a cut by another process."""
        leaf_secret = self._now().tree.derive(leaf)
        return {name: label(leaf_secret, name) for name in names}

    def seal(self, leaf: int, name: str, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt a value for a leaf and label; `context` binds it to its place, and `unseal` needs the same."""
        nonce = self._random(NONCE)
        return nonce + AESGCM(self.secret(leaf, name)).encrypt(nonce, plaintext, context)

    def unseal(self, leaf: int, name: str, sealed: bytes, context: bytes) -> bytes:
        """Decrypt what `seal` returned; raise SealBroken if it was altered, Forgotten if the leaf was erased."""
        cipher = AESGCM(self.secret(leaf, name))
        try:
            return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], context)
        except (InvalidTag, ValueError):
            raise SealBroken("a sealed value is damaged or from another place") from None

    def allocate(self, day: int) -> int:
        """Return an unused leaf of the day; if the day was erased, one of the next day that was not.

        Writes to the disk once in 1,024 calls; call `refill` in a thread while `low` is true to avoid that wait.
        """
        tree = self._now().tree
        for _ in range(MAX_SKIPPED):
            leaf = self._leaves.take(day)
            if tree.keeps(leaf):
                return leaf
            if not tree.keeps_day(day):
                day = _next_day(tree, day)
        raise KeysError("no recording numbers of this day are left", "numbers are free again tomorrow")

    def low(self, day: int) -> bool:
        """Return whether `refill` should be called."""
        return self._leaves.low(day)

    def refill(self, day: int) -> None:
        """Reserve numbers in advance; waits for the disk."""
        self._leaves.refill(day)

    def skip(self, leaves: Iterable[int], spare: int = 0) -> None:
        """Never allocate these leaves again; call this after restoring keys, with every leaf of vault and journal.

        `spare`: number of further blocks to skip, for leaves that left no trace in either.
        """
        self._leaves.skip(leaves, spare)

    # --- forget ------------------------------------------------------------------------------------------------------

    def share(self) -> None:
        """From now on allow only cuts that all holders make (`follow`), because their trees must stay equal."""
        self._shared = True

    def cut(self, *leaves: int) -> bool:
        """Forget leaves for good in one durable cut, with a line of the cut log; return False if none was left."""
        return self.forget(Entry((), self._clock(), leaves))

    def cut_range(self, first: int, last: int) -> bool:
        """Forget the leaves `first` to `last`, both included, in one cut.

        This is the only cut without a line, because the cut log is deleted when a customer is removed.
        """
        with _locked(self._files.lock):
            self._settle()
            tree = self._state.tree.copy()
            if not tree.cut_range(first, last):
                return False
            self._replace(tree, self._root)
            return True

    def forget(self, entry: Entry) -> bool:
        """Write a line of the cut log, then forget its leaves and days for good; return False if none was left.

        Both are durable on return. If none was left, a line is written only for erasures, because it may have to
        replace their receipts. Raises NoSpace, DiskFailed; if the line cannot be written, nothing is cut.
        """
        if self._shared:
            raise KeysError("several nodes hold these keys, and only all of them cut", "report this: it is a bug")
        return self._cut([entry], self._ledger.append)

    def follow(self, each: Numbered) -> Entry:
        """Append a line of the table `cuts` to the cut log, then forget what it names, both durably; return its entry.

        Another process of this node may repeat this. Raises what `forget` raises, and LedgerDamaged.
        """
        entry = Entry((), self._clock(), ())
        if each.line.kind is Kind.CUT:
            entry = entry_of(each.line.text, self.customer)
        with _locked(self._files.lock):
            self._settle()
            self._ledger.follow(each, entry.at)
            self._forget(entry)
        return entry

    def state(self) -> bytes:
        """Return the serialised tree that is sealed; holders that have made the same cuts have the same tree."""
        return bytes(self._now().tree)

    def overwrite(self) -> None:
        """Destroy these keys for good after this holder was retired; afterwards nothing of the customer opens here."""
        with _locked(self._files.lock):
            for path in (*self._files.forgets, *self._files.slots, self._files.copy):
                if path.exists():
                    self._disk.overwrite(path, bytes(path.stat().st_size))
            self._state = replace(self._state, tree=KeyTree({}))
            self._seen = self._files.signature()

    def repeat(self, entries: Iterable[Entry]) -> bool:
        """Forget, in one cut, what these entries name; return False if these keys had already forgotten all of it."""
        return self._cut(entries, None)

    def prepare(self) -> None:
        """Reserve space for the next lines of the cut log, which must be written even on a full disk."""
        self._ledger.prepare()

    def settle(self) -> bool:
        """Finish an interrupted cut and renew the copy beside the vault; return False if nothing had to be done.

        Call this when the daemon starts. An erasure is done only after its cut is settled.
        """
        with _locked(self._files.lock):
            return self._settle()

    def rotate(self, root: RootSecret) -> None:
        """Move the keys to another root secret; state sealed under the old one is destroyed as in a cut."""
        with _locked(self._files.lock):
            self._settle()
            self._replace(self._state.tree, root.secret)

    def files(self) -> tuple[Path, ...]:
        """Return the files that a backup of the keys must contain."""
        return (*self._files.forgets, *self._files.slots, self._files.leaves)

    def snapshot(self) -> dict[str, bytes]:
        """Return the content of every file of a key backup, by name; no cut can happen meanwhile."""
        with _locked(self._files.lock):
            self._settle()
            return {path.name: self._disk.read(path) or b"" for path in self.files()}

    # --- inside ------------------------------------------------------------------------------------------------------

    def _now(self) -> KeyState:
        if self._files.signature() != self._seen:
            self._load()
        return self._state

    def _load(self) -> KeyState:
        """Read the newest state, again if another process cuts meanwhile."""
        for _ in range(READ_TRIES):
            seen = self._files.signature()
            try:
                self._state = self._files.read(self._disk, self._root)
            except KeysWrong:
                if seen == self._files.signature():
                    raise
                continue
            self._seen = seen
            return self._state
        raise KeysError(f"the keys of {self.customer} change too often to be read")

    def _cut(self, entries: Iterable[Entry], note: Callable[[Entry], None] | None) -> bool:
        """Cut what these entries name, after `note` has written their lines."""
        entries = list(entries)
        with _locked(self._files.lock):
            self._settle()
            tree = self._state.tree.copy()
            changes = [_apply(tree, entry) for entry in entries]
            if note is not None:
                for entry, changed in zip(entries, changes, strict=True):
                    if changed or entry.erasures:
                        note(entry)
            if not any(changes):
                return False
            self._replace(tree, self._root)
            return True

    def _forget(self, entry: Entry) -> None:
        """Cut what an entry names; the caller holds the lock and has settled the keys."""
        tree = self._state.tree.copy()
        if _apply(tree, entry):
            self._replace(tree, self._root)

    def _settle(self) -> bool:
        """Make the newest state the only one after an interrupted cut; the caller holds the lock."""
        state, files, disk = self._load(), self._files, self._disk
        changed = False
        if not all(state.fitting):
            if state.slot < len(files.slots):
                disk.settle(files.slots[state.slot])
            for fits, path in zip(state.fitting, files.forgets, strict=True):
                if not fits:
                    disk.reserve(path, 0)
                    disk.overwrite(path, pack_forget(self._root, self.customer, state.forget))
            changed = True
            self._load()
        return self._renew_copy() or changed

    def _replace(self, tree: KeyTree, root: bytes) -> None:
        """Make `tree` the state and destroy the secret of the earlier state; the caller holds the lock."""
        files, disk, before = self._files, self._disk, self._state
        forget = ForgetSecret(before.forget.generation + 1, self._random(SECRET))
        packed = pack_forget(root, self.customer, forget)
        sealed = seal_tree(root, self.customer, forget, tree, self._random(NONCE))
        slot = files.slots[1 if before.slot == 0 else 0]
        self._make_room(slot, len(sealed))
        disk.overwrite(files.forgets[1], packed)
        disk.overwrite(slot, sealed)
        disk.overwrite(files.forgets[0], packed)
        self._root = root
        self._load()
        self._renew_copy()

    def _make_room(self, slot: Path, needed: int) -> None:
        """Allocate space for a slot, with some to spare; fail only if the needed space itself is missing."""
        try:
            self._disk.reserve(slot, _slot_size(needed))
        except NoSpace:
            if not slot.exists() or slot.stat().st_size < needed:
                raise

    def _renew_copy(self) -> bool:
        """Write the newest sealed tree beside the vault; return False if it is there already or the disk is full."""
        sealed = self._sealed()
        if self._disk.read(self._files.copy) == sealed:
            return False
        try:
            self._disk.replace(self._files.copy, sealed)
        except NoSpace:
            return False  # the next `settle` tries again
        return True

    def _sealed(self) -> bytes:
        return self._files.sealed(self._disk, self._state.slot)


class KeyFiles:
    """The files that hold the keys of one customer."""

    def __init__(self, keys_dir: Path, customer_dir: Path, customer: str) -> None:
        self._customer = customer
        self._customer_dir = customer_dir
        self._watched = str(keys_dir / f"{customer}.forget")
        self.forgets = (keys_dir / f"{customer}.forget", keys_dir / f"{customer}.forget.new")
        self.slots = (keys_dir / f"{customer}.tree.0", keys_dir / f"{customer}.tree.1")
        self.leaves = keys_dir / f"{customer}.leaves"
        self.lock = keys_dir / f"{customer}.lock"
        self.copy = customer_dir / "tree.state"

    def fresh(self) -> bool:
        """Return whether new keys can make nothing unreadable.

        That is so if there is no forget secret, and no file in the folder of the customer. All other files in `keys/`
        come from a `create` that did not finish.
        """
        if any(path.exists() and is_forget(path.read_bytes()) for path in self.forgets):
            return False
        return not any(path.is_file() for path in self._customer_dir.rglob("*"))

    def signature(self) -> tuple[int, int]:
        """Return a value that changes with every cut, with one system call."""
        try:
            status = os.stat(self._watched)
        except PermissionError as error:
            said = f"the keys of {self._customer} cannot be read: {denied(Path(self._watched))}"
            raise KeysError(said, "run the command as its owner") from error
        except OSError as error:
            hint = "restore `keys/` of this installation; for a new customer run `recorder init`"
            raise KeysMissing(f"the forget secret of {self._customer} is not in keys/", hint) from error
        return status.st_ino, status.st_mtime_ns

    def read(self, disk: Disk, root: bytes) -> KeyState:
        """Return the newest state that opens."""
        forgets = [disk.read(path) for path in self.forgets]
        trees = [disk.read(path) for path in (*self.slots, self.copy)]
        state = choose(root, self._customer, forgets, trees)
        check_age(self._customer, state, trees[-1])
        return state

    def sealed(self, disk: Disk, slot: int) -> bytes:
        """Return the sealed tree of a slot, without the unused space after it."""
        return trim((disk.read((*self.slots, self.copy)[slot])) or b"")


def _create(files: KeyFiles, customer: str, root: bytes, disk: Disk, random: Callable[[int], bytes]) -> None:
    """Write all files, the forget secret last: before it exists nothing is sealed, so creation can be repeated."""
    forget = ForgetSecret(1, random(SECRET))
    packed = pack_forget(root, customer, forget)
    sealed = seal_tree(root, customer, forget, KeyTree.new(random(SECRET)), random(NONCE))
    create_leaves(files.leaves, disk)
    for slot in files.slots:
        disk.reserve(slot, _slot_size(len(sealed)))
    disk.overwrite(files.slots[0], sealed)
    for path in reversed(files.forgets):
        disk.reserve(path, len(packed))
    disk.overwrite(files.forgets[0], packed)
    disk.overwrite(files.forgets[1], packed)
    disk.replace(files.copy, sealed)


def _apply(tree: KeyTree, entry: Entry) -> bool:
    """Cut what an entry names; return False if all of it was cut already."""
    return any([*(tree.cut_day(day) for day in entry.days), *(tree.cut(leaf) for leaf in entry.leaves)])


def _wall_clock() -> datetime:
    return datetime.now(UTC)


def _slot_size(sealed: int) -> int:
    return ((sealed + SLOT_STEP // 2) // SLOT_STEP + 1) * SLOT_STEP


def _next_day(tree: KeyTree, day: int) -> int:
    for later in range(day + 1, 1 << DAY_BITS):
        if tree.keeps_day(later):
            return later
    raise Forgotten("every day from this one on was erased")


def _locked(path: Path) -> AbstractContextManager[None]:
    """Hold the lock of a customer's keys; the lock file is empty and may be deleted while no process runs."""
    return alone(path, "lock the keys")
