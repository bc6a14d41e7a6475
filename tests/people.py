"""People who sign in to the pages: by a real link, over HTTP.

    firm = await sign_in(service, "enterprise", ALPHA)
    page = await service.get("/zh/account", **firm.headers)
    answer = await firm.send(service, "/zh/sign-out")

The client of a test keeps no cookies: what a browser would send is `headers`.
"""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.sign_in import COOKIE, form_token
from meter.host.tokens import Identity
from meter.service import sign_ins
from meter.values.roles import Role
from tests.services import Answer, Service

FORM = "application/x-www-form-urlencoded"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Visitor:
    """A browser in which somebody is signed in."""

    id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        """Return what the browser sends with each request, by names with `_` for `-`."""
        return {"Cookie": f"{COOKIE}={self.secret}", "Authorization": ""}

    @property
    def token(self) -> str:
        """Return what each form of the session holds."""
        return form_token(self.secret)

    async def send(self, service: Service, path: str, **fields: str) -> Answer:
        """Send a form as the page that holds it does."""
        return await send_form(service, path, {"session": self.token, **fields}, **self.headers)


async def send_form(service: Service, path: str, fields: dict[str, str], **headers: str) -> Answer:
    """Send a form from a page of the service, whose policy of referrers hides its origin."""
    browser = {
        "Origin": "null",
        "Sec_Fetch_Site": "same-origin",
        "Sec_Fetch_Mode": "navigate",
        "Content_Type": FORM,
        "Authorization": "",
    }
    return await service.send("POST", path, urlencode(fields).encode(), **(browser | headers))


async def add(service: Service, role: Role, subject: str = "", name: str = "陈晨") -> str:
    """Let a person of a role sign in; of the authority the ledger names the id first."""
    id_ = f"{role}-page-{next(_numbers)}"
    if role == "authority":
        await service.ask("/v1/tokens", id=id_, holder="authority")
    with environment(service):
        await sign_ins.add_person(service.folder, Identity(id_, role, subject), name)
    return id_


async def link(service: Service, id_: str, **settings: Any) -> str:
    """Return the path of a link that signs a person in."""
    with environment(service):
        return await sign_ins.make_link(service.folder, id_, service.clock(), **settings)


async def open_link(service: Service, path: str, **headers: str) -> Answer:
    """Open a link, and send the form of its page."""
    page = await service.get(path, Authorization="", **headers)
    assert page.status == 200, page.body
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.body.decode()))
    return await send_form(service, path.partition("?")[0], fields, **headers)


async def sign_in(service: Service, role: Role, subject: str = "", name: str = "陈晨") -> Visitor:
    """Sign a new person in."""
    id_ = await add(service, role, subject, name)
    answer = await open_link(service, await link(service, id_))
    assert answer.status == 303, answer.body
    return Visitor(id_, secret_of(answer))


def secret_of(answer: Answer) -> str:
    """Return the secret of the session that an answer begins."""
    found = re.match(rf"{COOKIE}=([\w-]{{43}});", answer.headers["Set-Cookie"])
    assert found, answer.headers
    return found[1]


@contextmanager
def environment(service: Service) -> Iterator[None]:
    """Let the operator's commands find the service's database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_VARIABLE, service.dsn)
        yield
