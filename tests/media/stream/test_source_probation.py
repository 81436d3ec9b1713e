"""A packet of plain RTP that does not follow moves nothing until a second one in sequence bears it out."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.codecs.decoders import Format
from media.rtp import header
from media.spec import StreamSpec
from media.stream import fast_path_c
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.source_probation import MOST
from tests.in_process.rendered_calls import expand, listen, stream
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, packets_of, receive, stored, successor_of

SPEC = StreamSpec(
    0,
    payloads=((8, "PCMA", 8000), (0, "PCMU", 8000), (96, "opus", 48_000), (101, "telephone-event", 8000)),
    source=("192.0.2.1", 4000),
)
Packet = tuple[float, bytes]


@pytest.fixture(autouse=True, params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go the fast path in C where it was compiled, then without it."""
    if request.param == "Python":
        monkeypatch.setattr(fast_path_c, "path_of", lambda _: None)


def voice(number: int, ts: int | None = None, kind: int = 8, ssrc: int = 7, tone: int | None = None) -> bytes:
    fill = 1 + number % 100 if tone is None else tone
    return header.build(kind, number, 160 * number if ts is None else ts, ssrc, bytes([fill]) * 160)


def heard(track: ReceivedStream, sent: Sequence[Packet], cuts: int) -> list[bytes]:
    """Have a stream receive packets at places in time (frames), so many a batch; return what it stores."""
    arrivals = [FIRST_ARRIVAL + int(at * FRAME) for at, _ in sent]
    return receive(track, [packet for _, packet in sent], arrivals=arrivals, cuts=cuts)


def fresh(spec: StreamSpec = SPEC) -> ReceivedStream:
    return ReceivedStream(spec, Pauses(), 1)


FORGED = {
    "5,000 ahead": voice(5_300, tone=0x55),
    "2,000 ahead": voice(2_300, tone=0x55),
    "1,000 ahead with its time": voice(1_300, tone=0x55),
    "30,000 behind": voice(300 - 30_000, tone=0x55),
    "an hour ahead": voice(310, 160 * 310 + 3_600 * 8_000, tone=0x55),
    "a second back": voice(310, 160 * 302, tone=0x55),
    "100 ms ahead": voice(310, 160 * 315, tone=0x55),
    "1,000 ahead at the present time": voice(1_300, 160 * 310, tone=0x55),
    "900 ahead, a key pressed": voice(1_210, kind=101, tone=0x55),
    "900 ahead, comfort noise": voice(1_210, 160 * 310, 13, tone=0x55),
    "an unknown type": voice(310, kind=77, tone=0x55),
    "a type of another clock": voice(310, kind=96, tone=0x55),
}


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(every=st.sampled_from((0, 7, 10)), cuts=st.integers(1, 25))
def test_a_forged_packet_costs_no_genuine_one(every: int, cuts: int) -> None:
    genuine = [(n, voice(n)) for n in range(600)]
    whole = expand(b"".join(packet[12:] for _, packet in genuine), "pcm_alaw")
    for name, forged in FORGED.items():
        sent = []
        for n, packet in genuine:
            if n == 310 or (every and n > 310 and not n % every):
                moved = int.from_bytes(forged[2:4], "big") + n - 310
                ts = int.from_bytes(forged[4:8], "big") + 160 * (n - 310)
                sent.append((n, voice(moved, ts, forged[1], tone=0x55)))
            sent.append((n, packet))
        track = fresh()
        out = heard(track, sent, cuts)
        assert [packet for _, packet in stored(out)] == [packet for _, packet in genuine], name
        (sound,), _, _ = listen(b"".join(out), stream(0, (8, Format("PCMA", 8000))))
        assert sound == whole, name
        assert (track.gaps.missing_ns, track.reception.late) == (0, 0), name
        dropped = track.reception.foreign + track.reception.duplicates + len(track.probation.unproven)
        assert dropped == len(sent) - len(genuine), name


