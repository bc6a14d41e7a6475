"""Lists and contracts `as_of` a size or an instant are what was answered at that size."""

import random
from urllib.parse import quote

import pytest

from meter.values.units import format_moment
from tests.books import ALPHA, BETA, DEVICE, PROGRAMME, lifted, parse_instant, record, void
from tests.papers import papers
from tests.services import contract_body, enterprise_body, key_body, provider_body, serving

NOW = "2025-05-20T12:00:00+08:00"
EIGHT = parse_instant("2025-03-01T08:00:00+08:00")
DAY_SECONDS = 86_400
STEPS = 52
STATUSES = ("accepted", "withheld", "released", "voided")
FIRMS = (ALPHA, BETA)
OF_FIRM = (
    *("contracts", "records", "records?order=newest"),
    *(f"records?status={status}" for status in STATUSES),
    "records?order=newest&status=withheld",
    f"records?from=2025-03-01&until=2025-03-02&device={DEVICE}",
    "records?from=2025-03-02&order=newest&status=accepted",
)
ALONE = ("/v1/claims/C0", *(f"/v1/contracts/{name}" for name in "ABC"))
PATHS = (
    *("/v1/pools", "/v1/coupons", f"/v1/coupons?programme={PROGRAMME}&year=2025"),
    *("/v1/contracts", "/v1/contracts?provider=pcl", f"/v1/contracts?enterprise={BETA}"),
    *(
        "/v1/claims",
        "/v1/claims?item=B",
        "/v1/claims?state=approved",
        f"/v1/enterprises/{ALPHA}/claims",
        *ALONE,
    ),
    *("/v1/providers/pcl/contracts", "/v1/providers/pcl/records"),
    "/v1/providers/pcl/records?run=r1",
    *(f"/v1/enterprises/{firm}/{what}" for firm in FIRMS for what in OF_FIRM),
)
KEPT = {"records", "contracts", "pools", "coupons", "claims"}


async def open_books(service):
    await service.activate(lifted())
    await service.ask("/v1/providers", **(provider_body() | {"devices": {DEVICE: 24}}))
    await service.ask("/v1/providers/pcl/keys", **key_body("pcl-1"))
    for firm in FIRMS:
        await service.ask("/v1/enterprises", **enterprise_body(firm))
    await service.ask("/v1/contracts", **(contract_body("A") | {"max_devices": {}}))


