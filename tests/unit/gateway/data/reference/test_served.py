"""The document is served to whoever may use the API, and costs nothing before."""

import asyncio
import subprocess
import sys

import msgspec
from tests.unit.gateway.data.rig import Answer, rig

from cortex.gateway.data.reference.document import document
from cortex.gateway.data.reference.served import document_bytes

IMPORTS = """
import sys
import cortex.gateway.app
from cortex.gateway.data.reference import served
print(any(name.startswith('cortex.gateway.data.reference.document') for name in sys.modules))
"""


def asked(method: bytes) -> Answer:
    answers: list[Answer] = []

    async def run() -> None:
        with rig() as it:
            client = it.request(method, b"/openapi.json")
            client.end()
            await it.plane.tasks.over()
            answers.append(client.answer)

    asyncio.run(run())
    return answers[0]


def test_it_is_the_document() -> None:
    answer = asked(b"GET")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert msgspec.json.decode(answer.body) == msgspec.json.decode(msgspec.json.encode(document()))
    assert document_bytes() is document_bytes()


def test_it_is_not_there_for_another_method() -> None:
    answer = asked(b"POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_a_gateway_that_nobody_asks_does_without_it() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
