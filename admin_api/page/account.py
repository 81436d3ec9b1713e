"""One's own account: password, authenticator app, passkeys. Everything that changes it asks for the password first."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from admin_api.errors import Problem
from admin_api.household import App, Busy, Declined, Household, Person
from admin_api.page import qr
from admin_api.page.entering import note, origin
from admin_api.page.views import View
from admin_api.page.visit import Visit
from admin_api.request import DONE, REFUSED

PASSWORD, APP, PASSKEY = "account.password", "account.app", "account.passkey"
RECOVERY, DROP = "account.recovery", "account.drop"
"""What stands in the audit log."""
DIFFERENT = "The two passwords are not the same."
WRONG_PASSWORD = "This is not your password."
BUSY = "Too many people are signing in. Try again in a moment."
BEGIN_AGAIN = "That took too long. Begin again."
SAID = {
    "password": "Your password was changed. Sessions that were open elsewhere have ended.",
    "app": "Your authenticator app is on file.",
    "passkey": "The passkey is on file.",
    "dropped": "It was removed. Sessions that were open elsewhere have ended.",
}
_APP, _DEVICE = "app", "device"
_TRIES = "tries"
MAX_TRIES = 5  # wrong passwords in one session; whoever sits at somebody else's desk does not get to guess on


async def show(visit: Visit) -> Response:
    """Show what is on file."""
    return _shown(visit, said=SAID.get(visit.request.query_params.get("said", ""), ""))


async def password(visit: Visit) -> Response:
    """Set another password."""

    async def change(household: Household, person: Person) -> Response:
        if visit.one("new") != visit.one("again"):
            raise Declined(DIFFERENT)
        visit.session.person = await household.change_password(person, visit.one("password"), visit.one("new"))
        return visit.moved("/account?said=password")

    return await _do(visit, PASSWORD, change)


async def begin_app(visit: Visit) -> Response:
    """Show a new secret for an authenticator app."""

    async def begin(household: Household, person: Person) -> Response:
        app = household.new_app(person)
        visit.session.kept[_APP] = app
        return _app(visit, app)

    return await _do(visit, APP, begin, told=False)


async def end_app(visit: Visit) -> Response:
    """Put the app on file if it shows the right code."""
    app = visit.session.kept.get(_APP)
    if not isinstance(app, App):
        return _shown(visit, status=422, trouble=BEGIN_AGAIN)
    household, person = _whose(visit)
    try:
        codes = await household.add_app(person, app.secret, visit.one("code"))
    except Declined as declined:
        return _app(visit, app, status=422, trouble=str(declined))
    visit.session.kept.pop(_APP, None)  # gone already if the form was sent twice at once
    return await _added(visit, person, APP, codes, "app")


async def begin_device(visit: Visit) -> Response:
    """Ask the browser for a new passkey."""

    async def begin(household: Household, person: Person) -> Response:
        challenge = household.new_device(person, origin(household, visit.request))
        visit.session.kept[_DEVICE] = challenge.state
        return visit.page("account_passkey.html", options=json.dumps(challenge.options))

    return await _do(visit, PASSKEY, begin, told=False)


async def end_device(visit: Visit) -> Response:
    """Put the passkey on file."""
    state = visit.session.kept.pop(_DEVICE, None)
    if state is None:
        return _shown(visit, status=422, trouble=BEGIN_AGAIN)
    household, person = _whose(visit)
    place = origin(household, visit.request)
    try:
        codes = await household.add_device(person, place, state, visit.one("answer"), visit.one("label"))
    except Declined as declined:
        return _shown(visit, status=422, trouble=str(declined))
    return await _added(visit, person, PASSKEY, codes, "passkey")


async def renew_codes(visit: Visit) -> Response:
    """Show new recovery codes, once."""

    async def renew(household: Household, person: Person) -> Response:
        return visit.page("codes.html", codes=await household.renew_codes(person), onward="/account")

    return await _do(visit, RECOVERY, renew)


async def drop(visit: Visit) -> Response:
    """Take the app or a passkey off the file."""

    async def away(household: Household, person: Person) -> Response:
        visit.session.person = await household.drop(person, visit.one("device"))
        return visit.moved("/account?said=dropped")

    return await _do(visit, DROP, away)


async def _do(
    visit: Visit, action: str, act: Callable[[Household, Person], Awaitable[Response]], *, told: bool = True
) -> Response:
    """Do something once the password is right; say what was wrong if it cannot be done.

    `told`: it is done then, and stands in the audit log.
    """
    household, person = _whose(visit)
    kept = visit.session.kept
    try:
        if kept.get(_TRIES, 0) >= MAX_TRIES or not await household.confirm(person, visit.one("password")):
            kept[_TRIES] = kept.get(_TRIES, 0) + 1
            await note(person, action, REFUSED, "password", visit.session.principal.source)
            return _shown(visit, status=422, trouble=WRONG_PASSWORD)
        kept.pop(_TRIES, None)
        answer = await act(household, person)
    except Declined as declined:
        return _shown(visit, status=422, trouble=str(declined))
    except Busy:
        return _shown(visit, status=503, trouble=BUSY)
    if told:
        await note(person, action, DONE, "", visit.session.principal.source)
    return answer


async def _added(visit: Visit, person: Person, action: str, codes: Sequence[str], said: str) -> Response:
    await note(person, action, DONE, "", visit.session.principal.source)
    if codes:
        return visit.page("codes.html", codes=codes, onward=f"/account?said={said}")
    return visit.moved(f"/account?said={said}")


def _app(visit: Visit, app: App, *, status: int = 200, trouble: str = "") -> Response:
    values = {"secret": app.secret, "picture": qr.code(app.link), "trouble": trouble, "step": ""}
    return visit.page("app.html", status=status, **values)


def _shown(visit: Visit, *, status: int = 200, said: str = "", trouble: str = "") -> Response:
    person = visit.session.person
    own = visit.household is not None and person is not None and bool(person.account)
    factors = visit.household.factors(person) if own and visit.household and person else None
    required = visit.household is not None and visit.household.second_factor_required
    return visit.page("account.html", status=status, factors=factors, said=said, trouble=trouble, required=required)


def _whose(visit: Visit) -> tuple[Household, Person]:
    """Return whose account it is; raises Problem 404 where a provider or a test vouches."""
    person = visit.session.person
    if visit.household is None or person is None or not person.account:
        raise Problem(404, "not-found", "Nothing is here", "This session has no account here.")
    return visit.household, person


VIEWS = (
    View("GET", "/account", show),
    View("POST", "/account/password", password),
    View("POST", "/account/app", begin_app),
    View("POST", "/account/app/code", end_app),
    View("POST", "/account/passkey", begin_device),
    View("POST", "/account/passkey/answer", end_device),
    View("POST", "/account/recovery", renew_codes),
    View("POST", "/account/drop", drop),
)