@pytest.mark.parametrize(("time", "ahead"), [(8_000, 4), (8_000, 64), (-8_000, 30), (500_000, 30)])
def test_a_forged_packet_does_not_cover_genuine_audio(time: int, ahead: int) -> None:
    sent = [(n, voice(n)) for n in range(600) if n % 10 != ahead % 10 or n < 100]
    forged = [(n, voice(n + ahead, 160 * (n + ahead) + time, tone=0x55)) for n in range(100, 500, 10)]
    (alone,), _, _ = listen(b"".join(heard(fresh(), sent, 25)), stream(0, (8, Format("PCMA", 8000))))
    both = sorted([*sent, *forged], key=lambda each: each[0])
    (sound,), _, _ = listen(b"".join(heard(fresh(), both, 25)), stream(0, (8, Format("PCMA", 8000))))
    assert len(alone) == len(sound)
    frames = [(alone[at : at + 160], sound[at : at + 160]) for at in range(0, len(alone), 160)]
    assert [n for n, (one, other) in enumerate(frames) if any(one) and one != other] == []


def test_forged_high_numbers_hide_genuine_packets_only_briefly() -> None:
    """They name a hole that the genuine packets seem to fill, later than any is still taken."""
    sent = [(n, voice(n)) for n in range(1_500)]
    sent[310:310] = [(310, voice(number, tone=0x55)) for number in (2_300, 2_301)]
    track = fresh()
    found = set(packets_of(heard(track, sent, 25)))
    lost = [n for n, packet in sent if packet not in found]
    assert len(lost) <= 11 and max(lost) < 325


def test_forged_ssrcs_do_not_evict_the_genuine_source() -> None:
    """Also not where they are more between two of its packets than are told apart, before and behind a wrap."""
    track = fresh()
    out: list[bytes] = []
    for n in range(200):
        forged = [voice(9, ssrc=1_000 * n + k, tone=0x55) for k in range(20 if n > 100 else 0)]
        out += heard(track, [*((n, each) for each in forged), (n, voice(65_400 + n))], 25)
    sequences = [number for number, packet in stored(out) if packet[8:12] == (7).to_bytes(4)]
    assert sequences == list(range(65_400, 65_600))
    assert 7 in [each.ssrc for each in track.reception.sources] and len(track.reception.sources) == 16


def test_a_settled_source_may_return_with_its_own_numbers() -> None:
    track = fresh()
    out: list[bytes] = []
    others = [*range(100, 120), 8, 8, 8, 8, *range(200, 220)]
    for at, ssrc in enumerate([7, 7, 7, *others, 7, 7]):
        number = (at + 2) % 3 if ssrc == 7 else at
        out += heard(track, [(at, voice(number, ssrc=ssrc, tone=at))], 1)
    numbers = [number for number, packet in stored(out) if packet[8:12] == (7).to_bytes(4)]
    assert len(set(numbers)) == len(numbers) == 5


@pytest.mark.parametrize(("kind", "count"), [(8, 1), (8, 50), (96, 4), (101, 50)])
def test_packets_forged_in_a_silence_are_not_stored(kind: int, count: int) -> None:
    chance = Random(count)
    strange = [(chance.getrandbits(16), chance.getrandbits(32)) for _ in range(count)]
    forged = [(60 + n / 2, voice(*each, kind, tone=0x55)) for n, each in enumerate(strange)]
    genuine = [(n + 150 * (n >= 50), voice(n, 160 * (n + 150 * (n >= 50)))) for n in range(100)]
    found = stored(heard(fresh(), [*genuine[:50], *forged, *genuine[50:]], 25))
    assert [packet for _, packet in found] == [packet for _, packet in genuine]


def test_a_packet_of_a_source_that_falls_silent_is_given_up() -> None:
    """It would keep the stream from the fast path."""
    sent = [(0, voice(3, ssrc=9)), (1, voice(9_000, ssrc=9)), *((n, voice(n)) for n in range(2, 300))]
    track = fresh()
    found = stored(heard(track, sent, 25))
    assert [packet for _, packet in found] == [packet for at, packet in sent if at != 1]
    assert (track.probation.unproven, track.reception.foreign) == ((), 1)


