"""What of a call the service manager keeps, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from media.receive.sockets import Pair, open_pair
from recorder.calls import fd_store
from recorder.calls.fd_store import CallSockets
from recorder.runtime.sd_notify import Notifier
from tests.recorder.calls.service_manager import Manager


@dataclass
class Scene:
    """A call's sockets, its service manager, and sockets to be closed."""

    notify: Manager = field(default_factory=Manager)
    opened: list[Pair] = field(default_factory=list)
    sockets: CallSockets = field(default_factory=CallSockets)

    def pairs(self, *numbers: int) -> dict[int, Pair]:
        """Open sockets for streams."""
        fresh = {number: open_pair("127.0.0.1", 0, rtcp=False) for number in numbers}
        self.opened += fresh.values()
        return fresh


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Have a call's sockets and its service manager."""
    one = Scene()
    yield one
    for pair in one.opened:
        pair.close()


def test_a_call_has_one_name_by_its_lowest_first_port(scene: Scene) -> None:
    first = scene.pairs(0, 1)
    scene.sockets.store(scene.notify, first)
    scene.sockets.store(scene.notify, scene.pairs(2))
    name = "m" + fd_store.base36(min(pair.port for pair in first.values()))
    assert scene.notify.heard == [(name, 2), (name, 1)]
    assert scene.sockets.name == name
    scene.sockets.store(scene.notify, {})
    assert len(scene.notify.heard) == 2


def test_sockets_a_manager_refused_are_offered_again(scene: Scene) -> None:
    scene.notify.full = True
    scene.sockets.store(scene.notify, scene.pairs(0))
    assert scene.sockets.unstored
    scene.sockets.store(scene.notify, scene.pairs(1))
    assert not fd_store.stored_again(scene.notify, [scene.sockets])
    scene.notify.full = False
    assert fd_store.stored_again(scene.notify, [scene.sockets])
    assert (scene.notify.heard, scene.sockets.unstored) == ([(scene.sockets.name, 2)], False)
    assert fd_store.stored_again(scene.notify, [scene.sockets])
    assert len(scene.notify.heard) == 1


def test_a_removed_streams_sockets_stay_until_all_are_removed(scene: Scene) -> None:
    pairs = scene.pairs(0, 1)
    scene.sockets.store(scene.notify, pairs)
    name = scene.sockets.name
    assert scene.sockets.retire(scene.notify, [0, 7]) == []
    assert (list(scene.sockets.pairs), scene.sockets.retired) == ([1], ((pairs[0], None),))
    assert len(scene.sockets.descriptors()) == 2
    assert scene.sockets.retire(scene.notify, [1]) == [(pairs[0], None), (pairs[1], None)]
    assert scene.notify.heard == [(name, 2), (name, 0)]
    assert (scene.sockets.name, scene.sockets.retired) == ("", ())


def test_without_a_manager_a_removed_stream_frees_its_ports(scene: Scene) -> None:
    pairs = scene.pairs(0, 1)
    scene.sockets.store(Notifier(None), pairs)
    assert scene.sockets.retire(Notifier(None), [0]) == [(pairs[0], None)]
    assert fd_store.stored_again(Notifier(None), [scene.sockets])
    assert not scene.sockets.waits(Notifier(None))


@pytest.mark.parametrize(
    ("patience", "then", "unstored", "deaf"),
    [
        pytest.param(60.0, "reads", False, False, id="it reads later"),
        pytest.param(0.0, "nothing", True, True, id="it never reads"),
        pytest.param(60.0, "withdrawn", True, False, id="the call is withdrawn"),
    ],
)
async def test_a_call_waits_for_a_manager_that_is_busy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, patience: float, then: str, unstored: bool, deaf: bool
) -> None:
    """One that never reads is waited for once."""
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", patience)
    scene.notify.full = True
    scene.sockets.store(scene.notify, scene.pairs(0))
    assert scene.sockets.waits(scene.notify)
    waiting = asyncio.create_task(scene.sockets.wait_stored(scene.notify))
    await asyncio.sleep(0)
    assert waiting.done() is deaf
    if then == "withdrawn":
        scene.sockets.pairs.clear()
    scene.notify.full = then != "reads"
    await asyncio.wait_for(waiting, 30)
    assert (scene.sockets.unstored, scene.notify.deaf) == (unstored, deaf)
    assert scene.sockets.waits(scene.notify) is (unstored and not deaf)
