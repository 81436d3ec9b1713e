"""The keys of a stream, without the stream."""

from dataclasses import replace

from media.spec import StreamSpec
from media.srtp.srtcp import Srtcp
from media.stream.reception import Reception
from media.stream.srtp_keys import EARLY, NO_CHECK, UNCOMMITTED, SrtpKeys
from tests.media.stream.lanes import FIRST_ARRIVAL, SUITE
from tests.media.stream.test_srtp_recovery import Sender, key_of

OURS, THEIRS, NEXT = key_of(SUITE, 9), key_of(SUITE, 1), key_of(SUITE, 2)
SPEC = StreamSpec(0, SUITE, THEIRS, own_key=OURS)


def test_a_plain_stream_has_no_keys() -> None:
    keys = SrtpKeys(StreamSpec(0))
    assert (keys.keyring, keys.check, keys.protect(bytes(8)), keys.open_rtcp(bytes(8), own_port=True)) == (
        None, NO_CHECK, None, None,
    )  # fmt: skip


def test_packets_that_came_long_before_the_offer_are_not_opened() -> None:
    keys = SrtpKeys(SPEC)
    keys.keep(Sender(SUITE, NEXT).protect(1, 1)[0], FIRST_ARRIVAL)
    keys.change(replace(SPEC, key=NEXT), SPEC)
    assert list(keys.open_early(Reception(), FIRST_ARRIVAL + EARLY + 1)) == []


def test_a_successor_uses_no_srtcp_index_twice() -> None:
    keys, reception = SrtpKeys(SPEC), Reception()
    reports = [keys.protect(bytes((0x80, 201, 0, 1, 0, 0, 0, 7))) for _ in range(3)]
    successor = SrtpKeys(SPEC)
    successor.restore(SPEC, reception, keys.check, keys.reports)
    reports.append(successor.protect(bytes((0x80, 201, 0, 1, 0, 0, 0, 7))))
    receiver = Srtcp(SUITE, OURS)
    assert all(isinstance(receiver.unprotect(each or b""), bytes) for each in reports)
    assert successor.reports == keys.reports + UNCOMMITTED + 1


def test_the_key_in_use_is_told_from_others_without_telling_it() -> None:
    keys, other = SrtpKeys(SPEC), SrtpKeys(replace(SPEC, key=NEXT))
    assert keys.check != other.check
    assert keys.check not in THEIRS