def odd(sent: list[tuple[float, int, int, int]], ssrc: int = 7) -> list[tuple[float, bytes]]:
    """Make packets of (time in frames, number, timestamp, type), each known by its payload."""
    return [(at, header.build(kind, n, ts, ssrc, k.to_bytes(4) * 40)) for k, (at, n, ts, kind) in enumerate(sent)]


def overtaken(spread: int) -> list[tuple[float, int, int, int]]:
    order = sorted(range(300), key=lambda n: n + Random(n).random() * spread)
    return [(at, n, 160 * n, 8) for at, n in enumerate(order)]


def jittered(seed: int) -> list[tuple[float, int, int, int]]:
    """Make half a minute of sound, keys and silences of a second, each packet up to 80 ms on its way."""
    chance = Random(seed)
    sent, time = list[tuple[float, int, int, int]](), 0
    while time < 1_500:
        pressed = chance.randrange(3, 9) if chance.random() < 0.05 else 0
        # the end of a key is sent three times at once (RFC 4733 section 2.5.1.4)
        for at in [time + min(n, pressed) for n in range(pressed + 2)] if pressed else [time]:
            sent.append((at + chance.random() * 4, len(sent), 160 * time, 101 if pressed else 8))
        time += max(1, pressed) + 50 * (chance.random() < 0.03)
    return sorted(sent)


ODD = {
    **{f"keys and silences, 80 ms of jitter, {seed}": odd(jittered(seed)) for seed in range(3)},
    "packets overtake each other by 400 ms": odd(overtaken(20)),
    "by two seconds": odd(overtaken(100)),
    "keys of 8 kHz between sound of 48 kHz": odd(
        [(n, n, 960 * 50 if n % 2 and n > 50 else 960 * n, 101 if n % 2 and n > 50 else 96) for n in range(150)]
    ),
    "two codecs in turn": odd([(n, n, (160, 960)[n % 2] * n, (8, 96)[n % 2]) for n in range(150)]),
    "every second number, anew": odd([(n, 2 * n + 20_000 * (n > 75), 160 * n, 8) for n in range(150)]),
    "every second number, time anew": odd([(n, 2 * n, 160 * n + (n > 75) * 2**31, 8) for n in range(150)]),
    "every second lost, of another clock": odd([(n, n, 1_280 * n, 8) for n in range(0, 300, 2)]),
    "every second lost, of a type nobody offered": odd(
        [(n, n, 160 * n, 8 if n < 75 else 77) for n in range(0, 150, 2)]
    ),
    "silences, half of it lost, 300 ms of jitter": odd(
        [(35 * n + Random(n).random() * 15, n, 5_600 * n, 8) for n in range(0, 150, 2)]
    ),
    "a burst after the network stood still": odd([(n if n < 50 else 100, n, 160 * n, 8) for n in range(0, 150)]),
}


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_an_odd_sender_loses_nothing_but_what_waits_at_the_end(sent: list[tuple[float, bytes]]) -> None:
    for cuts in (1, 25):
        track = fresh()
        found = set(packets_of(heard(track, sent, cuts)))
        lost = [k for k, (_, packet) in enumerate(sent) if packet not in found]
        assert len(lost) <= 3 and lost[:1] >= [len(sent) - 4] * bool(lost)
        assert track.reception.foreign == 0


STARTS = {
    "numbers anew": (40_000, 0, 8, 0),
    "numbers anew, behind": (-9_000, 0, 8, 0),
    "time anew": (0, 3_000_000_000, 8, 0),
    "time back": (0, -40_000, 8, 0),
    "both": (20_000, 77_777_777, 8, 0),
    "another codec": (0, 0, 96, 0),
    "a type nobody offered": (0, 0, 77, 0),
    "after a silence": (20_000, 1_234_567, 8, 400),
}


