"""Makes the files of recordings and takes them back; all of it for the thread of the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from recorder.errors import NotPossible
from recorder.persist.control_part import ControlPart
from storage.errors import PartExists
from storage.vault.vault import Draft, NewPart, Vault

MAX_TAKEN = 16
"""Numbers of parts that are passed over: each is a process that was killed within a moment of creating one."""


def first_parts(
    vault: Vault, drafts: Sequence[Draft], control: ControlPart, wanted: Callable[[], bool]
) -> tuple[NewPart, NewPart]:
    """Create the first two parts of a recording and write the first records, or leave nothing.

    Parts without records are of no call, whoever finds them: so they stay where nobody waits for them any more.
    """
    made = [vault.make(drafts[0])]
    try:
        made.append(vault.make(drafts[1]))
        if wanted():
            control.begin(made[0].fd)
    except BaseException:
        take_back(*made)
        raise
    return made[0], made[1]


def free_part(vault: Vault, call: str, leaf: int, kind: str, number: int) -> tuple[int, NewPart]:
    """Create a part of the first free number from `number` on."""
    for free in range(number, number + MAX_TAKEN):
        try:
            return free, vault.create(call, leaf, f"{kind}{free}")
        except PartExists:
            continue
    raise NotPossible("the parts of this recording are numbered beyond reason")


def take_back(*parts: NewPart) -> None:
    """Remove parts of which nobody was told; OSError where the disk does not let them be removed."""
    for part in parts:  # all of them first: a disk that became read-only does not let any be removed
        os.close(part.fd)
    for part in parts:
        os.unlink(part.path)
