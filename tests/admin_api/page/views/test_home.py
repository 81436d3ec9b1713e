"""The first page after signing in."""

from __future__ import annotations

import pytest

from admin_api.http.permissions import Role


@pytest.mark.parametrize(
    ("role", "first"), [(Role.LISTENER, "/calls"), (Role.AUDITOR, "/audit"), (Role.OPERATOR, "/incidents")]
)
def test_the_first_view_of_the_menu_is_home(browse, role, first):
    assert browse(role).get("/").headers["location"] == first
