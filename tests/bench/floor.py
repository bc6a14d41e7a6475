"""The floor program: what no service of this kind can leave out, and nothing else.

    python -m tests.bench.floor DSN

It takes the same signed batches over HTTP (aiohttp on uvloop), verifies one Ed25519 signature each,
decodes them plainly, makes one entry of each record (one encoding, one SHA-256, one leaf of the
tree), answers with a receipt and its signature, and commits each group in one transaction with
fsync: entries, leaf hashes, envelopes, receipts, and a row for each record's id. It knows no rule,
refuses nothing, and keeps no promise but that what was answered is on the disk.

Tests and `tests/bench/ratios.py` start it. It prints `listens on URL`, and ends with its input.
"""

import asyncio
import base64
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import asyncpg
import msgspec
import uvloop
from aiohttp import web

from ledger.tlog import Frontier
from meter.wire.dsse import BATCH_TYPE, RECEIPT_TYPE, pae
from tests.bench.workload import PROVIDERS, keyid_of
from tests.books import signer

MAX_BYTES: Final = 8 * 1024 * 1024
PRICE: Final = 45_000
TABLES: Final = """
CREATE TABLE segment (first bigint PRIMARY KEY, entries bytea NOT NULL, hashes bytea NOT NULL);
ALTER TABLE segment ALTER COLUMN entries SET STORAGE EXTERNAL;
CREATE TABLE batch (
    provider text NOT NULL, stream text NOT NULL, seq bigint NOT NULL, entry bigint NOT NULL,
    envelope bytea NOT NULL, receipt bytea NOT NULL, signature bytea NOT NULL,
    PRIMARY KEY (provider, stream, seq)
);
ALTER TABLE batch ALTER COLUMN envelope SET STORAGE EXTERNAL;
ALTER TABLE batch ALTER COLUMN receipt SET STORAGE EXTERNAL;
CREATE TABLE record (
    provider text NOT NULL, id text NOT NULL, entry bigint NOT NULL, contract text NOT NULL,
    PRIMARY KEY (provider, id)
);
"""


class _Signature(msgspec.Struct):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct):
    payload: str
    signatures: list[_Signature]


class _Record(msgspec.Struct):
    id: str
    contract: str
    device: str
    milli_devices: int
    start: str
    end: str
    run: str = ""
    state: str = ""
    final: bool = False


class _Batch(msgspec.Struct):
    provider: str
    stream: str
    seq: int
    records: list[_Record]


class _Entry(msgspec.Struct):
    """As long as an entry of Kashi's, its fields in the order of their names."""

    at: int
    batch: int
    by: str
    contract: str
    cost: int
    device: str
    end: str
    entitled: list[tuple[int, int]]
    final: bool
    fits: list[tuple[int, int]]
    id: str
    kind: str
    milli_devices: int
    postings: list[tuple[str, str, int]]
    provider: str
    run: str
    salt: str
    start: str
    state: str
    v: int


class _Result(msgspec.Struct):
    """As long as a result of Kashi's."""

    id: str
    status: str
    entry: int
    cost: str
    entitled: str
    granted: str
    uncovered: str = "0.00"
    withheld: str = "0.00"
    ineligible: str = "0.00"
    reasons: dict[str, str] = {}
    by_year: dict[str, str] = {}
    bound: list[str] = []


class _Place(msgspec.Struct):
    first: int
    count: int


class _Receipt(msgspec.Struct):
    provider: str
    stream: str
    seq: int
    entries: _Place
    results: list[_Result]


_encode: Final = msgspec.json.Encoder().encode
_envelope: Final = msgspec.json.Decoder(_Envelope)
_batch: Final = msgspec.json.Decoder(_Batch)


@dataclass(slots=True)
class _Waiting:
    batch: _Batch
    envelope: bytes
    answer: "asyncio.Future[tuple[bytes, bytes]]"


