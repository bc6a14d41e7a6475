"""An OpenID Connect provider that keeps to the rules, and can be told to lie in one place.

    async with issuing() as issuer:
        issuer.lies["nonce"] = "another"

Whoever comes to it is signed in as `issuer.subject` at once. It checks client, code, redirect and
the verifier of PKCE, as the specifications say.
"""

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

SECRET = "a secret/+: of the client"


@dataclass
class Issuer:
    """The provider; `lies` replace claims of its id tokens, None takes one out."""

    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    subject: str = "zhang-3"
    lies: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)  # replaces what it says of itself
    signing: Any = None  # another key than the one that it shows
    algorithm: str = "RS256"
    url: str = ""
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/realm/.well-known/openid-configuration", self._about)
        app.router.add_get("/realm/keys", self._keys)
        app.router.add_get("/realm/authorize", self._authorize)
        app.router.add_post("/realm/token", self._token)
        return app

    async def _about(self, _: web.Request) -> web.Response:
        endpoints = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=1",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return web.json_response(endpoints | self.told)

    async def _keys(self, _: web.Request) -> web.Response:
        self.asked.append("keys")
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        wanted = {"response_type": "code", "scope": "openid", "code_challenge_method": "S256"}
        assert wanted.items() <= query.items()
        assert query["client_id"] == "kashi"
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"], "iss": self.url})
        raise web.HTTPFound(f"{query['redirect_uri']}?{back}")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        scheme, _, pair = request.headers["Authorization"].partition(" ")
        client, _, secret = base64.b64decode(pair).decode().partition(":")
        asked = self.codes.pop(str(form["code"]), None)
        if (scheme, client, unquote(secret)) != ("Basic", "kashi", SECRET) or asked is None:
            return web.json_response({"error": "invalid_client"}, status=401)
        digest = sha256(str(form["code_verifier"]).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        fits = asked["code_challenge"] == challenge
        if not fits or asked["redirect_uri"] != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"id_token": self._id_token(asked["nonce"])})

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "kashi", "sub": self.subject, "nonce": nonce}
        claims |= {"iat": now, "exp": now + 300} | self.lies
        said = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "none":
            parts = ({"alg": "none", "kid": "one"}, said)
            encoded = (base64.urlsafe_b64encode(json.dumps(each).encode()) for each in parts)
            return ".".join(each.rstrip(b"=").decode() for each in encoded) + "."
        key = self.signing or self.key
        if self.algorithm == "HS256":  # with what everybody can read
            key = OctKey.import_key(self.key.as_dict(private=False)["n"])
        header = {"alg": self.algorithm, "kid": key.kid or "one"}
        return jwt.encode(header, said, key, algorithms=[self.algorithm])


@asynccontextmanager
async def issuing(name: str = "127.0.0.1") -> AsyncIterator[Issuer]:
    """Run a provider on this machine, under a name of it."""
    issuer = Issuer()
    runner = web.AppRunner(issuer.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://{name}:{runner.addresses[0][1]}/realm"
    try:
        yield issuer
    finally:
        await runner.cleanup()
