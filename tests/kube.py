"""A stand-in for the part of a Kubernetes API server that lists and watches pods.

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
PODS = {
    "name": "pods",
    "singularName": "pod",
    "namespaced": True,
    "kind": "Pod",
    "verbs": ["get", "list", "watch"],
}


class ApiServer:
    """One server on a free port; `clock` is its time, `url` its address.

    `patience_seconds` is for how long a watch without changes is kept at most. Answers that `fail`
    holds are given in place of the next ones: (status, JSON), or "cut" for a watch that breaks.
    """

    def __init__(self, clock: Callable[[], float], token: str | None = None) -> None:
        self.clock = clock
        self.patience_seconds = 0.05
        self.pods: dict[str, JSON] = {}
        self.fail: list[tuple[int, JSON] | str] = []
        self.asked: list[str] = []
        self.gone_as_event = False
        self.bookmarks = True
        self._token = token
        self._version = 1_000
        self._forgotten = 0
        self._changes: list[tuple[int, str, JSON]] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api", self._versions)
        app.router.add_get("/apis", self._groups)
        app.router.add_get("/api/v1", self._resources)
        app.router.add_get("/api/v1/pods", self._pods)
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

    def put(self, pod: JSON) -> None:
        uid = pod["metadata"]["uid"]
        self._note("MODIFIED" if uid in self.pods else "ADDED", pod)

    def delete(self, uid: str, **changes: JSON) -> None:
        """Delete a pod; `changes` are its last ones."""
        self._note("DELETED", self.pods[uid] | changes)

    def forget(self) -> None:
        """Know the changes until now no more."""
        self._forgotten = self._version
        self._changes.clear()

    def _note(self, kind: str, pod: JSON) -> None:
        self._version += 1
        pod = copy.deepcopy(pod)
        pod["metadata"]["resourceVersion"] = f"{self._version}"
        self._changes.append((self._version, kind, pod))
        if kind == "DELETED":
            self.pods.pop(pod["metadata"]["uid"])
        else:
            self.pods[pod["metadata"]["uid"]] = pod
        self._changed.set()

    # What is answered

    def _answer(self, body: JSON, status: int = 200) -> web.Response:
        return web.json_response(body, status=status, headers={"Date": self._date()})

    def _date(self) -> str:
        return formatdate(self.clock(), usegmt=True)

    async def _versions(self, _: web.Request) -> web.Response:
        return self._answer({"kind": "APIVersions", "versions": ["v1"]})

    async def _groups(self, _: web.Request) -> web.Response:
        return self._answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})

    async def _resources(self, _: web.Request) -> web.Response:
        body = {"kind": "APIResourceList", "groupVersion": "v1", "resources": [PODS]}
        return self._answer(body)

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        is_watch = query.get("watch") in ("1", "true")
        self.asked.append("watch" if is_watch else "list")
        if self._token and request.headers.get("Authorization") != f"Bearer {self._token}":
            return self._answer(status_of(401, "Unauthorized"), 401)
        failing = self.fail.pop(0) if self.fail else None
        if isinstance(failing, tuple):
            return self._answer(failing[1], failing[0])
        if is_watch:
            return await self._watch(request, is_cut=failing == "cut")
        return self._list(int(query.get("limit", "0")), query.get("continue", ""))

    def _list(self, limit: int, after: str) -> web.Response:
        version, first = (int(each) for each in (after or f"{self._version}:0").split(":"))
        if version < self._forgotten:
            return self._answer(status_of(410, "The provided continue parameter is too old"), 410)
        pods = sorted(self.pods.values(), key=lambda each: each["metadata"]["name"])
        last = first + limit if limit else len(pods)
        meta: JSON = {"resourceVersion": f"{version}"}
        if last < len(pods):
            meta["continue"] = f"{version}:{last}"
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": pods[first:last]}
        return self._answer(body)

    async def _watch(self, request: web.Request, *, is_cut: bool) -> web.StreamResponse:
        query = request.query
        version = int(query.get("resourceVersion") or self._version)
        if version < self._forgotten and not self.gone_as_event:
            return self._answer(status_of(410, "too old resource version"), 410)
        headers = {"Content-Type": "application/json", "Date": self._date()}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)

        async def send(kind: str, body: JSON) -> None:
            await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")

        if version < self._forgotten:
            await send("ERROR", status_of(410, "too old resource version"))
            return response
        until = asyncio.get_running_loop().time() + min(
            float(query.get("timeoutSeconds", "1800")), self.patience_seconds
        )
        while (left := until - asyncio.get_running_loop().time()) > 0:
            self._changed.clear()
            for number, kind, pod in list(self._changes):
                if number > version:
                    await send(kind, pod)
                    version = number
                    if is_cut:
                        request.transport.abort()
                        return response
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                break
        if self.bookmarks and query.get("allowWatchBookmarks") == "true":
            meta = {"resourceVersion": f"{self._version}", "creationTimestamp": None}
            await send("BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": meta})
        return response


def status_of(code: int, message: str) -> JSON:
    reason = {401: "Unauthorized", 410: "Expired"}.get(code, "InternalError")
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return body | {"code": code, "reason": reason, "message": message}
