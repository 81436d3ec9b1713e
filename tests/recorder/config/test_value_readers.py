"""Single values, as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.config import value_readers as read

READERS: list[Callable[[object], Any]] = [
    read.text,
    read.boolean,
    read.name,
    read.absolute,
    read.ip,
    read.network,
    read.address,
    read.listener,
    read.ports,
    read.host_name,
    read.country,
    read.root_key,
    read.database,
    read.media_store,
    read.bucket,
    read.prefix,
    read.duration,
    read.lock,
    read.witness,
    read.whole(1, 5, "things"),
    read.one_of(read.Srtp),
    read.each(read.ip),
    read.destination,
]


def test_addresses_come_out_in_one_spelling() -> None:
    assert read.ip("2001:DB8:0::1") == "2001:db8::1"
    assert str(read.listener("tls:[2001:DB8::1]:5061")) == "tls:[2001:db8::1]:5061"
    assert read.host_name("SBC1.Acme.Example.") == "sbc1.acme.example"


def test_times_and_prefixes_come_out_in_one_spelling() -> None:
    assert [read.duration(each).seconds for each in ("0s", "90m", "12h", "7d")] == [0, 5400, 43_200, 604_800]
    assert str(read.duration("7d")) == "7d"
    assert [read.prefix(each) for each in ("", "/", "a", "/a/b_c/")] == ["", "", "a/", "a/b_c/"]
    for wrong in (7, "7", "d", "-1d", "1w", "7 d"):
        with pytest.raises(read.Wrong):
            read.duration(wrong)
    for path in ("a b", "a//b", "../a", None, "ä"):
        with pytest.raises(read.Wrong):
            read.prefix(path)


SOCKET_FILE = "postgresql+asyncpg://rec@/recorder_{customer}?host=/run/postgresql"


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (read.destination, ["192.0.2.10"], ["0.0.0.0", "::", "224.0.0.1", "ff02::1"]),
        (
            read.witness,
            ["journald", "file:/a/b", "syslog:/dev/log", "syslog:log.example:514", "syslog:[2001:db8::1]:514"],
            ["", "file:a", "syslog:", "syslog:log.example", "journald:", "http://x", "syslog:a b:1", "syslog:a:0",
             "syslog:a:65536"],
        ),
        (read.bucket, ["abc", "recordings.acme-1"], ["ab", "-abc", "Recordings", "a_b", "a" * 64, 7]),
        (read.lock, ["off", "governance", "compliance"], ["on", "", False]),
        (read.database, [SOCKET_FILE], ["postgresql+asyncpg://rec@/recorder?host=/run/{customer}"]),
    ],
)  # fmt: skip
def test_right_values_are_kept_and_others_refused(
    reader: Callable[[object], Any], good: list[str], bad: list[str]
) -> None:
    assert [reader(value) for value in good] == good
    for value in bad:
        with pytest.raises(read.Wrong):
            reader(value)


def test_a_port_range_counts_its_pairs_and_knows_its_ports() -> None:
    ports = read.ports("20000 - 20003")
    assert ports == read.PortRange(20000, 20003) and (ports.pairs, str(ports)) == (2, "20000-20003")
    assert 20003 in ports and 20004 not in ports


@pytest.mark.parametrize(
    ("written", "suggestion"),
    [
        ("20001-30000", "20002-29999"),
        *[
            (few, "at least 4 ports from an even one on")
            for few in ("20000-20001", "20001-20002", "20001-20003", "20001-20004", "20000-20002")
        ],
    ],
)
def test_a_wrong_port_range_gets_a_possible_suggestion(written: str, suggestion: str) -> None:
    with pytest.raises(read.Wrong, match=suggestion):
        read.ports(written)


def test_the_place_of_each_wrong_entry_is_kept() -> None:
    with pytest.raises(read.Wrong) as caught:
        read.each(read.ip)(["192.0.2.1", "x", 3])
    assert [place[0] for place in caught.value.places] == ["[1]", "[2]"]
    assert caught.value.partial == ("192.0.2.1",)


def test_a_shown_value_is_short_and_on_one_line() -> None:
    assert read.shown("a\nb") == '"a\\nb"'
    assert len(read.shown("x" * 1000)) < 70
    assert read.shown({}) == "a table"
    assert read.shown(True) == "true"


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.from_regex(r"(udp|tls|file|credential|postgresql\+asyncpg)://?[\[\]0-9a-z:./@?]*", fullmatch=True)
    | st.lists(st.text(max_size=5), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(READERS),
)
def test_a_property_of_every_reader_is_a_value_or_wrong(value: object, reader: Callable[[object], Any]) -> None:
    try:
        reader(value)
    except read.Wrong as wrong:
        assert all(right for _, _, right in wrong.places)
    read.shown(value)
