"""Several dialogs of one call are found by the names the client gives it, never by a guess (duty F8)."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal import Personal
from sip.siprec.call_names import MAX_NAMES, CallName, Sureness, call_group, call_names
from tests.plain_values import plain

PlainCallName: Any = CallName
"""With its values in the clear, as `plain` returns them."""

NEAR, FAR = "f845891467cf5c2189987435807bd432", "1aa1123b8825c906d03681ba23102629"


def wrapped(*pairs: tuple[str, str]) -> list[tuple[str, Personal[str]]]:
    return [(kind, Personal(value)) for kind, value in pairs]


def group(*pairs: tuple[str, str]) -> str | None:
    found = call_group(call_names(wrapped(*pairs)))
    return plain(found.key) if found else None


def first_shared(ours: Sequence[CallName], theirs: Sequence[CallName]) -> CallName | None:
    other = {(name.kind, name.value) for name in theirs}
    return next((name for name in ours if (name.kind, name.value) in other), None)


def test_both_ends_of_a_built_in_bridge_share_a_reference_f8() -> None:
    near = call_names(wrapped(("x-refci", "82731258"), ("x-nearendclusterid", "CCM1-Cluster")))
    far = call_names(
        wrapped(("x-refci", "82731258"), ("x-farendrefci", "82730980"), ("x-nearendclusterid", "CCM1-Cluster"))
    )
    name = first_shared(near, far)
    assert plain(name) == PlainCallName("x-refci", "82731258@ccm1-cluster", Sureness.STATED)
    other = call_names(wrapped(("x-refci", "82731258"), ("x-nearendclusterid", "CCM2-Cluster")))
    assert first_shared(near, other) is None


def test_swapped_halves_of_a_session_id_match() -> None:
    one = call_names(wrapped(("session-id", f"{NEAR};remote={FAR}")))
    two = call_names(wrapped(("sip-session-id", f"{FAR.upper()};\r\n remote={NEAR}")))
    name = first_shared(one, two)
    assert name is not None and (name.kind, name.sure) == ("session-id", Sureness.STATED)


def test_one_tracking_id_in_header_and_metadata_is_one_name() -> None:
    assert group(("ext-tracking-id", "2034:2")) == group(("broadworks-correlation", "2034:2")) == "broadworks:2034:2"


def test_a_transfer_that_begins_a_new_dialog_stays_in_its_group() -> None:
    """Duties F4, X3."""
    before = call_names(wrapped(("session", "20260729201721000631"), ("group", "58cc3154ca0bdd2b0efbf9a04139526e")))
    after = call_names(wrapped(("session", "20260729201733000777"), ("group", "58cc3154ca0bdd2b0efbf9a04139526e")))
    name = first_shared(before, after)
    assert name is not None and (name.kind, name.sure) == ("group", Sureness.LIKELY)
    assert call_group(before) != call_group(after)


def test_a_uuid_is_the_same_in_every_spelling() -> None:
    spellings = (
        "urn:uuid:139FF134-7094-4ea9-a4a4-73f0c45e6a23",
        "139ff134-7094-4ea9-a4a4-73f0c45e6a23",
        "E5/xNHCUTqmkpHPwxF5qIw==",
    )
    assert len({group(("session", spelling)) for spelling in spellings}) == 1


@pytest.mark.parametrize("value", ["", "1", "0", f"00000000-{'0000-' * 3}000000000000", f"{'A' * 22}==", "12345"])
def test_a_name_that_cannot_tell_calls_apart_is_none(value: str) -> None:
    assert group(("session", value), ("group", value), ("ucid", value)) is None


def test_the_group_stays_when_lesser_names_are_added() -> None:
    more = (("group", "a1b2c3d4"), ("ucid", "0001000758A20EFA"), ("gcid", "x1y2z3"))
    assert group(("ucid", "0001000758A20EFA")) == group(*more)


def test_ids_of_people_or_one_leg_do_not_name_a_call() -> None:
    assert group(("call-id", "callhalf-1-2345@192.0.2.10:0"), ("user-to-user", "hello world")) is None


def test_a_dialog_of_many_calls_has_a_bounded_number_of_names() -> None:
    assert len(call_names(("session", Personal(f"session-{n}")) for n in range(500))) == MAX_NAMES


KINDS = st.sampled_from(("session", "session-id", "x-refci", "group", "ucid", "x"))


@given(st.lists(st.tuples(KINDS, st.text(max_size=60))))
def test_any_pairs_give_names_shared_with_themselves_property(pairs: list[tuple[str, str]]) -> None:
    names = call_names(wrapped(*pairs))
    name = first_shared(names, names[::-1])
    assert (name is None) == (not names)
    assert all(len(plain(each.value)) >= 6 for each in names)
