"""Be so many people with an enterprise's page open, until the standard input ends.

    KASHI_DATABASE_URL=… python -m tests.bench.living DATA URL NOW USCC…

Each USCC is a person, who signs in by a link. Then each holds a stream of events, and fetches what
changes on the page at most once a second, as `console.js` does. A line says when all streams are
open; at the end another says how often pages were fetched.
"""

import asyncio
import os
import re
import sys
from pathlib import Path

import aiohttp

from meter.host.data_folder import DataFolder
from meter.host.tokens import Identity
from meter.service import sign_ins

LANGUAGE = "zh"
WAIT_SECONDS = 1.0  # from one fetch of a page to the next
_FIELD = re.compile(r'name="(\w+)" value="([^"]*)"')


class Person:
    """Who looks at an enterprise's page."""

    def __init__(self, http: aiohttp.ClientSession, url: str, uscc: str) -> None:
        self.http = http
        self.url = url
        self.page = f"/{LANGUAGE}/enterprises/{uscc}"
        self.changed = asyncio.Event()
        self.open = asyncio.Event()
        self.fetched = 0

    async def sign_in(self, link: str) -> None:
        async with self.http.get(self.url + link) as answer:
            fields = dict(_FIELD.findall(await answer.text()))
        async with self.http.post(
            self.url + link.partition("?")[0], data=fields, headers={"Origin": self.url}
        ) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.url.path == self.page, answer.url

    async def listen(self) -> None:
        async with self.http.get(self.url + "/events") as answer:
            assert answer.status == 200, await answer.text()
            self.open.set()
            async for line in answer.content:
                if line.startswith(b"data:"):
                    self.changed.set()

    async def look(self) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            async with self.http.get(self.url + self.page, params={"part": "live"}) as answer:
                await answer.read()
                assert answer.status in (200, 503), answer.status
            self.fetched += answer.status == 200
            await asyncio.sleep(WAIT_SECONDS)


async def sign_in(folder: DataFolder, url: str, now: int, usccs: list[str]) -> list[Person]:
    """Let each person sign in, each with a cookie jar of its own."""
    people = []
    for number, uscc in enumerate(usccs):
        who = Identity(f"looker-{os.getpid()}-{number}", "enterprise", uscc)
        await sign_ins.add_person(folder, who, "看页面的人")
        http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=[url]),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        people.append(Person(http, url, uscc))
        await people[-1].sign_in(await sign_ins.make_link(folder, who.token_id, now))
    return people


async def main(data: str, url: str, now: str, *usccs: str) -> None:
    people = await sign_in(DataFolder(Path(data)), url, int(now), list(usccs))
    async with asyncio.TaskGroup() as tasks:  # ends as soon as one page is lost
        looking = [tasks.create_task(run()) for each in people for run in (each.listen, each.look)]
        for each in people:
            await each.open.wait()
        sys.stdout.write("open\n")
        sys.stdout.flush()
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
        for task in looking:
            task.cancel()
    for each in people:
        await each.http.close()
    sys.stdout.write(f"{sum(each.fetched for each in people)}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
