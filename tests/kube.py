"""A stand-in for the part of a Kubernetes API server that lists and watches pods and claims.

    async with ApiServer() as server:
        server.put(pod("u1"))
        server.delete("u1")
        server.forget()             # changes before now are known no more: 410

It keeps a version for each change, pages its lists, sends bookmarks, and ends a watch in time. A
real client is tested against it (`kubectl`). It checks nothing that is put, and runs nothing.
"""

import asyncio
import copy
import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Self

from aiohttp import web

JSON = dict[str, Any]
VERBS = {"namespaced": True, "verbs": ["get", "list", "watch"]}
KINDS = {
    "/api/v1": {"name": "pods", "singularName": "pod", "kind": "Pod"} | VERBS,
    "/apis/resource.k8s.io/v1": {
        "name": "resourceclaims",
        "singularName": "resourceclaim",
        "kind": "ResourceClaim",
        **VERBS,
    },
}
GROUP = {
    "name": "resource.k8s.io",
    "versions": [{"groupVersion": "resource.k8s.io/v1", "version": "v1"}],
    "preferredVersion": {"groupVersion": "resource.k8s.io/v1", "version": "v1"},
}


class ApiServer:
    """One server on a free port; `clock` is its time, `url` its address.

    `patience_seconds` is for how long a watch without changes is kept at most. Answers that `fail`
    holds are given in place of the next ones about pods: (status, JSON), or "cut" for a watch that
    breaks. `asked` is what was asked of pods. Without `has_claims` there are none of them: 404. The
    text `NESTED` of an object is sent as so many lists in one another as `nested` says.
    """

    def __init__(self, clock: Callable[[], float], token: str | None = None) -> None:
        self.clock = clock
        self.patience_seconds = 0.05
        self.objects: dict[str, JSON] = {}
        self.has_claims = True
        self.fail: list[tuple[int, JSON] | str] = []
        self.asked: list[str] = []
        self.gone_as_event = False
        self.bookmarks = True
        self.nested = 0
        self._token = token
        self._version = 1_000
        self._forgotten = 0
        self._changes: list[tuple[int, str, JSON]] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api", self._versions)
        app.router.add_get("/apis", self._groups)
        for path, kind in KINDS.items():
            app.router.add_get(path, self._resources)
            app.router.add_get(f"{path}/{kind['name']}", self._objects)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # What happens

    def put(self, body: JSON) -> None:
        uid = body["metadata"]["uid"]
        self._note("MODIFIED" if uid in self.objects else "ADDED", body)

    def delete(self, uid: str) -> None:
        self._note("DELETED", self.objects[uid])

    def forget(self) -> None:
        """Know the changes until now no more."""
        self._forgotten = self._version
        self._changes.clear()

    def _note(self, event: str, body: JSON) -> None:
        self._version += 1
        body = copy.deepcopy(body)
        body["metadata"]["resourceVersion"] = f"{self._version}"
        self._changes.append((self._version, event, body))
        if event == "DELETED":
            self.objects.pop(body["metadata"]["uid"])
        else:
            self.objects[body["metadata"]["uid"]] = body
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # What is answered

    def _answer(self, body: JSON, status: int = 200) -> web.Response:
        headers = {"Content-Type": "application/json", "Date": self._date()}
        return web.Response(text=self._text(body), status=status, headers=headers)

    def _text(self, body: JSON) -> str:
        return json.dumps(body).replace('"NESTED"', "[" * self.nested + "]" * self.nested)

    def _date(self) -> str:
        return formatdate(self.clock(), usegmt=True)

    async def _versions(self, _: web.Request) -> web.Response:
        return self._answer({"kind": "APIVersions", "versions": ["v1"]})

    async def _groups(self, _: web.Request) -> web.Response:
        groups = [GROUP] if self.has_claims else []
        return self._answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _resources(self, request: web.Request) -> web.Response:
        version = request.path.removeprefix("/apis/").removeprefix("/api/")
        body = {"kind": "APIResourceList", "groupVersion": version}
        return self._answer(body | {"resources": [KINDS[request.path]]})

    async def _objects(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        path, _, _ = request.path.rpartition("/")
        kind = KINDS[path]["kind"]
        is_watch = query.get("watch") in ("1", "true")
        if kind != "Pod" and not self.has_claims:
            return self._answer(status_of(404, "the server has no such resource"), 404)
        if kind == "Pod":
            self.asked.append("watch" if is_watch else "list")
        if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
            return self._answer(status_of(401, "Unauthorized"), 401)
        failing = self.fail.pop(0) if self.fail and kind == "Pod" else None
        if isinstance(failing, tuple):
            return self._answer(failing[1], failing[0])
        if is_watch:
            return await self._watch(request, kind, is_cut=failing == "cut")
        return self._list(kind, int(query.get("limit", "0")), query.get("continue", ""))

    def _list(self, kind: str, limit: int, after: str) -> web.Response:
        version, first = (int(each) for each in (after or f"{self._version}:0").split(":"))
        if version < self._forgotten:
            return self._answer(status_of(410, "The provided continue parameter is too old"), 410)
        found = [each for each in self.objects.values() if each["kind"] == kind]
        found.sort(key=lambda each: each["metadata"]["name"])
        last = first + limit if limit else len(found)
        meta: JSON = {"resourceVersion": f"{version}"}
        if last < len(found):
            meta["continue"] = f"{version}:{last}"
        body = {"kind": f"{kind}List", "apiVersion": "v1", "metadata": meta}
        return self._answer(body | {"items": found[first:last]})

    async def _watch(
        self, request: web.Request, wanted: str, *, is_cut: bool
    ) -> web.StreamResponse:
        query = request.query
        version = int(query.get("resourceVersion") or self._version)
        if version < self._forgotten and not self.gone_as_event:
            return self._answer(status_of(410, "too old resource version"), 410)
        headers = {"Content-Type": "application/json", "Date": self._date()}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)

        async def send(event: str, body: JSON) -> None:
            await response.write(self._text({"type": event, "object": body}).encode() + b"\n")

        if version < self._forgotten:
            await send("ERROR", status_of(410, "too old resource version"))
            return response
        until = asyncio.get_running_loop().time() + min(
            float(query.get("timeoutSeconds", "1800")), self.patience_seconds
        )
        while (left := until - asyncio.get_running_loop().time()) > 0:
            changed = self._changed
            for number, event, body in list(self._changes):
                if number > version and body["kind"] == wanted:
                    await send(event, body)
                    version = number
                    if is_cut:
                        request.transport.abort()
                        return response
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                break
        if self.bookmarks and query.get("allowWatchBookmarks") == "true":
            meta = {"resourceVersion": f"{self._version}", "creationTimestamp": None}
            await send("BOOKMARK", {"kind": wanted, "apiVersion": "v1", "metadata": meta})
        return response


def status_of(code: int, message: str) -> JSON:
    reason = {401: "Unauthorized", 410: "Expired"}.get(code, "InternalError")
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return body | {"code": code, "reason": reason, "message": message}
