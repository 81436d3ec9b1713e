"""A stand-in for Microsoft Entra ID and Graph: signs applications in, gives pages of changes, and misbehaves as told.

Written after the published description of the two services (client credentials, users/delta), with nothing of ours in
it but a way to make a certificate; no real tenant was ever asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from recorder.maintenance import bootstrap

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
SECRET = "s3cret~of.the_application"
PAGE = 3

Entry = dict[str, Any]


@dataclass
class Entra:
    """The directory of one tenant."""

    certificate: bytes | None = None  # PEM of what the application may sign with; None: it has the secret
    users: dict[str, Entry] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)  # ids in the order of their changes
    gone: dict[str, str] = field(default_factory=dict)  # id → reason
    later: list[tuple[int, str]] = field(default_factory=list)  # answers to give first: status, Retry-After
    token: int = 0  # number of the token that is good
    tokens_last: int = 3600
    forgotten: int = 0  # links older than this are answered 410
    permitted: bool = True
    partial: bool = False  # changes name only the members in `touched`
    touched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)  # path → what is answered instead
    statuses: dict[str, int] = field(default_factory=dict)  # what a link has in it → status that it is answered with
    stops_at: str = ""  # a link with this in it is not answered until `goes_on`
    stopped: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def put(self, id: str, **members: Any) -> None:
        """Add or change somebody."""
        self.users.setdefault(id, {"id": id}).update(members)
        self.gone.pop(id, None)
        self.touched[id] = tuple(members)
        self.log.append(id)

    def remove(self, id: str, reason: str = "changed") -> None:
        """Delete somebody, softly unless for "deleted"."""
        del self.users[id]
        self.gone[id] = reason
        self.log.append(id)

    # --- what it answers ---------------------------------------------------------------------------------------------

    def sign_in(self, path: str, form: dict[str, list[str]]) -> tuple[int, Any]:
        """Answer a request for a token."""
        if path != f"/{TENANT}/oauth2/v2.0/token":
            return 400, {"error": "invalid_request", "error_codes": [90002], "error_description": "Tenant Mira"}
        said = {name: values[0] for name, values in form.items()}
        if said.get("client_id") != CLIENT:
            return 400, {"error": "unauthorized_client", "error_codes": [700016]}
        if said.get("scope") != f"{self.address}/.default" or said.get("grant_type") != "client_credentials":
            return 400, {"error": "invalid_scope", "error_codes": [70011]}
        fault = self._unproven(said, f"{self.address}{path}")
        if fault:
            return 401, {"error": "invalid_client", "error_codes": [fault], "error_description": "secret of Mira"}
        self.token += 1
        return 200, {"token_type": "Bearer", "expires_in": self.tokens_last, "access_token": f"token-{self.token}"}

    def _unproven(self, said: dict[str, str], audience: str) -> int:
        """Return the code of what is wrong with an application's proof, 0 if nothing."""
        if self.certificate is None:
            return 0 if said.get("client_secret") == SECRET else 7000215
        if said.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return 700027
        head, claims, signature = said["client_assertion"].split(".")
        certificate = x509.load_pem_x509_certificate(self.certificate)
        key: Any = certificate.public_key()  # RSA
        der = certificate.public_bytes(serialization.Encoding.DER)
        header, told = json.loads(_bytes(head)), json.loads(_bytes(claims))
        if header["alg"] != "PS256" or _bytes(header["x5t#S256"]) != hashlib.sha256(der).digest():
            return 700027
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        try:
            key.verify(_bytes(signature), f"{head}.{claims}".encode(), pss, hashes.SHA256())
        except InvalidSignature:
            return 700027
        good = told["aud"] == audience and told["iss"] == told["sub"] == CLIENT and told["exp"] - told["nbf"] <= 600
        return 0 if good and told["jti"] else 700024

    def read(self, link: str, token: str) -> tuple[int, Any]:
        """Answer a request for users."""
        if token != f"Bearer token-{self.token}":
            return 401, {"error": {"code": "InvalidAuthenticationToken", "message": "for Mira"}}
        if not self.permitted:
            return 403, {"error": {"code": "Authorization_RequestDenied", "message": "for Mira"}}
        for part, status in self.statuses.items():
            if part in link:
                return status, {"error": {"code": "BadRequest", "message": "for Mira"}}
        if self.stops_at and self.stops_at in link:
            self.stopped.set()
            self.goes_on.wait(30)
        parts = urlsplit(link)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith("/delta"):
            return self._delta(asked)
        user = self.users.get(unquote(parts.path.rpartition("/")[2]))
        return (200, user) if user else (404, {"error": {"code": "Request_ResourceNotFound"}})

    def _delta(self, asked: dict[str, str]) -> tuple[int, Any]:
        since, _, at = (asked.get("$deltatoken") or asked.get("$skiptoken") or "0.0").partition(".")
        if asked.get("$deltatoken") and int(since) < self.forgotten:
            return 410, {"error": {"code": "SyncStateNotFound", "message": "too old"}}
        first = int(since) == 0
        ids = list(self.users) if first else list(dict.fromkeys(self.log[int(since) :]))
        begin = int(at or 0)
        page = [self._entry(id, first) for id in ids[begin : begin + PAGE]]
        here = f"{self.address}/v1.0/users/delta?"
        if begin + PAGE < len(ids):
            return 200, {"value": page, "@odata.nextLink": f"{here}$skiptoken={since}.{begin + PAGE}"}
        return 200, {"value": page, "@odata.deltaLink": f"{here}$deltatoken={len(self.log)}.0"}

    def _entry(self, id: str, first: bool) -> Entry:
        if id in self.gone:
            return {"id": id, "@removed": {"reason": self.gone[id]}}
        user = self.users[id]
        if first or not self.partial:
            return user
        return {"id": id, **{name: user[name] for name in self.touched[id]}}


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def serving(entra: Entra, folder: Path) -> Iterator[Path]:
    """Serve a directory over TLS; gives the authority to trust."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(lambda: entra.read(self.path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(lambda: entra.sign_in(self.path, form))

        def answer(self, give: Any) -> None:
            entra.asked.append(self.path)
            headers = {}
            canned = entra.answers.get(urlsplit(self.path).path)
            if entra.later:
                status, after = entra.later.pop(0)
                body = b"<html>later</html>"
                headers = {"Retry-After": after} if after else {}
            elif canned is not None:
                status, body = 200, canned
            else:
                status, document = give()
                body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    public, private = folder / "entra.crt", folder / "entra.key"
    bootstrap.pair(public, private, ["127.0.0.1", "localhost"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    entra.address = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield public
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