class Story:
    """What a random past has done so far."""

    def __init__(self, service, chance):
        self.service, self.chance = service, chance
        self.names, self.seq, self.claims, self.turn, self.done = [], 0, 0, 0, set()

    async def act(self, step):
        """Do something; what the rules refuse changes nothing."""
        kinds = (self.use, self.use, self.release, self.money, self.terms, self.party, self.claim)
        await kinds[step % len(kinds)](step)

    async def use(self, step):
        """Post some records of which some do not fit or count, and take others back."""
        self.seq += 1
        begins = EIGHT + self.chance.choice((0, 0, DAY_SECONDS, -600 * DAY_SECONDS))
        records = [
            record(
                f"r{step}:{i}",
                self.any(),
                begins + self.chance.randrange(8) * 900,
                begins + 9000,
                self.chance.randrange(1, 14_000),
            )
            for i in range(self.chance.randrange(1, 5))
        ]
        taken = [void(self.some()) for _ in range(min(self.chance.randrange(3), len(self.names)))]
        answer = await self.service.usage(records, taken, seq=self.seq)
        assert answer.status == 200, answer.body
        self.names += [each["id"] for each in records]

    def some(self):
        return self.names.pop(self.chance.randrange(len(self.names)))

    async def release(self, _step):
        for name in self.chance.sample(self.names, min(8, len(self.names))):
            body = {"provider": "pcl", "id": name, "reason": "seen"}
            await self.post("/v1/records/release", body)

    async def money(self, step):
        body = {"enterprise": self.chance.choice(FIRMS), "programme": PROGRAMME, "year": 2025}
        await self.post("/v1/coupons", body | {"amount": f"{self.chance.randrange(1, 200)}.37"})
        await self.post("/v1/coupons/withdraw", body | {"amount": "0.41"})
        if step % 3 == 0:
            budget = {"programme": PROGRAMME, "year": self.chance.choice((2025, 2026))}
            budget |= {"amount": f"{self.chance.randrange(100, 400)}000000.00", "document": "1号"}
            await self.post("/v1/budgets", budget)

    async def terms(self, _step):
        """Change a contract's terms or funds, and freeze another or let it go on."""
        price = f"{self.chance.randrange(1, 9)}.{self.chance.randrange(10, 99)}"
        change = ({"prices": {DEVICE: price}}, {"enterprise": FIRMS[self.turn % 4 // 2]})
        body = {"mode": "correction", "document": "扫描件", "reason": "a digit was wrong"}
        await self.post(f"/v1/contracts/{self.any()}/amend", body | change[self.turn % 2])
        amount = self.chance.choice(("0.00", "499999.00", "600000.00"))
        body = {"reference": "1号", "level": "district", "document": "通知", "amount": amount}
        await self.post(f"/v1/contracts/{self.any()}/funds", body)
        what = ("freeze", "unfreeze")[self.turn % 2]
        await self.post(f"/v1/contracts/{'ABC'[self.turn // 2 % 3]}/{what}", {})
        self.turn += 1

    def any(self):
        return self.chance.choice("ABC" if "contract C" in self.done else "A")

    async def party(self, _step):
        """Register contracts late; later name the firm or the provider anew."""
        for name in "BC":
            if f"contract {name}" not in self.done:
                self.done.add(f"contract {name}")
                changes = {"max_devices": {}, "enterprise": FIRMS[name == "C"]}
                await self.service.ask("/v1/contracts", **(contract_body(name) | changes))
                return
        if "adaptation" not in self.done:
            self.done.add("adaptation")
            await self.service.fund_awards()
            await self.service.award("W", "1000000.00", "P1")
            return
        name = f"名{self.chance.randrange(99)}"
        body = {"name": name, "document": "通知", "reason": "as registered"}
        path = self.chance.choice((f"/v1/enterprises/{ALPHA}/amend", "/v1/providers/pcl/amend"))
        await self.post(path, body)

    async def claim(self, _step):
        """Enter a claim, or carry one on."""
        name, day = f"C{self.claims}", "2025-05-20"
        held = papers(f"2444200000012345{self.claims:04}", f"P-{self.claims}", day=day)
        body = {"id": name, "item": "AB"[self.claims % 2], "year": 2025, **held}
        if await self.post("/v1/claims", body):
            self.claims += 1
        for number in range(self.claims):
            path = f"/v1/claims/C{number}"
            if number % 2 == 0:
                end = {"outcome": self.chance.choice(("returned", "rejected")), "reason": "unclear"}
                await self.post(f"{path}/end", end)
            await self.post(f"{path}/check", {})
            await self.post(f"{path}/approve", {"amount": "1.00"})

    async def post(self, path, body):
        answer = await self.service.post(path, body)
        if answer.status < 300:
            self.done.add(path.rpartition("/")[2])
        return answer.status < 300


async def told(service, path, **query):
    """Return all that a list says, or another answer; a list asked page by page is of one size."""
    if path in ALONE:
        del query["limit"]
    words = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    answer = await service.get(f"{path}{'&' if '?' in path else '?'}{words}")
    if answer.status != 200:
        return answer.code
    found = answer.json
    lists = KEPT & {name for name, value in found.items() if isinstance(value, list)}
    while "next" in found and found["more"]:
        more = await service.get(
            f"{path}{'&' if '?' in path else '?'}{words}&after={found['next']}"
        )
        assert more.status == 200, more.body
        found = more.json | {name: found[name] + more.json[name] for name in lists}
    found.pop("next", None)
    return found


def content(answer):
    """Return what an answer says, but for its size."""
    return answer if isinstance(answer, str) else str({**answer, "as_of": None})


@pytest.fixture
async def history(database, tmp_path):
    """A service with a random past, and what each question was answered at some sizes."""
    chance = random.Random(2)
    async with serving(database, tmp_path, now=NOW) as service:
        await open_books(service)
        story, answers = Story(service, chance), {}
        for step in range(STEPS):
            service.clock.now += chance.choice((0, 1, 370_000, 60_000_000))
            await story.act(step)
            if step % 4 == 0:
                size = service.intake.watermark.size
                answers[size] = {path: await told(service, path, limit=1000) for path in PATHS}
        wanted = {"release", "coupons", "withdraw", "budgets", "freeze", "amend", "funds", "claims"}
        assert wanted | {"check", "approve", "end"} <= story.done, story.done
        yield service, answers


async def test_as_of_a_size_or_its_printed_instant_a_list_is_what_was_answered_then(history):
    service, answers = history
    chance = random.Random(2)
    for path in PATHS:
        assert len({content(each[path]) for each in answers.values()}) > 1, path
    for size, before in answers.items():
        for path, answer in before.items():
            limit = chance.choice((1000, 1000, 2))
            assert await told(service, path, limit=limit, as_of=size) == answer, (path, size)
            if isinstance(answer, dict) and chance.random() < 0.2:
                printed = answer["as_of"]["time"]
                assert await told(service, path, as_of=printed, limit=1000) == answer, path


@pytest.fixture
async def service(database, tmp_path):
    async with serving(database, tmp_path, now=NOW) as service:
        await open_books(service)
        yield service


async def post_three(service, seq):
    """Post a batch of four entries, its own among them."""
    times = EIGHT, EIGHT + 900
    records = [record(f"s{seq}:{i}", "A", *times, 1_000) for i in range(3)]
    answer = await service.usage(records, seq=seq)
    assert [each["status"] for each in answer.json["results"]] == ["accepted"] * 3
    return service.intake.watermark.size


@pytest.mark.parametrize(
    "path", ["/v1/pools", "/v1/contracts/A", f"/v1/enterprises/{ALPHA}/records"]
)
async def test_a_size_within_a_commit_is_refused_and_names_the_commits_end(service, path):
    size = await post_three(service, 1)
    for within in range(size - 3, size):
        answer = await service.get(f"{path}?as_of={within}")
        assert (answer.status, answer.code) == (422, "within_commit")
        assert f"ended at {size}" in answer.json["detail"]
    for end in (size - 4, size):
        assert (await service.get(f"{path}?as_of={end}")).json["as_of"]["entries"] == end


@pytest.mark.parametrize("as_of", ["0", "999999", "yesterday", "2024-01-01T00:00:00Z", "-1"])
@pytest.mark.parametrize("path", ["/v1/coupons", "/v1/claims", "/v1/providers/pcl/contracts"])
async def test_a_size_or_instant_that_the_ledger_never_had_is_refused(service, path, as_of):
    assert (await service.get(f"{path}?as_of={as_of}")).code == "malformed"


async def test_an_instant_between_two_commits_is_as_of_the_first(service):
    before = await told(service, "/v1/contracts", limit=10)
    service.clock.advance(60)
    between = format_moment(service.clock.now)
    service.clock.advance(60)
    await post_three(service, 1)
    assert await told(service, "/v1/contracts", limit=10, as_of=between) == before


async def test_pages_of_an_instant_to_come_are_of_the_size_of_the_first(service):
    size = await post_three(service, 1)
    for number, what in enumerate(
        ("records?", "records?order=newest&", "claims?", "contracts?"), 2
    ):
        path = f"/v1/enterprises/{ALPHA}/{what}as_of=2030-01-01T00:00:00Z&limit=2"
        first = (await service.get(path)).json
        after = await post_three(service, number)
        second = (await service.get(f"{path}&after={first['next']}")).json
        assert first["as_of"] == second["as_of"], path
        assert first["as_of"]["entries"] == size
        size = after


async def test_a_next_belongs_to_its_as_of(service):
    size = await post_three(service, 1)
    path = f"/v1/enterprises/{ALPHA}/records?limit=2"
    place = (await service.get(f"{path}&as_of={size}")).json["next"]
    for other in ("", f"&as_of={size - 4}"):
        assert (await service.get(f"{path}{other}&after={place}")).code == "malformed"
