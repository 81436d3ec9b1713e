"""One's own account: password, authenticator app, passkeys. Everything that changes it asks for the password first."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from admin_api.access.accounts_port import App, Busy, Declined, Household, Person, Tell
from admin_api.http.authorised_request import REFUSED
from admin_api.http.problems import Problem
from admin_api.page.framework.page_request import View, Visit
from admin_api.page.sign_in import qr
from admin_api.page.sign_in.login_session import AGAIN, APP, BUSY, DIFFERENT, PASSWORD, note, origin, telling

PASSKEY, RECOVERY, DROP = "account.passkey", "account.recovery", "account.drop"
"""What stands in the audit log."""
WRONG_PASSWORD = "This is not your password."
SAID = {
    "password": "Your password was changed. Sessions that were open elsewhere have ended.",
    "app": "Your authenticator app is on file.",
    "passkey": "The passkey is on file.",
    "dropped": "It was removed. Sessions that were open elsewhere have ended.",
}
Act = Callable[[Household, Person, Tell], Awaitable[Response]]
"""What is done once the password was right; calls what it is given before it changes anything."""
_APP, _DEVICE = "app", "device"
_TRIES = "tries"
MAX_TRIES = 5  # wrong passwords in one session; whoever sits at somebody else's desk does not get to guess on


async def show(visit: Visit) -> Response:
    """Show what is on file."""
    return _shown(visit, said=SAID.get(visit.request.query_params.get("said", ""), ""))


async def password(visit: Visit) -> Response:
    """Set another password."""

    async def change(household: Household, person: Person, tell: Tell) -> Response:
        if visit.one("new") != visit.one("again"):
            raise Declined(DIFFERENT)
        visit.session.renew(await household.change_password(person, visit.one("password"), visit.one("new"), tell))
        return visit.moved("/account?said=password")

    return await _do(visit, PASSWORD, change)


async def begin_app(visit: Visit) -> Response:
    """Show a new secret for an authenticator app."""

    async def begin(household: Household, person: Person, _: Tell) -> Response:
        app = household.new_app(person)
        visit.session.kept[_APP] = app
        return _app(visit, app)

    return await _do(visit, APP, begin)


async def end_app(visit: Visit) -> Response:
    """Put the app on file if it shows the right code."""
    app = visit.session.kept.get(_APP)
    if not isinstance(app, App):
        return _shown(visit, status=422, trouble=AGAIN)
    household, person = _whose(visit)
    try:
        codes = await household.add_app(person, app.secret, visit.one("code"), _telling(visit, person, APP))
    except Declined as declined:
        return _app(visit, app, status=422, trouble=str(declined))
    visit.session.kept.pop(_APP, None)  # gone already if the form was sent twice at once
    return _added(visit, codes, "app")


async def begin_device(visit: Visit) -> Response:
    """Ask the browser for a new passkey."""

    async def begin(household: Household, person: Person, _: Tell) -> Response:
        challenge = household.new_device(person, origin(household, visit.request))
        visit.session.kept[_DEVICE] = challenge.state
        return visit.page("account_passkey.html", options=json.dumps(challenge.options))

    return await _do(visit, PASSKEY, begin)


async def end_device(visit: Visit) -> Response:
    """Put the passkey on file."""
    state = visit.session.kept.pop(_DEVICE, None)
    if state is None:
        return _shown(visit, status=422, trouble=AGAIN)
    household, person = _whose(visit)
    try:
        place = origin(household, visit.request)
        tell = _telling(visit, person, PASSKEY)
        codes = await household.add_device(person, place, state, visit.one("answer"), visit.one("label"), tell)
    except Declined as declined:
        return _shown(visit, status=422, trouble=str(declined))
    return _added(visit, codes, "passkey")


async def renew_codes(visit: Visit) -> Response:
    """Show new recovery codes, once."""

    async def renew(household: Household, person: Person, tell: Tell) -> Response:
        return visit.secret("codes.html", "/account", codes=await household.renew_codes(person, tell))

    return await _do(visit, RECOVERY, renew)


async def drop(visit: Visit) -> Response:
    """Take the app or a passkey off the file."""

    async def away(household: Household, person: Person, tell: Tell) -> Response:
        visit.session.renew(await household.drop(person, visit.one("device"), tell))
        return visit.moved("/account?said=dropped")

    return await _do(visit, DROP, away)


async def _do(visit: Visit, action: str, act: Act) -> Response:
    """Do something once the password is right; say what was wrong if it cannot be done."""
    household, person = _whose(visit)
    kept = visit.session.kept
    kept[_TRIES] = kept.get(_TRIES, 0) + 1  # before it is judged: a hundred at once are a hundred tries
    try:
        if kept[_TRIES] > MAX_TRIES or not await household.confirm(person, visit.one("password")):
            await note(person, action, REFUSED, "password", visit.session.principal.source)
            return _shown(visit, status=422, trouble=WRONG_PASSWORD)
        kept.pop(_TRIES, None)
        return await act(household, person, _telling(visit, person, action))
    except Declined as declined:
        return _shown(visit, status=422, trouble=str(declined))
    except Busy:
        kept[_TRIES] = max(0, kept.get(_TRIES, 0) - 1)
        return _shown(visit, status=503, trouble=BUSY)


def _telling(visit: Visit, person: Person, action: str) -> Tell:
    return telling(person, action, "", visit.session.principal.source)


def _added(visit: Visit, codes: Sequence[str], said: str) -> Response:
    if codes:
        onward = f"/account?said={said}"
        return visit.secret("codes.html", onward, codes=codes)
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
