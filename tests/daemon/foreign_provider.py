"""Foreign OpenID providers in separate processes: `oidc-provider-mock` (authlib) and `idpyoidc`.

    python foreign_provider.py mock|idpy          prints the issuer; ends with its standard input
    with running("idpy") as issuer: ...

Both vouch for anna of the group desk, to the client "recorder" with the secret "s3cret". idpyoidc insists on PKCE.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

CLAIMS = {"preferred_username": "anna@acme.example", "groups": ["desk"]}
SECRET = "s3cret-of-the-recorder-with-enough-characters"


@contextmanager
def running(kind: str) -> Iterator[str]:
    """Run a provider and yield its issuer."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-W", "ignore", __file__, kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=place, text=True, **pipes) as process:
            yield process.stdout.readline().strip()
            process.stdin.close()
            process.wait(60)


def mock() -> None:
    from oidc_provider_mock import User, run_server_in_thread

    with run_server_in_thread(user_claims=[User(sub="anna", claims=CLAIMS)]) as server:
        print(f"http://localhost:{server.server_port}", flush=True)
        sys.stdin.read()


def idpy() -> None:
    web = ThreadingHTTPServer(("127.0.0.1", 0), Idpy)
    issuer = f"http://127.0.0.1:{web.server_port}"
    Idpy.server = server_of(issuer)
    import threading

    threading.Thread(target=web.serve_forever, daemon=True).start()
    print(issuer, flush=True)
    sys.stdin.read()
    web.shutdown()


def server_of(issuer: str) -> Any:
    from idpyoidc.server import Server

    def endpoint(name: str, kind: str, **kwargs: Any) -> dict[str, Any]:
        return {"path": name, "class": f"idpyoidc.server.oidc.{kind}", "kwargs": kwargs}

    signing = {"key_defs": [{"type": "EC", "crv": "P-256", "use": ["sig"]}, {"type": "RSA", "use": ["sig"]}]}
    token = {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": {"lifetime": 300}}
    server = Server(
        {
            "issuer": issuer,
            "key_conf": {**signing, "uri_path": "jwks.json"},
            "endpoint": {
                "provider_config": endpoint(
                    ".well-known/openid-configuration", "provider_config.ProviderConfiguration"
                ),
                "authorization": endpoint(
                    "authorize", "authorization.Authorization", response_types_supported=["code"]
                ),
                "token": endpoint("token", "token.Token", client_authn_method=["client_secret_basic"]),
                "userinfo": endpoint("userinfo", "userinfo.UserInfo"),
            },
            "userinfo": {"class": "idpyoidc.server.user_info.UserInfo", "kwargs": {"db": {"anna": CLAIMS}}},
            "scopes_to_claims": {"openid": ["sub"], "profile": ["preferred_username", "groups"]},
            "authentication": {
                "none": {"acr": "none", "class": "idpyoidc.server.user_authn.user.NoAuthn", "kwargs": {"user": "anna"}}
            },
            "token_handler_args": {
                "code": {"lifetime": 60, "kwargs": {"crypt_conf": {"kwargs": {"password": "p" * 32}}}},
                "token": token,
                "id_token": {"class": "idpyoidc.server.token.id_token.IDToken", "kwargs": {}},
            },
            "add_ons": {
                "pkce": {
                    "function": "idpyoidc.server.oauth2.add_on.pkce.add_support",
                    "kwargs": {"essential": True, "code_challenge_methods": {"S256": "S256"}},
                }
            },
        }
    )
    server.context.cdb["recorder"] = {
        "client_secret": SECRET,
        "redirect_uris": [],
        "token_endpoint_auth_method": "client_secret_basic",
        "response_types_supported": ["code"],
        "allowed_scopes": ["openid", "profile"],
        "id_token_signed_response_alg": "ES256",
    }
    server.keyjar.add_symmetric("recorder", SECRET)
    return server


class Idpy(BaseHTTPRequestHandler):
    """An HTTP server for idpyoidc, which has none of its own."""

    server: Any

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])).decode())

    def _answer(self, sent: str) -> None:
        path = urlsplit(self.path).path.lstrip("/")
        provider = Idpy.server
        if path == "jwks.json":
            return self._reply(200, [("Content-Type", "application/json")], provider.keyjar.export_jwks_as_json())
        found = next(each for each in provider.endpoint.values() if each.endpoint_path == path)
        form = dict(parse_qsl(sent))
        if path == "authorize":  # every redirect address is accepted here
            provider.context.cdb["recorder"]["redirect_uris"] = [(form["redirect_uri"], {})]
        http = {
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "method": self.command,
            "url": self.path,
        }
        parsed = found.parse_request(form, http_info=http)
        arguments = found.process_request(parsed, http_info=http)
        if "redirect_location" in arguments:
            return self._reply(303, [("Location", arguments["redirect_location"])], "")
        made = found.do_response(request=parsed, **arguments)
        status = 400 if "error" in str(made.get("response", "")) and path == "token" else 200
        if path == "authorize" and made["http_headers"] is not None and str(made["response"]).startswith("http"):
            return self._reply(303, [("Location", made["response"])], "")
        return self._reply(status, made["http_headers"], made["response"])

    def _reply(self, status: int, headers: Any, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"mock": mock, "idpy": idpy}[sys.argv[1]]()