class Floor:
    """The whole program: requests wait in a queue, and groups of them are committed in turn."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._tree = Frontier()
        self._keys = {keyid_of(each): signer(keyid_of(each)).public_key() for each in PROVIDERS}
        self._receipts = signer("receipt")

    async def post(self, request: web.Request) -> web.Response:
        data = await request.read()
        envelope = _envelope.decode(data)
        payload, signature = base64.b64decode(envelope.payload), envelope.signatures[0]
        signed = base64.b64decode(signature.sig)
        self._keys[signature.keyid].verify(signed, pae(BATCH_TYPE, payload))
        answer = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(_batch.decode(payload), data, answer))
        receipt, sealed = await answer
        sig = base64.b64encode(sealed).decode()
        return web.Response(body=receipt, headers={"Kashi-Signature": f"sig=:{sig}:"})

    async def settle(self) -> None:
        """Commit all that waits, again and again."""
        while True:
            group = [await self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get_nowait())
            await self._commit(group)

    async def _commit(self, group: list[_Waiting]) -> None:
        first = self._tree.size
        entries: list[bytes] = []
        hashes: list[bytes] = []
        batches, records, answers = [], [], []
        for each in group:
            batch, number = each.batch, self._tree.size
            receipt = self._append(batch, entries, hashes, records)
            sealed = self._receipts.sign(pae(RECEIPT_TYPE, receipt))
            name = batch.provider, batch.stream, batch.seq
            batches.append((*name, number, each.envelope, receipt, sealed))
            answers.append((receipt, sealed))
        connection = self._connection
        async with connection.transaction():
            bundle, leaves = b"".join(entries), b"".join(hashes)
            await connection.execute(
                "INSERT INTO segment VALUES ($1, $2, $3)", first, bundle, leaves
            )
            await connection.copy_records_to_table("batch", records=batches)
            await connection.copy_records_to_table("record", records=records)
        for each, answer in zip(group, answers, strict=True):
            each.answer.set_result(answer)

    def _append(
        self,
        batch: _Batch,
        entries: list[bytes],
        hashes: list[bytes],
        records: list[tuple[str, str, int, str]],
    ) -> bytes:
        """Append the batch's own entry and those of its records; return the receipt."""
        now, number, provider = time.time_ns() // 1_000, self._tree.size, batch.provider
        results = []
        self._add(_encode((now, provider, batch.stream, batch.seq)), entries, hashes)
        for record in batch.records:
            entry, contract = self._tree.size, record.contract
            cost = record.milli_devices * PRICE // 100_000
            postings = [
                (f"enterprise:{provider}", f"due:{contract}", cost),
                (f"coupon:training-coupon:2025:{provider}", f"accrued:{contract}:2025", cost // 2),
            ]
            made = _Entry(
                now, number, provider, contract, cost, record.device, record.end,
                [(2025, cost // 2)], record.final, [(20_148, cost)], record.id, "usage",
                record.milli_devices, postings, provider, record.run, "0" * 32, record.start,
                record.state, 1,
            )  # fmt: skip
            self._add(_encode(made), entries, hashes)
            yuan, half = f"{cost / 100:.2f}", f"{cost / 200:.2f}"
            results.append(_Result(record.id, "accepted", entry, yuan, half, half))
            records.append((provider, record.id, entry, contract))
        place = _Place(number, self._tree.size - number)
        return _encode(_Receipt(provider, batch.stream, batch.seq, place, results))

    def _add(self, data: bytes, entries: list[bytes], hashes: list[bytes]) -> None:
        leaf = sha256(b"\0" + data).digest()
        entries.append(data)
        hashes.append(leaf)
        self._tree.append(leaf)


async def main(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(TABLES)
    floor = Floor(connection)
    application = web.Application(client_max_size=MAX_BYTES)
    application.router.add_post("/v1/usage", floor.post)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settling = asyncio.create_task(floor.settle())
    sys.stdout.write(f"listens on http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([asyncio.ensure_future(ended), settling], return_when="FIRST_COMPLETED")
    if settling.done():
        settling.result()
    settling.cancel()
    await runner.cleanup()
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
