"""OpenID Connect: whom the issuer has signed in, by the code flow with PKCE, state and nonce.

    OpenID Connect Core 1.0 sections 3.1 (code flow) and 3.1.3.7 (what an id token must say),
    RFC 7636 (PKCE), RFC 9207 (`iss` in the return), OpenID Connect Discovery 1.0 section 4.

State, nonce and the verifier of PKCE follow from one secret that the browser keeps until it comes
back. So the service remembers nothing of who went away, and a return fits into no other browser.
"""

import asyncio
import hmac
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import hdrs
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from meter.host import logs
from meter.host.sign_in import derived
from meter.host.sign_in_file import Issuer, is_safe
from meter.values.problems import Problem
from meter.values.units import MICROSECONDS

TIMEOUT_SECONDS: Final = 10.0
MAX_BYTES: Final = 256 * 1024  # of what the issuer answers
LEEWAY_SECONDS: Final = 60  # between the issuer's clock and ours
KEYS_SECONDS: Final = 60  # before keys are fetched again, for an id token whose key we lack
_ERROR: Final = re.compile(r"[a-z_]{1,64}")  # RFC 6749 section 4.1.2.1
_SUBJECT: Final = re.compile(r"[ -~]{1,255}")  # Core section 2

_log: Final = logs.logger(__name__)


class Client:
    """What we are at an issuer. Owns what it has learnt there: endpoints and keys."""

    def __init__(self, issuer: Issuer, http: aiohttp.ClientSession) -> None:
        self.issuer = issuer
        self._http = http
        self._endpoints: dict[str, str] = {}
        self._keys: KeySet | None = None
        self._keys_at = float("-inf")

    async def start(self, secret: str, back: str) -> str:
        """Return the URL at which the issuer signs somebody in, who then comes `back`."""
        asked = {
            "response_type": "code",
            "scope": "openid",
            "client_id": self.issuer.client_id,
            "redirect_uri": back,
            "state": derived(secret, "state"),
            "nonce": derived(secret, "nonce"),
            "code_challenge": _challenge(derived(secret, "verifier")),
            "code_challenge_method": "S256",
        }
        endpoint = (await self._learnt())["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def finish(self, secret: str, back: str, told: Mapping[str, str], now: int) -> str:
        """Return the subject that the issuer has signed in; `told` is the query of the return.

        `now` in microseconds. Raises `sign_in_failed`, and `unavailable` where it does not answer.
        """
        state = told.get("state", "").encode()
        if not hmac.compare_digest(state, derived(secret, "state").encode()):
            raise Problem("sign_in_failed", "the return belongs to another sign-in")
        if told.get("iss", self.issuer.url) != self.issuer.url:
            raise Problem("sign_in_failed", "another issuer answers")
        if "error" in told:
            error = told["error"] if _ERROR.fullmatch(told["error"]) else "an error"
            raise Problem("sign_in_failed", f"the issuer says {error}")
        fields = {
            "grant_type": "authorization_code",
            "code": told.get("code", ""),
            "redirect_uri": back,
            "code_verifier": derived(secret, "verifier"),
        }
        token = await self._exchange(fields)
        return await self._subject(token, derived(secret, "nonce"), now // MICROSECONDS)

    async def _exchange(self, fields: Mapping[str, str]) -> str:
        """Return the id token for a code (RFC 6749 section 4.1.3)."""
        # The parts are encoded as in forms before they are joined (RFC 6749 section 2.3.1).
        pair = f"{quote(self.issuer.client_id, safe='')}:{quote(self.issuer.secret, safe='')}"
        headers = {hdrs.AUTHORIZATION: f"Basic {b64encode(pair.encode()).decode()}"}
        endpoint = (await self._learnt())["token_endpoint"]
        status, answer = await self._ask("POST", endpoint, data=fields, headers=headers)
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            _log.warning("issuer_refused", status=status)
            raise Problem("sign_in_failed", "the issuer gives no id token")
        return token

    async def _subject(self, token: str, nonce: str, now: int) -> str:
        """Return whom an id token is about, if all that it says is right (Core 3.1.3.7)."""
        try:
            claims = (await self._decoded(token)).claims
            _registry(self.issuer, nonce, now).validate(claims)
        except (JoseError, ValueError) as error:
            _log.warning("id_token_refused", why=type(error).__name__)
            raise Problem("sign_in_failed", "the issuer's id token is no good") from None
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self.issuer.client_id) != self.issuer.client_id:
            raise Problem("sign_in_failed", "the id token is for another client")
        subject = claims["sub"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise Problem("sign_in_failed", "the id token names nobody")
        return subject

    async def _decoded(self, token: str) -> jwt.Token:
        """Verify a token; keys that are too old to know its own are fetched again."""
        algorithms = list(self.issuer.algorithms)
        try:
            return jwt.decode(token, await self._known_keys(), algorithms=algorithms)
        except (JoseError, ValueError):
            if asyncio.get_running_loop().time() - self._keys_at < KEYS_SECONDS:
                raise
            self._keys = None
            return jwt.decode(token, await self._known_keys(), algorithms=algorithms)

    async def _known_keys(self) -> KeySet:
        if self._keys is None:
            status, answer = await self._ask("GET", (await self._learnt())["jwks_uri"])
            if status != 200:
                raise Problem("unavailable", "the issuer shows no keys")
            self._keys = _key_set(answer)
            self._keys_at = asyncio.get_running_loop().time()
        return self._keys

    async def _learnt(self) -> dict[str, str]:
        """Return the issuer's endpoints (Discovery section 4)."""
        if not self._endpoints:
            url = f"{self.issuer.url.rstrip('/')}/.well-known/openid-configuration"
            status, answer = await self._ask("GET", url)
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            found = {name: str(answer.get(name, "")) for name in names}
            if status != 200 or not all(map(is_safe, found.values())):
                raise Problem("unavailable", "the issuer does not say where its endpoints are")
            if answer.get("issuer") != self.issuer.url:  # Discovery section 4.3
                raise Problem("unavailable", "the issuer calls itself otherwise than we do")
            self._endpoints = found
        return self._endpoints

    async def _ask(self, method: str, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
        try:
            async with self._http.request(
                method, url, allow_redirects=False, **request
            ) as response:
                answer = json.loads(await _body(response)) if response.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("issuer_away", error=type(error).__name__)
            raise Problem("unavailable", "the issuer does not answer") from None
        except (ValueError, RecursionError):
            raise Problem("unavailable", "the issuer's answer is no JSON, or too large") from None
        return response.status, answer if isinstance(answer, dict) else {}


@asynccontextmanager
async def client_of(issuer: Issuer) -> AsyncIterator[Client]:
    """Yield a client that speaks to the issuer alone, through no proxy and without cookies.

    It decompresses nothing: a small answer could become one of any size.
    """
    async with aiohttp.ClientSession(
        headers={hdrs.ACCEPT_ENCODING: "identity"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as http:
        yield Client(issuer, http)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError("it is too large")
    return bytes(body)


def _key_set(answer: Mapping[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set({"keys": answer["keys"]})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise Problem("unavailable", "the issuer's keys are no good") from None


def _registry(issuer: Issuer, nonce: str, now: int) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=now,
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer.url},
        aud={"essential": True, "value": issuer.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )


def _challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
