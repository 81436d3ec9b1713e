"""Several a=crypto lines in one offer: until our answer has taken effect the client may send under any of them."""

import itertools
import struct
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from media.records import record_format
from media.srtp.context import Aes192Engine, Context, Engine
from media.srtp.keyring import MAX_SEARCHED, OVERLAP, SEARCH_INTERVAL, UNANSWERED, Keyring
from media.srtp.srtcp import Srtcp
from media.srtp.suites import SUITES, suite_of
from media.stream import checkpoint
from media.stream.receiver import ReceivedStream
from tests.media.stream.lanes import FIRST_ARRIVAL, packets_of, receive, stored, stream_of, track_of

#: As rtpengine orders them.
NAMES = (
    "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32",
    "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80",
)  # fmt: skip
Line = tuple[str, bytes, int]
SETTLED = UNANSWERED + OVERLAP
ROUND = 1 << 16


def line(name: str, fill: int) -> Line:
    size = SUITES[name].key + SUITES[name].salt
    return name, bytes((fill + n) & 255 for n in range(size)), 0


def offer(fill: int) -> tuple[Line, ...]:
    return tuple(line(name, 16 * fill + n) for n, name in enumerate(NAMES))


def packets(offered: Line, first: int, count: int, rollover: int = 0) -> list[bytes]:
    """Protect packets of one stream, as a sender does whose rollover counter stands at `rollover`."""
    engine = engine_of(offered)
    for index in range(0, (rollover << 16 | first) - 1, 0x7000) if rollover else ():
        engine.protect(stream_of(1, index & 0xFFFF)[0])
    return [engine.protect(each) for each in stream_of(count, first)]


def engine_of(offered: Line) -> Engine | Aes192Engine:
    """Make a sender's engine: libsrtp's, or ours for the suites that it does not have."""
    suite = suite_of(offered[0], offered[1])
    return Aes192Engine(suite, offered[1]) if "192" in offered[0] else Engine(suite, offered[1], inbound=False)


def heard(ring: Keyring, sent: Iterable[bytes], at: int = 1) -> list[bool]:
    return [not isinstance(ring.open(each, at, ()), int) for each in sent]


@pytest.mark.parametrize("answered", [0, 3, 6])
def test_any_line_is_opened_until_the_answer_takes_effect(answered: int) -> None:
    first = offer(0)
    chosen, others = first[answered], [each for each in first if each is not first[answered]]
    ring = Keyring(*chosen, alternates=others)
    for number, each in enumerate(others):
        assert heard(ring, packets(each, 10 + 5 * number, 5)) == [True] * 5
    assert heard(ring, packets(line(NAMES[0], 200), 50, 3)) == [False] * 3  # forged
    assert heard(ring, packets(chosen, 60, 5)) == [True] * 5
    ring.expire(2)
    ring.expire(1 + SETTLED)
    assert len(ring.contexts) == len(NAMES)
    ring.expire(3 + SETTLED)
    assert [each.offered for each in ring.contexts] == [chosen]
    assert heard(ring, packets(others[0], 70, 3)) == [False] * 3


def test_a_client_may_use_another_line_than_the_answered_one() -> None:
    first = offer(0)
    ring = Keyring(*first[2], alternates=[each for each in first if each is not first[2]])
    for number in range(4):
        assert heard(ring, packets(first[0], 10, 5 + 5 * number)[5 * number :], 1 + number * SETTLED) == [True] * 5
        ring.expire(2 + number * SETTLED)
    assert [each.offered for each in ring.contexts] == [first[0], first[2]]
    assert heard(ring, packets(first[2], 100, 5), 4 * SETTLED) == [True] * 5