@pytest.mark.parametrize("how", STARTS.values(), ids=STARTS)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.sampled_from([(0, 1, 2, 3), (1, 0, 2, 3), (0, 2, 1, 3), (0, 2, 3)]), cuts=st.integers(1, 25))
def test_a_sender_that_starts_anew_loses_nothing(
    how: tuple[int, int, int, int], order: tuple[int, ...], cuts: int
) -> None:
    """Also where its first packets come out of order, or one of them never."""
    numbers, time, kind, later = how
    before = [(n, voice(n)) for n in range(50)]
    anew = [(n + later, voice(n + numbers, 160 * n + time, kind)) for n in range(50, 100)]
    sent = [*before, *((anew[0][0] + n, anew[each][1]) for n, each in enumerate(order)), *anew[4:]]
    track = fresh()
    kept = [packet for _, packet in stored(heard(track, sent, cuts))]
    assert sorted(kept) == sorted(packet for _, packet in sent)
    assert (track.reception.packets, track.reception.foreign, track.probation.unproven) == (len(sent), 0, ())


VIDEO = replace(SPEC, payloads=((97, "H264", 90_000),), continuous=False)
IN_FULL = {
    # events have the time of their beginning, however long they last and whatever is sent between them
    "keys pressed and comfort noise": (
        SPEC,
        [
            *((n, voice(n)) for n in range(20)),
            *((20 + n, voice(20 + n, 160 * (20 if n % 2 else 20 + n), 101 if n % 2 else 8)) for n in range(200)),
            (220, header.build(13, 220, 160 * 220, 7, b"\x40")),
        ],
    ),
    "pictures out of order in time": (
        VIDEO,
        [(n, voice(n, 3_000 * (n + (2 if n % 3 == 0 else -1)), 97)) for n in range(10, 100)],
    ),
    "the last packet before a jump comes after it": (
        SPEC,
        [(n, voice(number)) for n, number in enumerate([*range(20), 40_000, 20, *range(40_001, 40_020)])],
    ),
}


@pytest.mark.parametrize(("spec", "sent"), IN_FULL.values(), ids=IN_FULL)
def test_an_odd_order_is_stored_in_full(spec: StreamSpec, sent: list[Packet]) -> None:
    for cuts in (1, 2, 3, 10):
        track = fresh(spec)
        assert sorted(packets_of(heard(track, sent, cuts))) == sorted(packet for _, packet in sent)
        assert track.probation.unproven == ()


def test_a_sender_whose_clock_is_none_is_recorded_all_the_same() -> None:
    sent = [(n, voice(n, 2_654_435_761 * n)) for n in range(100)]
    for cuts in (1, 2, 10):
        kept = packets_of(heard(fresh(), sent, cuts))
        assert kept == [packet for _, packet in sent[: len(kept)]] and len(kept) >= 99


def test_packets_on_probation_survive_their_worker() -> None:
    sent = [*((n, voice(n)) for n in range(20)), *((n, voice(n + 30_000)) for n in range(20, 40))]
    track, out = fresh(), list[bytes]()
    for each in sent:
        out += heard(track, [each], 1)
        track = successor_of(track)
    assert packets_of(out) == [packet for _, packet in sent]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 65_535), st.integers(0, 2**32 - 1), st.sampled_from([0, 8, 77, 96, 101])), max_size=80
    )
)
def test_property_nothing_is_stored_twice_and_few_packets_wait(sent: list[tuple[int, int, int]]) -> None:
    track = fresh()
    packets = [(n, voice(number, ts, kind, tone=n % 256)) for n, (number, ts, kind) in enumerate(sent)]
    found = stored(heard(track, packets, 3))
    assert len(track.probation.unproven) <= MOST
    assert len({number for number, _ in found}) == len(found) == track.reception.packets
    counted = (
        track.reception.packets
        + track.reception.foreign
        + track.reception.duplicates
        + track.reception.late
        + len(track.probation.unproven)
    )
    assert counted == len(sent)
