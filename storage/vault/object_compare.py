"""Comparison of a vault with its object store by one listing, repair of either side, and moves between them.

Every step may be interrupted and repeated, and may run while calls are recorded and erased.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from storage.errors import StorageError, StoreAway
from storage.keys.leaf_counter import node_of
from storage.vault.object_vault import ObjectVault, PartObject
from storage.vault.parts import PartRef

AT_ONCE = 4  # simultaneous requests of a move


@dataclass(slots=True)
class Comparison:
    """Differences between a vault and its object store."""

    missing: list[tuple[PartRef, bool]] = field(default_factory=list)
    """Parts that the store was proved to have and now lacks, each with whether this node has a copy."""
    unknown: list[tuple[PartObject, int]] = field(default_factory=list)
    """Objects of which this node has neither part nor pointer, with their bytes; other nodes' objects are included."""


@dataclass(slots=True)
class Moved:
    """Result of a move."""

    parts: int = 0
    """Number of parts that were on the wrong side."""
    done: int = 0
    """Number of these parts that were moved."""
    failed: int = 0
    """Number of these parts that neither side has whole, or whose object cannot be deleted."""


def compare(vault: ObjectVault) -> Comparison:
    """Compare names and sizes, not bytes; check each difference again, because calls go on; raise StoreAway."""
    found = Comparison()
    prefix = f"{vault.customer}/"
    objects = {PartObject.parse(each.name): each.size for each in vault.objects.listing(prefix)}
    for ref in vault.walk():
        pointer = vault.pointer(ref) if ref.finished else None
        if pointer is None:
            continue
        name = vault.object_of(ref, pointer)
        if objects.pop(name, -1) == pointer.size or vault.objects.size(str(name)) == pointer.size:
            continue
        if vault.pointer(ref) == pointer:
            found.missing.append((ref, not ref.path.is_symlink()))
    for each, size in objects.items():
        if each is None or vault.keeps_locked(each.leaf) or vault.find(each.call, each.leaf, each.part) is not None:
            continue
        if vault.several or vault.objects.size(str(each)):  # with several nodes, a node lacks the parts of most objects
            found.unknown.append((each, size))
    return found


def into_store(vault: ObjectVault, advance: Callable[[float], None]) -> Moved:
    """Upload parts that the store lacks or has lost, and make pointers to objects only there; raise StoreAway."""
    done = Moved()
    found = compare(vault)
    for ref, here in found.missing:
        if here:
            vault.mistrust(ref)  # then the part waits for its upload again
        else:
            done.parts += 1
            done.failed += 1
    for each, size in found.unknown:
        if vault.several and node_of(each.leaf) != vault.node:
            continue  # it belongs to another node
        done.parts += 1
        done.done += vault.adopt(each, size)
    _each(vault.waiting(), vault.upload, done, advance)
    return done


def into_folder(vault: ObjectVault, advance: Callable[[float], None]) -> Moved:
    """Fetch all parts that only the store has; then delete this vault's objects from the store; raise StoreAway."""
    done = Moved()
    for each, size in compare(vault).unknown:
        vault.adopt(each, size)
    away = (ref for ref in vault.walk() if ref.path.is_symlink())
    _each(away, vault.recall, done, advance)
    if not done.failed:
        kept = len(vault.leave())
        done.parts += kept
        done.failed += kept
    return done


def _each(
    refs: Iterable[PartRef], work: Callable[[PartRef], object], done: Moved, advance: Callable[[float], None]
) -> None:
    """Do `work` with each part, a few at once; raise StoreAway, and count other failures."""

    def one(ref: PartRef) -> bool:
        try:
            work(ref)
        except StoreAway:
            raise
        except StorageError:
            return False
        return True

    with ThreadPoolExecutor(AT_ONCE, "move") as threads:
        for well in threads.map(one, list(refs)):
            done.parts += 1
            done.done += well
            done.failed += not well
            advance(1)