@pytest.mark.parametrize("joined", [0, 3, 6])
def test_a_forged_packet_costs_a_search_of_few_keys(joined: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends under a key since long ago is found after some seconds at most, whoever sends what besides."""
    tried, find = list[str](), Context.find_rollover

    def count(context: Context, packet: bytes) -> Any:
        tried.append(context.name)
        return find(context, packet)

    monkeypatch.setattr(Context, "find_rollover", count)
    for answered in (0, 3):
        first = offer(0)
        ring = Keyring(*first[answered], alternates=[each for each in first if each is not first[answered]])
        sent, forged = packets(first[joined], 1000, 10, 2), packets(line(NAMES[0], 200), 1000, 10)
        for second, (genuine, other) in enumerate(zip(sent, forged, strict=True), 1):
            tried.clear()
            found = heard(ring, [genuine, other], second * SEARCH_INTERVAL)
            assert len(tried) == len(set(tried)) <= MAX_SEARCHED
            if found[0]:
                break
        assert second <= 1 + len(NAMES) // 2 and ring.contexts[0].offered == first[joined]


# ---- in a stream ----
def offering(track: ReceivedStream, lines: tuple[Line, ...], answered: int) -> Any:
    suite, key, mki = lines[answered]
    others = tuple(each for each in lines if each is not lines[answered])
    return replace(track.spec, suite=suite, key=key, mki=mki, alternates=others)


def recorded(track: ReceivedStream, sent: list[bytes], at: int) -> list[bytes]:
    return packets_of(receive(track, sent, at, cuts=25))


def test_a_successor_opens_any_line_of_the_last_two_offers() -> None:
    """As the worker dies between the offer and the answer's effect: it may have heard of the re-offer or not."""
    old, new = offer(0), offer(1)
    base = track_of(srtp=True, pure=False)
    for follows, used in itertools.product((False, True), (0, 4)):
        track = ReceivedStream(offering(base, old, 4), base.pauses, 1)
        recorded(track, packets(old[4], 1000, 50), 0)
        if follows:
            track.change(offering(track, new, 4), FIRST_ARRIVAL, [])
            recorded(track, packets(new[used], 1050, 25), 50)
        kept, moved = checkpoint.pack([track]), checkpoint.moving([track])
        successor = ReceivedStream(offering(base, new, 4), base.pauses, 1)
        assert successor.srtp.keyring is not None
        successor.srtp.keyring.precede(old)
        checkpoint.restore(kept, moved, {successor.spec.stream: successor})
        begin = 1075 if follows else 1050
        for number, each in enumerate((old[0], old[4], new[0], new[4])):
            sent = packets(each, begin + 5 * number, 5)
            assert recorded(successor, sent, begin - 1000 + 5 * number) == stream_of(5, begin + 5 * number)
        successor.srtp.keyring.expire(FIRST_ARRIVAL)
        assert recorded(successor, packets(old[4], begin + 20, 5), begin - 980) == stream_of(5, begin + 20)
        assert successor.reception.rejected == 0


def test_reports_are_taken_under_any_line() -> None:
    first = offer(0)
    ring = Keyring(*first[4], alternates=[each for each in first if each is not first[4]])
    report = struct.pack(">BBHIIIIII", 0x80, 200, 6, 7, 1, 0, 0, 1, 160)
    for each in first:
        assert ring.open_rtcp(Srtcp(each[0], each[1]).protect(report)) == report
    assert isinstance(ring.open_rtcp(Srtcp(*line(NAMES[0], 99)[:2]).protect(report)), int)


@pytest.mark.parametrize(("rollover", "further", "ahead"), [(0, 0, 3), (0, 0, 28), (2, 0, 3), (2, 2, 28)])
@pytest.mark.parametrize("answered", [0, 4])
def test_packets_under_a_key_just_before_its_offer_are_kept(
    answered: int, rollover: int, further: int, ahead: int
) -> None:
    """As rtpengine sends them from its own new offer on, which has yet to reach us, with the rollover counter it had
    or from zero: longer where UDP lost the offer once (T1 of RFC 3261 is half a second).
    """
    old, new = offer(0), offer(1)
    track = track_of(srtp=True, pure=False)
    track = ReceivedStream(offering(track, old, 4), track.pauses, 1)
    recorded(track, packets(old[4], 1000, 50, rollover), 0)
    assert recorded(track, packets(new[0], 1050, ahead, further), 50) == []
    assert recorded(track, packets(line(NAMES[0], 99), 1050 + ahead, 2), 50 + ahead) == []  # forged
    out: list[bytes] = []
    track.change(offering(track, new, answered), FIRST_ARRIVAL + (53 + ahead) * 20_000_000, out)
    assert [packet for _, packet in stored(out)] == stream_of(ahead, 1050)
    assert [each.kind for each in record_format.read([b"".join(out)]) if isinstance(each, record_format.Marked)] == [
        record_format.Mark.KEY
    ]
    assert recorded(track, packets(new[0], 1050 + ahead, 5, further), 53 + ahead) == stream_of(5, 1050 + ahead)
    assert (track.reception.packets, track.reception.rejected, track.gaps.missing_ns) == (55 + ahead, 2, 0)


# ---- attacks and accidents ----
class Client:
    """A sender of one stream, each key with a rollover counter of its own that goes on or begins at zero."""

    def __init__(self, first: int, counts_on: bool) -> None:
        self._number, self._counts_on = first, counts_on
        self._engines: dict[Line, Any] = {}
        self.sent: list[bytes] = []

    def send(self, under: Line, count: int) -> list[bytes]:
        return [self._one(under) for _ in range(count)]

    def _one(self, under: Line) -> bytes:
        if under not in self._engines:
            engine = self._engines[under] = engine_of(under)
            begin = self._number if self._counts_on or not self.sent else self._number & 0xFFFF
            for index in (*range(0, begin - 1, 0x7000), begin - 1) if begin >> 16 else ():
                engine.protect(stream_of(1, index & 0xFFFF)[0])
        (plain,) = stream_of(1, self._number & 0xFFFF)
        self._number += 1
        self.sent.append(plain)
        wire = bytes(self._engines[under].protect(plain))
        tag, name = Context(under[0], under[1]).suite.tag, b"\7" * under[2]
        return wire + name if under[0].startswith("AEAD") else wire[:-tag] + name + wire[-tag:]


def spoilt(chance: Random, heard: list[bytes]) -> bytes:
    """Give a packet that must not count: a replay, whole or with its tag cut, or one with a byte of another."""
    packet = chance.choice(heard)
    number = chance.randrange(2, len(packet))
    changed = packet[:number] + bytes([packet[number] ^ 1 << chance.randrange(8)]) + packet[number + 1 :]
    return chance.choice([packet, packet[:-6], changed])


def offered(chance: Random, before: tuple[Line, ...]) -> tuple[Line, ...]:
    """Make lines in any order; some bring keys of before, under the same suite or another one."""
    mki, known = chance.choice([0, 0, 4]), [key for _, key, _ in before]
    lines = []
    for name in chance.sample(NAMES, chance.randrange(1, len(NAMES) + 1)):
        key = chance.randbytes(SUITES[name].key + SUITES[name].salt)
        again = [each for each in known if len(each) == len(key)]
        lines.append((name, chance.choice(again) if again and chance.random() < 0.4 else key, mki))
    return tuple(lines)


@pytest.mark.parametrize("seed", range(30))
def test_every_packet_is_stored_once_despite_forgery_and_kills(seed: int) -> None:
    """Lines in any order, offers back to back, wraps, packets that overtake each other, forgeries, dying workers."""
    chance = Random(seed)
    client = Client(chance.choice([1_000, ROUND - 60, ROUND - 5]), counts_on=seed % 2 == 0)
    lines = offered(chance, ())
    answered = chance.choice(lines)
    track = track_of(srtp=True, pure=False)
    track = ReceivedStream(offering(track, lines, lines.index(answered)), track.pauses, 1)
    found, wires, at = list[bytes](), list[bytes](), 0
    before: tuple[Line, ...] = ()
    for _ in range(5):
        fresh = offered(chance, lines)
        waiting = client.send(lines[0], chance.randrange(1, 12)) + client.send(answered, chance.randrange(20))
        if chance.random() < 0.7:
            waiting += client.send(fresh[0], chance.randrange(12))
        else:
            fresh = lines  # no offer this time
        order = sorted(range(len(waiting)), key=lambda n: n + 5 * chance.random())
        wires += waiting
        waiting = [waiting[n] for n in order] + [spoilt(chance, wires) for _ in range(chance.randrange(10))]
        if fresh is not lines:
            before, lines, answered = (*before, *lines), fresh, chance.choice(fresh)
            track.change(offering(track, lines, lines.index(answered)), FIRST_ARRIVAL + at * 20_000_000, [])
        found += recorded(track, waiting, at)
        at += len(waiting)
        if chance.random() < 0.3:
            successor = ReceivedStream(track.spec, track.pauses, 1)
            assert successor.srtp.keyring is not None
            successor.srtp.keyring.precede([each for each in before if each not in lines][-16:])
            checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]), {0: successor})
            track = successor
    assert sorted(found) == sorted(client.sent)
