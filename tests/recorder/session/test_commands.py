"""Commands are values, and records have the numbers of the format."""

from __future__ import annotations

from media.records import record_format
from recorder.session import commands as c


def test_every_command_is_a_frozen_value() -> None:
    kinds = [kind for kind in c.Command.__args__ if not issubclass(kind, tuple)]
    assert all(kind.__dataclass_params__.frozen for kind in kinds)


def test_control_records_are_those_a_media_reader_passes_over() -> None:
    assert [k.value for k in c.Kept] == [16, 17, 18, 19, 20]
    assert record_format.Other is not None
