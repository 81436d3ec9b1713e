"""Keys of a stream: an old one goes on for a while, a forged packet never chooses one."""

import itertools

from pylibsrtp import Policy, Session

from media import rtp
from media.keyring import MAX_CONTEXTS, OVERLAP, SEARCH_INTERVAL, Keyring

SUITE = "AES_CM_128_HMAC_SHA1_80"
OLD, NEW = bytes(range(30)), bytes(range(1, 31))


def sender(key: bytes) -> Session:
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))


def packet(number: int, ssrc: int = 7) -> bytes:
    return rtp.build(8, number, number * 160, ssrc, bytes(160))


def test_a_new_key_waits_for_its_first_packet_and_the_old_one_is_kept_for_a_while() -> None:
    ring, old, new = Keyring(SUITE, OLD), sender(OLD), sender(NEW)
    assert ring.open(old.protect(packet(1)), 1, ()) == packet(1)
    assert ring.add(SUITE, NEW)
    assert not ring.add(SUITE, NEW)
    late = old.protect(packet(2))
    assert ring.open(new.protect(packet(3)), 2, ()) == packet(3)
    assert ring.switched
    assert ring.open(late, 3, ()) == packet(2)
    ring.open(new.protect(packet(4)), 4, ())
    ring.expire(5 + OVERLAP)
    assert isinstance(ring.open(old.protect(packet(5)), 6, (7,)), int)


def test_a_key_that_was_offered_before_the_first_packet_of_the_old_one_waits_all_the_same() -> None:
    ring, old, new = Keyring(SUITE, OLD), sender(OLD), sender(NEW)
    ring.add(SUITE, NEW)
    assert ring.open(old.protect(packet(1)), 1, ()) == packet(1)
    ring.expire(2 + OVERLAP)
    assert ring.open(new.protect(packet(2)), 3 + OVERLAP, (7,)) == packet(2)


def test_a_forged_packet_changes_neither_key_nor_counter() -> None:
    ring, genuine = Keyring(SUITE, OLD), sender(OLD)
    ring.open(genuine.protect(packet(1)), 1, ())
    before = (ring.check, ring.session, len(ring.contexts))
    for number in range(2, 50):
        assert isinstance(ring.open(sender(NEW).protect(packet(number)), number, (7,)), int)
    assert (ring.check, ring.session, len(ring.contexts)) == before
    assert ring.open(genuine.protect(packet(2)), 60, (7,)) == packet(2)


def test_a_rollover_counter_is_searched_once_a_second_at_most() -> None:
    ring, joined = Keyring(SUITE, OLD), sender(OLD)
    for index in range(0, 2 * 65536 + 500, 0x7000):
        joined.protect(packet(index))
    late = joined.protect(packet(2 * 65536 + 600))
    assert isinstance(ring.open(sender(NEW).protect(packet(9)), SEARCH_INTERVAL, ()), int)
    assert isinstance(ring.open(late, SEARCH_INTERVAL + 1, ()), int)
    assert ring.open(late, 2 * SEARCH_INTERVAL, ()) == packet(2 * 65536 + 600)
    assert ring.rollover == 2


def test_the_first_packet_may_overtake_the_one_before_the_wrap() -> None:
    """What looks for the counter of a source must not take for heard what was only overtaken."""
    ring, early = Keyring(SUITE, OLD), sender(OLD)
    overtaken, first = early.protect(packet(65_535)), early.protect(packet(65_536))
    assert ring.open(first, 1, ()) == packet(65_536) and ring.rollover == 1
    assert ring.open(overtaken, 2, (7,)) == packet(65_535)


def test_keys_are_bounded() -> None:
    ring = Keyring(SUITE, OLD)
    for n in range(50):
        ring.add(SUITE, bytes([n]) * 30)
    assert len(ring.contexts) <= MAX_CONTEXTS


def test_a_successor_walks_on_only_under_the_same_key() -> None:
    ring = Keyring(SUITE, OLD)
    assert not Keyring(SUITE, NEW).walk(ring.check, [(7, 70_000)])
    joined = sender(OLD)
    for index in range(0, 70_000, 0x7000):
        joined.protect(packet(index))
    after = Keyring(SUITE, OLD)
    assert after.walk(ring.check, [(7, 70_000)])
    assert after.open(joined.protect(packet(70_001)), 1, (7,)) == packet(70_001)


def test_a_successor_goes_on_under_the_key_in_use_though_an_offer_has_brought_another() -> None:
    ring, after = Keyring(SUITE, OLD), Keyring(SUITE, NEW)
    after.add(SUITE, OLD)
    assert after.walk(ring.check, [(7, 1)])
    assert after.check == ring.check
    after.contexts[0].shift = 0
    assert after.open(sender(OLD).protect(packet(2)), 1, (7,)) == packet(2) and not after.switched
    assert after.open(sender(NEW).protect(packet(3)), 2, (7,)) == packet(3) and after.switched


def test_a_key_whose_first_packet_is_still_to_come_is_not_given_up_for_a_newer_one() -> None:
    """A client that offers a new key with every hold, some times in a few seconds."""
    keys = [bytes([n]) * 30 for n in range(20)]
    ring = Keyring(SUITE, keys[0])
    for number, (key, following) in enumerate(itertools.pairwise(keys)):
        ring.add(SUITE, following)
        assert ring.open(sender(key).protect(packet(number)), number, (7,)) == packet(number)
        ring.shift(number)
        assert len(ring.contexts) <= MAX_CONTEXTS
