"""How the recorder fares, as the API shows it: each role its own part, nobody another customer's."""

from unittest.mock import AsyncMock, call

import pytest

from admin_api.http.permissions import Role


@pytest.mark.parametrize(
    ("roles", "parts"),
    [([Role.OPERATOR], (False, True)), ([Role.ADMIN], (True, False)), ([Role.ADMIN, Role.OPERATOR], (True, True))],
)
def test_each_role_sees_its_part(service, roles, parts):
    shown = service.ask("/system", token=service.token(roles)).json()
    assert (shown["customer"] is not None, shown["node"] is not None) == parts
    assert service.acts()[-1]["action"] == "system.view"
    assert service.ask("/system?node=1", token=service.token(roles)).status_code == 422


@pytest.mark.parametrize("role", [Role.LISTENER, Role.PRIVACY, Role.APPROVER, Role.AUDITOR])
def test_other_roles_may_not_see_the_system(service, role):
    assert service.ask("/system", role).status_code == 403


def test_the_daemon_is_asked_about_the_own_customer_alone(service):
    service.daemon.system = AsyncMock(return_value={})
    for role in (Role.ADMIN, Role.OPERATOR):
        service.ask("/system", role, customer="beta")
    assert service.daemon.system.await_args_list == [call("beta", node=False), call(None, node=True)]
