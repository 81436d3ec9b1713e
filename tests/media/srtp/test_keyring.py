"""Keys of a stream: an old one goes on for a while, a forged packet never chooses one."""

from pylibsrtp import Policy, Session

from media.rtp import header
from media.spec import MAX_CONTEXTS
from media.srtp.keyring import OVERLAP, SEARCH_INTERVAL, Keyring

SUITE = "AES_CM_128_HMAC_SHA1_80"
OLD, NEW, NEWEST = bytes(range(30)), bytes(range(1, 31)), bytes(range(2, 32))


def sender(key: bytes) -> Session:
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))


def packet(number: int, ssrc: int = 7) -> bytes:
    return header.build(8, number, number * 160, ssrc, bytes(160))


def opens(ring: Keyring, client: Session, number: int, at: int, ssrc: int = 7, known: tuple[int, ...] = (7,)) -> bool:
    """Return whether a ring opens the packet of this number of a client."""
    return ring.open(client.protect(packet(number, ssrc)), at, known) == packet(number, ssrc)


def joined(*sources: int, until: int) -> Session:
    """Give a client that has sent for long from some sources, nobody having heard it."""
    client = sender(OLD)
    for index in range(0, until, 0x7000):
        for ssrc in sources:
            client.protect(packet(index, ssrc))
    return client


def keys_of(ring: Keyring) -> list[bytes]:
    return [each.key for each in ring.contexts]


def test_a_new_key_waits_and_the_old_one_overlaps() -> None:
    ring, old, new = Keyring(SUITE, OLD), sender(OLD), sender(NEW)
    assert opens(ring, old, 1, 1, known=())
    assert [ring.add(SUITE, NEW), ring.add(SUITE, NEW)] == [True, False]
    late = old.protect(packet(2))
    assert opens(ring, new, 3, 2, known=()) and ring.switched
    assert ring.open(late, 3, ()) == packet(2)
    assert opens(ring, new, 4, 4, known=())
    ring.expire(5 + OVERLAP)
    assert not opens(ring, old, 5, 6)


def test_lower_numbers_under_a_new_key_are_no_replay() -> None:
    """Who begins its numbers anew with a key: libsrtp tells them from replays before it looks at any key."""
    for number in (100, 600):
        ring, old, new = Keyring(SUITE, OLD), sender(OLD), sender(NEW)
        heard = [old.protect(packet(each)) for each in (400, 600)]
        assert [ring.open(each, 1, ()) for each in heard] == [packet(400), packet(600)]
        ring.add(SUITE, NEW)
        assert [ring.open(each, 2, (7,)) for each in heard] == [10, 9]  # these are replays
        assert ring.open(new.protect(packet(number)), 3, (7,)) == packet(number)


def test_a_key_offered_during_an_overlap_outlasts_it() -> None:
    """A speaker who is silent for a while, without comfort noise, begins under it."""
    ring = Keyring(SUITE, OLD)
    ring.add(SUITE, NEW)
    assert opens(ring, sender(NEW), 1, 1, known=())
    ring.add(SUITE, NEWEST)
    ring.expire(2 + OVERLAP)
    assert keys_of(ring) == [NEW, NEWEST]
    assert opens(ring, sender(NEWEST), 2, 3 + OVERLAP)
    ring.expire(4 + 2 * OVERLAP)
    assert keys_of(ring) == [NEWEST]


def test_an_unused_key_is_dropped_once_a_newer_one_is_used() -> None:
    """As with a client that has another key for each hold: who forges packets would have all of them tried for ever."""
    ring = Keyring(SUITE, OLD)
    for key in (NEW, NEWEST):
        ring.add(SUITE, key)
    assert opens(ring, sender(NEWEST), 1, 1, known=())
    ring.expire(2 + OVERLAP)
    assert keys_of(ring) == [NEWEST]


def test_an_old_key_offered_again_continues_its_counter() -> None:
    ring, old = Keyring(SUITE, OLD), sender(OLD)
    heard = old.protect(packet(1))
    assert ring.open(heard, 1, ()) == packet(1)
    ring.add(SUITE, NEW)
    assert opens(ring, sender(NEW), 2, 2, known=())
    assert [ring.add(SUITE, OLD), ring.add(SUITE, OLD)] == [False, False]
    ring.expire(3 + OVERLAP)
    assert isinstance(ring.open(heard, 4 + OVERLAP, (7,)), int)
    assert opens(ring, old, 3, 5 + OVERLAP)


