"""The raw baseline: the rate at which the same server stores the same records by COPY.

Typed columns in one table with a primary key and the unique index over (provider, record id), by
binary COPY on one connection, 5,000 rows a transaction. Rows are encoded before the clock starts,
in the format of PostgreSQL's manual, "Binary Format" under COPY: an 11-byte signature, flags and
extension of 4 zero bytes each; each row a 16-bit count of fields, each field a 32-bit length and
its bytes; at the end a count of -1. Numbers are big-endian, instants microseconds since 2000 UTC.

The table keeps growing from round to round, as the ledger beside it does.
"""

import struct
import time
from collections import deque
from itertools import count, cycle, islice

import asyncpg

from tests.bench.servers import Server, execute
from tests.bench.workload import HOUR_SECONDS, JOBS, PROVIDERS, Shape, Slice, slices

ROWS = 5_000  # a transaction

TABLE = """
CREATE TABLE record (
    id            bigint PRIMARY KEY,
    provider      text NOT NULL,
    record_id     text NOT NULL,
    contract      text NOT NULL,
    device        text NOT NULL,
    milli_devices bigint NOT NULL,
    starts        timestamptz NOT NULL,
    ends          timestamptz NOT NULL,
    run           text NOT NULL,
    state         text NOT NULL,
    final         boolean NOT NULL,
    UNIQUE (provider, record_id)
)"""
FIELDS = struct.pack("!h", 11)
BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = struct.pack("!h", -1)
EPOCH = 946_684_800  # 2000-01-01 UTC in seconds since 1970


class Baseline:
    """The table and one connection to it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._rows = _Rows()
        self._waiting: deque[bytes] = deque()

    @classmethod
    async def make(cls, server: Server) -> "Baseline":
        dsn = await server.create("baseline")
        await execute(dsn, TABLE)
        return cls(await asyncpg.connect(dsn))

    async def close(self) -> None:
        await self._connection.close()

    async def round(self, seconds: float, most_rows: int) -> float:
        """Copy for this many seconds, or until this many rows; returns rows a second."""
        while len(self._waiting) * ROWS < most_rows:
            self._waiting.append(self._rows.encode(ROWS))
        began = time.perf_counter()
        rows, elapsed = 0, 0.0
        while self._waiting and elapsed < seconds:
            await self._copy(self._waiting.popleft())
            rows += ROWS
            elapsed = time.perf_counter() - began
        return rows / elapsed

    async def _copy(self, data: bytes) -> None:
        """Copy one buffer; a statement outside of a transaction is one itself."""
        # As a view: plain bytes would be the name of a file.
        done = await self._connection.copy_to_table(
            "record", source=memoryview(data), format="binary"
        )
        assert done == f"COPY {ROWS}", done


class _Rows:
    """The records of all providers, an hour of each in turn."""

    def __init__(self) -> None:
        hours = cycle([(provider, slices(provider)) for provider in PROVIDERS])
        self._records = (
            (provider, record) for provider, endless in hours for record in islice(endless, JOBS)
        )
        self._numbers = count()

    def encode(self, rows: int) -> bytes:
        """Return the next rows as one complete COPY."""
        pairs = zip(islice(self._records, rows), self._numbers, strict=False)
        return b"".join((BEGIN, *(encode_row(number, *record) for record, number in pairs), END))


def encode_row(number: int, provider: str, record: Slice) -> bytes:
    return b"".join(
        (
            FIELDS,
            _integer(number),
            _text(provider),
            _text(record.id),
            _shape(record.shape),
            _instant(record.start),
            _instant(record.start + HOUR_SECONDS),
            _text(f"slurm:{record.job}"),
            _text(record.state),
            _field(b"\1" if record.final else b"\0"),
        )
    )


def _shape(shape: Shape) -> bytes:
    return _text(shape.contract) + _text(shape.device) + _integer(shape.milli_devices)


def _text(value: str) -> bytes:
    return _field(value.encode())


def _instant(seconds: int) -> bytes:
    return _integer((seconds - EPOCH) * 1_000_000)


def _integer(value: int) -> bytes:
    return struct.pack("!iq", 8, value)


def _field(data: bytes) -> bytes:
    return struct.pack("!i", len(data)) + data
