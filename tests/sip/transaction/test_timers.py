"""Deadlines."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from sip.transaction.timers import SWEEP_FLOOR, Timers


def test_stale_entries_do_not_pile_up():
    timers, n = Timers(), 10 * SWEEP_FLOOR
    before = sys.getallocatedblocks()
    for at in range(n):
        timers.set(("a", 1), "H", float(at))
    assert sys.getallocatedblocks() - before < n
    assert timers.next() == n - 1


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100), st.booleans())))
def test_it_behaves_like_a_plain_dict(steps):
    timers, model = Timers(), {}
    for owner, at, clear in steps:
        if clear:
            timers.clear(("o", owner), "T")
            model.pop(owner, None)
        else:
            timers.set(("o", owner), "T", at)
            model[owner] = at
    assert timers.next() == min(model.values(), default=None)
    assert all(timers.due_at(("o", owner), "T") == at for owner, at in model.items())
    fired = []
    while (due := timers.pop(1000.0)) is not None:
        fired.append(due[0][1])
    assert sorted(fired) == sorted(model)
    assert [model[o] for o in fired] == sorted(model.values())
