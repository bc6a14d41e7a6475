"""An operation in curl, Python and Go, as `x-codeSamples` of its description.

Each asks with the examples that the description has for path, query and body. `KASHI` is the
service's URL and `TOKEN` a token. A command's key stays the same where it is sent again.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "2025-0001"

_CURL: Final = """\
curl --silent --fail-with-body "$KASHI{target}" \\
  --header "Authorization: Bearer $TOKEN"{rest}
"""
_CURL_COMMAND: Final = """ \\
  --header 'Idempotency-Key: {key}' \\
  --data '{body}'"""

_PYTHON: Final = """\
import json
import os
from urllib.request import Request, urlopen

headers = {{"Authorization": "Bearer " + os.environ["TOKEN"]{header}}}
request = Request(os.environ["KASHI"] + "{target}", {data}headers)
with urlopen(request) as answer:
    print(json.dumps(json.load(answer)))
"""

_GO: Final = """\
package main

import (
	"io"
	"net/http"
	"os"{imports}
)

func main() {{
	request, err := http.NewRequest("{method}", os.Getenv("KASHI")+"{target}", {body})
	if err != nil {{
		panic(err)
	}}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN")){header}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {{
		panic(err)
	}}
	defer answer.Body.Close()
	io.Copy(os.Stdout, answer.Body)
	if answer.StatusCode >= 400 {{
		os.Exit(1)
	}}
}}
"""


def code_samples(target: str, body: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """Return a question, or a command with its body, in each language."""
    if body is None:
        curl = _CURL.format(target=target, rest="")
        python = _PYTHON.format(target=target, header="", data="headers=")
        go = _GO.format(method="GET", target=target, imports="", body="nil", header="")
    else:
        text = json.dumps(body, ensure_ascii=False)
        curl = _CURL.format(target=target, rest=_CURL_COMMAND.format(key=KEY, body=text))
        python = _PYTHON.format(
            target=target,
            header=f', "Idempotency-Key": "{KEY}"',
            data=f"json.dumps({text}).encode(), ",
        )
        go = _GO.format(
            method="POST",
            target=target,
            imports='\n\t"strings"',
            body=f"strings.NewReader(`{text}`)",
            header=f'\n\trequest.Header.Set("Idempotency-Key", "{KEY}")',
        )
    sources = {"curl": curl, "Python": python, "Go": go}
    return [{"lang": language, "source": source} for language, source in sources.items()]
