"""What is seen from outside is what is frozen here; README.md says what that is and how to change it on purpose."""

from __future__ import annotations

import pytest

from tests.surface import looks
from tests.surface.freeze import LIVE, STILL, frozen


@pytest.mark.timeout(900)  # the first that needs a daemon waits for everything that is asked of it
@pytest.mark.parametrize("sheet", [*STILL, *LIVE])
def test_the_surface_is_the_frozen_one(sheet: str) -> None:
    changes = list(looks.differences(frozen(sheet), {**STILL, **LIVE}[sheet]()))
    assert not changes, f"{sheet}.json: " + "; ".join(changes)
