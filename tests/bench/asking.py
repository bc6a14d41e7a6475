"""Ask a service the same question again and again, and print how long each took, as JSON.

    KASHI_TOKEN=… python -m tests.bench.asking URL PATH SECONDS

One connection, one question at a time, with a short pause between them.
"""

import json
import os
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.01


def main() -> None:
    url, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    connection = HTTPConnection(urlsplit(url).netloc)
    headers = {"Authorization": f"Bearer {os.environ['KASHI_TOKEN']}"}
    ask(connection, path, headers)  # the connection is there before the clock starts
    times = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        ask(connection, path, headers)
        times.append(time.perf_counter() - began)
        time.sleep(PAUSE_SECONDS)
    json.dump(times, sys.stdout)


def ask(connection: HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    """Send a question that must succeed, and wait for the whole answer."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return body


if __name__ == "__main__":
    main()
