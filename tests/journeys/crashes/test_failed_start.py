"""A start that fails leaves no listening socket behind that would take calls and answer nobody; media sockets stay."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.api import until
from tests.daemon.descriptor_store import DescriptorStore, descriptor_store
from tests.daemon.sbc import OFFER
from tests.daemon.server import Server, free_port, server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DescriptorStore]:
    with descriptor_store(tmp_path) as one:
        yield one


@pytest.fixture
def kept(tmp_path: Path, store: DescriptorStore) -> Iterator[Server]:
    """A recorder whose sockets are kept."""
    with server(tmp_path, store=store) as one:
        one.init()
        yield one


def failed(one: Server, store: DescriptorStore) -> int:
    """Start it as systemd does; return its exit status."""
    with one.log.open("ab") as log:
        line = [sys.executable, "-m", "recorder", "serve", "--config", str(one.config)]
        return store.start(line, log).wait(30)


def listening(store: DescriptorStore) -> list[str]:
    return sorted(name for name in store.names() if not name.startswith("m"))


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


SPOILT = [
    ("a fault in the configuration", lambda one: one.replace("workers = 1", "workers = true"), 2),
    ("another root secret", lambda one: (one.folder / "root.key").write_bytes(bytes(32)), 3),
]


@pytest.mark.parametrize(("spoil", "status"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_a_failed_start_closes_listeners_but_not_media_sockets(
    kept: Server, store: DescriptorStore, spoil: Callable[[Server], object], status: int
) -> None:
    kept.start()
    text, root = kept.config.read_text(), (kept.folder / "root.key").read_bytes()
    with kept.sbc("udp") as sbc:
        assert sbc.ask("INVITE", OFFER).status == 200
        media = [name for name in store.names() if name.startswith("m")]
        kept.stop(9)
        assert listening(store) == ["api0", "sip0", "sip1", "sip2"]  # nothing changes between a kill and READY
        assert connects(kept.udp)
        spoil(kept)
        assert failed(kept, store) == status
        assert listening(store) == []
        assert [name for name in store.names() if name.startswith("m")] == media
        assert not connects(kept.udp) and not connects(kept.api)
        assert failed(kept, store) == status
        kept.config.write_text(text)
        (kept.folder / "root.key").write_bytes(root)
        kept.start()
        assert listening(store) == ["api0", "sip0", "sip1", "sip2"]
        assert sbc.ask("UPDATE").status == 200
        assert sbc.ask("BYE").status == 200
    assert kept.stop() == 0


def test_a_start_that_fails_late_stores_nothing(kept: Server, store: DescriptorStore) -> None:
    """Its own listeners, too, if another program holds the last of its ports."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", kept.api))
        taken.listen()
        assert failed(kept, store) == 3
    assert store.names() == []


def test_other_listeners_take_the_place_of_the_stored_ones(kept: Server, store: DescriptorStore) -> None:
    """What is no longer configured leaves the store, though the service manager still holds its port."""
    kept.start()
    kept.stop()
    assert listening(store) == ["api0", "sip0", "sip1", "sip2"]
    wide, old = free_port(), kept.tls
    kept.replace(f'"tcp:127.0.0.1:{kept.udp}", "tls:127.0.0.1:{kept.tls}"', f'"tcp:0.0.0.0:{kept.udp}"')
    kept.replace(f"127.0.0.1:{kept.api}", f"127.0.0.1:{wide}")
    kept.api = wide
    kept.start()
    until(lambda: listening(store) == ["api0", "sip0", "sip1"])
    assert connects(kept.udp) and connects(wide) and not connects(old)
    assert kept.stop() == 0
