"""An OpenID provider for tests, which answers correctly unless a test changes its answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from recorder.config.model import SignIn

GRANTS = {"desk": ("privacy", "listener"), "chiefs": ("admin",)}


def key(kid: str = "one") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def elliptic(kid: str = "one") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def sign_in(issuer: str, **more: Any) -> SignIn:
    values = {"customer": "acme", "title": "House", "client_id": "recorder", "roles": GRANTS}
    return SignIn(**{**values, "issuer": issuer, **more})


def truth(issuer: str, asked: str, now: float, **more: Any) -> dict[str, Any]:
    claims = {
        "iss": issuer,
        "sub": "s-1",
        "aud": "recorder",
        "iat": int(now),
        "exp": int(now) + 300,
        "nonce": asked,
        "preferred_username": "anna@acme.example",
        "groups": ["desk"],
    }
    return {name: value for name, value in {**claims, **more}.items() if value is not None}


def signed(claims: dict[str, Any], by: Any, alg: str = "RS256", **header: Any) -> str:
    head = {"alg": alg, "kid": by.kid, **header}
    return jwt.encode({k: v for k, v in head.items() if v is not None}, claims, by, algorithms=[alg])


class StandIn:
    """A stand-in for a provider; `claims` changes the contents of tokens, `answers` the answers of paths."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys = [key()]
        self.claims: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.nonce = ""

    def leave(self, link: str) -> dict[str, str]:
        """Sign in somebody who came by this link; return the parameters for their browser's return."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
        self.nonce = query["nonce"]
        return {"code": "c-1", "state": query["state"]}

    def page(self, path: str) -> tuple[int, bytes]:
        """Return a page with the link that takes a browser back."""
        back = parse_qs(urlsplit(path).query)["redirect_uri"][0]
        link = f"{back}?{urlencode(self.leave(path))}".replace("&", "&amp;")
        return 200, f'<!doctype html><title>Acme ID</title><a id="back" href="{link}">allow</a>'.encode()

    def answer(self, path: str) -> tuple[int, bytes]:
        if path in self.answers:
            return self.answers[path]
        found = {
            "/.well-known/openid-configuration": self._discovery,
            "/jwks": lambda: {"keys": [each.as_dict(private=False) for each in self.keys]},
            "/token": self._token,
            "/userinfo": lambda: {"sub": "s-1", **self.info},
        }.get(path)
        return (200, json.dumps(found()).encode()) if found else (404, b"{}")

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
        }

    def _token(self) -> dict[str, Any]:
        claims = truth(self.issuer, self.nonce, time.time(), **self.claims)
        return {"access_token": "a-1", "token_type": "Bearer", "id_token": signed(claims, self.keys[-1])}


@contextmanager
def provider() -> Iterator[StandIn]:
    """Run a stand-in provider on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"])).decode()
            stand_in.forms.append({name: values[0] for name, values in parse_qs(data).items()})
            stand_in.headers.append(dict(self.headers))
            self._reply()

        def _reply(self) -> None:
            path = urlsplit(self.path).path
            stand_in.asked.append(path)
            status, body = stand_in.page(self.path) if path == "/authorize" else stand_in.answer(path)
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if path == "/authorize" else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = StandIn(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