def test_two_sources_joined_in_mid_call_are_both_heard_for_long() -> None:
    """Each has a context of its own under the one key."""
    ring, both = Keyring(SUITE, OLD), joined(7, until=70_000)
    for index in range(0, 70_000, 0x7000):
        both.protect(packet(index + 65_536, 9))
    for number, ssrc in enumerate((7, 9)):
        assert opens(ring, both, 70_000, number * SEARCH_INTERVAL + 1, ssrc, ())
    ring.expire(2 * SEARCH_INTERVAL + OVERLAP)
    assert all(opens(ring, both, 70_001, 3 * OVERLAP, ssrc, (7, 9)) for ssrc in (7, 9))


def test_a_replay_in_one_context_of_a_key_is_one_in_all() -> None:
    """The other one knows nothing of that source, and would take it for the first packet."""
    ring, client = Keyring(SUITE, OLD), joined(7, until=70_000)
    assert opens(ring, client, 70_000, 1, known=()) and len(ring.contexts) == 2
    other = client.protect(packet(100, 9))
    assert [ring.open(other, 2, (7,)), ring.open(other, 3, (7, 9))] == [packet(100, 9), 9]


def test_a_forged_packet_changes_neither_key_nor_counter() -> None:
    ring, genuine = Keyring(SUITE, OLD), sender(OLD)
    assert opens(ring, genuine, 1, 1, known=())
    before = (ring.check, ring.session, len(ring.contexts))
    assert not any(opens(ring, sender(NEW), number, number) for number in range(2, 50))
    assert (ring.check, ring.session, len(ring.contexts)) == before
    assert opens(ring, genuine, 2, 60)


def test_a_rollover_counter_is_searched_once_a_second_at_most() -> None:
    ring, late = Keyring(SUITE, OLD), joined(7, until=2 * 65536 + 500).protect(packet(2 * 65536 + 600))
    assert not opens(ring, sender(NEW), 9, SEARCH_INTERVAL, known=())
    assert isinstance(ring.open(late, SEARCH_INTERVAL + 1, ()), int)
    assert ring.open(late, 2 * SEARCH_INTERVAL, ()) == packet(2 * 65536 + 600)
    assert ring.rollover == 2


def test_the_first_packet_may_overtake_the_one_before_the_wrap() -> None:
    """What looks for the counter of a source must not take for heard what was only overtaken."""
    ring, early = Keyring(SUITE, OLD), sender(OLD)
    overtaken, first = early.protect(packet(65_535)), early.protect(packet(65_536))
    assert ring.open(first, 1, ()) == packet(65_536) and ring.rollover == 1
    assert ring.open(overtaken, 2, (7,)) == packet(65_535)


def test_a_successor_walks_on_only_under_the_same_key() -> None:
    ring, after = Keyring(SUITE, OLD), Keyring(SUITE, OLD)
    assert not Keyring(SUITE, NEW).restore_indexes(ring.check, [(7, 70_000)])
    assert after.restore_indexes(ring.check, [(7, 70_000)])
    assert opens(after, joined(7, until=70_000), 70_001, 1)


def test_a_successor_continues_under_the_key_in_use() -> None:
    ring, after = Keyring(SUITE, OLD), Keyring(SUITE, NEW)
    after.precede([(SUITE, OLD, 0), (SUITE, NEW, 0)])
    assert after.restore_indexes(ring.check, [(7, 1)]) and after.check == ring.check
    after.contexts[0].shift = 0
    assert opens(after, sender(OLD), 2, 1) and not after.switched
    assert opens(after, sender(NEW), 3, 2) and after.switched


