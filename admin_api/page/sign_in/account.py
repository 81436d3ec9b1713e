"""The person's own account: password, authenticator app, passkeys. Every change asks for the password first."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

from starlette.responses import Response

from admin_api.access.accounts_port import AccountService, App, Busy, Declined, Person, WriteAudit
from admin_api.http.messages import Message
from admin_api.http.problems import NOT_FOUND, REFUSED, Problem
from admin_api.page.framework.page_request import PageRequest, view
from admin_api.page.sign_in import qr
from admin_api.page.sign_in.login_session import AGAIN, APP, BUSY, DIFFERENT, PASSWORD, audit_writer, note, origin

PASSKEY, RECOVERY, DROP = "account.passkey", "account.recovery", "account.drop"
"""The action names in the audit log."""
WRONG_PASSWORD = "wrong-password"
CHANGED = ("password", "app", "passkey", "dropped")
"""Codes of the changes that the page confirms after a redirect."""
Act = Callable[[AccountService, Person, WriteAudit], Awaitable[Response | str]]
"""A change made after a correct password; it first calls its last argument, which writes the audit entry."""
_APP, _DEVICE = "app", "device"
_TRIES = "tries"
MAX_TRIES = 5  # wrong passwords in one session; somebody at an unlocked browser cannot keep guessing


@view("GET", "/account")
async def show(request: PageRequest) -> Response:
    """Show the account."""
    changed = request.http.query_params.get("changed", "")
    return _shown(request, changed=changed if changed in CHANGED else "")


@view("POST", "/account/password")
async def password(request: PageRequest) -> Response | str:
    """Change the password."""

    async def change(service: AccountService, person: Person, write_audit: WriteAudit) -> str:
        if request.one("new") != request.one("again"):
            raise Declined(DIFFERENT)
        request.session.renew(
            await service.change_password(person, request.one("password"), request.one("new"), write_audit)
        )
        return "/account?changed=password"

    return await _do(request, PASSWORD, change)


@view("POST", "/account/app")
async def begin_app(request: PageRequest) -> Response | str:
    """Show a new secret for an authenticator app."""

    async def begin(service: AccountService, person: Person, _: WriteAudit) -> Response:
        app = service.new_app(person)
        request.session.kept[_APP] = [app.secret, app.link]
        return _app(request, app)

    return await _do(request, APP, begin)


@view("POST", "/account/app/code")
async def end_app(request: PageRequest) -> Response | str:
    """Set up the app if it shows the right code."""
    kept = request.session.kept.get(_APP)
    if kept is None:
        return _shown(request, status=422, trouble=AGAIN)
    app = App(*kept)
    service, person = _whose(request)
    try:
        codes = await service.add_app(person, app.secret, request.one("code"), _audit_writer(request, person, APP))
    except Declined as declined:
        return _app(request, app, status=422, trouble=str(declined))
    request.session.kept.pop(_APP, None)  # removed already if the form was sent twice at once
    return _added(request, codes, "app")


@view("POST", "/account/passkey")
async def begin_device(request: PageRequest) -> Response | str:
    """Ask the browser for a new passkey."""

    async def begin(service: AccountService, person: Person, _: WriteAudit) -> Response:
        challenge = service.new_device(person, origin(service, request.http))
        request.session.kept[_DEVICE] = challenge.state
        return request.page("account_passkey.html", options=json.dumps(challenge.options))

    return await _do(request, PASSKEY, begin)


@view("POST", "/account/passkey/answer")
async def end_device(request: PageRequest) -> Response | str:
    """Add the passkey."""
    state = request.session.kept.pop(_DEVICE, None)
    if state is None:
        return _shown(request, status=422, trouble=AGAIN)
    service, person = _whose(request)
    try:
        place = origin(service, request.http)
        write_audit = _audit_writer(request, person, PASSKEY)
        codes = await service.add_device(person, place, state, request.one("answer"), request.one("label"), write_audit)
    except Declined as declined:
        return _shown(request, status=422, trouble=str(declined))
    return _added(request, codes, "passkey")


@view("POST", "/account/recovery")
async def renew_codes(request: PageRequest) -> Response | str:
    """Show new recovery codes, once."""

    async def renew(service: AccountService, person: Person, write_audit: WriteAudit) -> Response:
        return request.secret("codes.html", "/account", codes=await service.renew_codes(person, write_audit))

    return await _do(request, RECOVERY, renew)


@view("POST", "/account/drop")
async def drop(request: PageRequest) -> Response | str:
    """Remove the app or a passkey."""

    async def away(service: AccountService, person: Person, write_audit: WriteAudit) -> str:
        request.session.renew(await service.drop(person, request.one("device"), write_audit))
        return "/account?changed=dropped"

    return await _do(request, DROP, away)


async def _do(request: PageRequest, action: str, act: Act) -> Response | str:
    """Make a change if the password is right; otherwise show what was wrong."""
    service, person = _whose(request)
    kept = request.session.kept
    kept[_TRIES] = kept.get(_TRIES, 0) + 1  # before it is checked: a hundred at once count as a hundred attempts
    try:
        if kept[_TRIES] > MAX_TRIES or not await service.confirm(person, request.one("password")):
            await note(person, action, REFUSED, "password", request.session.principal.source)
            return _shown(request, status=422, trouble=WRONG_PASSWORD)
        kept.pop(_TRIES, None)
        return await act(service, person, _audit_writer(request, person, action))
    except Declined as declined:
        return _shown(request, status=422, trouble=str(declined))
    except Busy:
        kept[_TRIES] = max(0, kept.get(_TRIES, 0) - 1)
        return _shown(request, status=503, trouble=BUSY)


def _audit_writer(request: PageRequest, person: Person, action: str) -> WriteAudit:
    return audit_writer(person, action, "", request.session.principal.source)


def _added(request: PageRequest, codes: Sequence[str], changed: str) -> Response | str:
    onward = f"/account?changed={changed}"
    return request.secret("codes.html", onward, codes=codes) if codes else onward


def _app(request: PageRequest, app: App, *, status: int = 200, trouble: str = "") -> Response:
    values = {"secret": app.secret, "picture": qr.code(app.link), "trouble": trouble, "step": ""}
    return request.page("app.html", status=status, **values)


def _shown(request: PageRequest, *, status: int = 200, changed: str = "", trouble: str = "") -> Response:
    person = request.session.person
    own = request.service is not None and person is not None and bool(person.account)
    factors = request.service.factors(person) if own and request.service and person else None
    required = request.service is not None and request.service.second_factor_required
    return request.page(
        "account.html", status=status, factors=factors, changed=changed, trouble=trouble, required=required
    )


def _whose(request: PageRequest) -> tuple[AccountService, Person]:
    """Return the person's account; raises Problem 404 if the session has none."""
    person = request.session.person
    if request.service is None or person is None or not person.account:
        detail = Message("problem.no-account", "This session has no account here.")
        raise Problem(404, "not-found", NOT_FOUND, detail)
    return request.service, person