def test_a_successor_drops_keys_before_the_one_in_use() -> None:
    keys = [bytes([n]) * 30 for n in range(MAX_CONTEXTS)]
    after, ring = Keyring(SUITE, keys[-1]), Keyring(SUITE, keys[2])
    after.precede([(SUITE, key, 0) for key in keys])
    assert after.restore_indexes(ring.check, [(7, 1)])
    after.contexts[0].shift = 0
    after.expire(1)
    after.expire(2 + OVERLAP)
    assert keys_of(after) == keys[2:]
    assert all(opens(after, sender(key), number, number) for number, key in enumerate(keys[3:], 2))


def test_several_keys_of_one_line_are_used_in_turn() -> None:
    """RFC 4568 section 6.1; a key of a line before is forgotten as ever, with all that were offered beside it."""
    first, second = [bytes([n]) * 30 for n in (1, 2)], [bytes([n]) * 30 for n in (3, 4, 5)]
    ring, senders = Keyring(SUITE, first[0], 0, first[1:]), {key: sender(key) for key in (*first, *second)}
    number = 0
    for key in (first[0], first[1], first[1], first[0], first[1], first[0]):
        number += 1
        assert ring.open(senders[key].protect(packet(number)), number * 2 * OVERLAP, (7,)) == packet(number)
        ring.shift(number)
        ring.expire(number * 2 * OVERLAP + OVERLAP + 1)
    assert ring.add(SUITE, second[0], 0, second[1:])
    assert not ring.add(SUITE, second[0], 0, second[1:])
    began = 2 * number * OVERLAP
    for key in (second[1], second[2], second[0], second[2]):
        number += 1
        assert ring.open(senders[key].protect(packet(number)), began, (7,)) == packet(number)
        began += OVERLAP // 3  # however often they change, those of before are not kept for it
    ring.expire(began)
    assert {each.key for each in ring.contexts} == set(second)


def test_the_other_keys_of_a_repeated_line_wait() -> None:
    ring = Keyring(SUITE, OLD, 0, (NEW,))
    for again in range(3):
        ring.add(SUITE, OLD, 0, (NEW,))
        assert ring.open(sender(OLD).protect(packet(again)), again, (7,)) == packet(again)
        ring.expire(again + OVERLAP)
        assert [each.key for each in ring.contexts] == [OLD, NEW]


def test_a_successor_of_a_line_with_two_keys_has_both() -> None:
    for used in (OLD, NEW):
        ring, client = Keyring(SUITE, OLD, 0, (NEW,)), {key: sender(key) for key in (OLD, NEW)}
        assert ring.open(client[used].protect(packet(1)), 1, ()) == packet(1)
        after = Keyring(SUITE, OLD, 0, (NEW,))
        after.precede([(SUITE, bytes(30), 0), (SUITE, OLD, 0), (SUITE, NEW, 0)])
        assert after.restore_indexes(ring.check, [(7, 1)])
        after.contexts[0].shift = 0
        after.expire(1)
        after.expire(2 + OVERLAP)
        assert {each.key for each in after.contexts} == {OLD, NEW}
        for number, key in enumerate((NEW, OLD), 2):
            assert after.open(client[key].protect(packet(number)), number, (7,)) == packet(number)


def identified(protected: bytes, mki: bytes) -> bytes:
    """The packet with an identifier before its tag."""
    return protected[:-10] + mki + protected[-10:]


def test_a_key_offered_again_with_an_mki_is_also_heard_without() -> None:
    """As who adds a second key does; they carry no identifier before, and all of them do after."""
    ring, client = Keyring(SUITE, OLD), {key: sender(key) for key in (OLD, NEW)}
    assert ring.open(client[OLD].protect(packet(1)), 1, ()) == packet(1)
    assert ring.add(SUITE, OLD, 4, (NEW,))
    late = client[OLD].protect(packet(2))
    for number, key in enumerate((OLD, NEW, OLD), 3):
        plain = ring.open(identified(client[key].protect(packet(number)), bytes(4)), number, (7,))
        assert plain == packet(number)
    assert ring.open(late, 6, (7,)) == packet(2)
    assert ring.open(identified(client[OLD].protect(packet(7)), bytes(4)), 7, (7,)) == packet(7)
    ring.expire(8 + OVERLAP)
    assert {(each.key, each.mki) for each in ring.contexts} == {(OLD, 4), (NEW, 4)}
