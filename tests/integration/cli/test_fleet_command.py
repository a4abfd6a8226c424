"""The commands of operators against a running gateway and its neurons, over real sockets, as a shell would run them."""

import asyncio
import json

from tests.integration.gateway.hostile_engine import good
from tests.integration.gateway.scene import MODEL, Scene, staged, until
from typer.testing import CliRunner

from cortex.cli.command import app
from cortex.contract.profile import Profile

PROFILES = (
    Profile(id=MODEL, harness="llamacpp", vram_mb=1000, aliases=("short",)),
    Profile(id="org/big", harness="llamacpp", vram_mb=1_000_000),
)


async def run(it: Scene, *argv: str) -> tuple[int, str]:
    """Run a command while the gateway goes on."""
    env = {"CORTEX_URL": f"http://127.0.0.1:{it.gateway.port}"}
    result = await asyncio.to_thread(CliRunner().invoke, app, argv, env=env)
    return result.exit_code, result.output


def test_an_operators_day(in_flight_zero: list[object]) -> None:
    async def scene() -> None:
        async with staged(in_flight_zero, good, nodes=2, loaded=False, profiles=PROFILES) as it:  # type: ignore[arg-type]
            code, out = await run(it, "status")
            assert (code, out.splitlines()[0]) == (
                0,
                "fleet: ok, 2 of 2 nodes healthy, 0 requests in flight, 0 waiting",
            )
            code, out = await run(it, "plan", "short", "--node", "n1")
            assert (code, out.splitlines()[0]) == (0, f"{MODEL}: loaded on n1, device 0")
            assert await run(it, "load", "short", "--node", "n1") == (0, f"{MODEL}: loaded on n1\n")
            code, out = await run(it, "models", "--json")
            assert {model["id"]: model["nodes"] for model in json.loads(out)} == {MODEL: ["n1"], "org/big": []}
            assert await run(it, "pin", "short") == (0, f"{MODEL}: pinned on n1\n")
            await until(lambda: it.neurons[1].models[MODEL].pinned)
            assert await run(it, "drain", "n0") == (0, "n0: nothing new is placed there\n")
            assert await run(it, "undrain", "n0") == (0, "n0: used again\n")
            assert await run(it, "unload", "short") == (0, f"{MODEL}: unloaded on n1\n")
            code, out = await run(it, "decisions", "--json", "--limit", "100")
            kinds = [decision["kind"] for decision in json.loads(out) if decision["caller"] in ("operator", "")]
            told = [kind for kind in kinds if kind != "steward"]
            assert (code, told) == (0, ["placement", "load", "pin", "maintenance", "maintenance", "unload"])

    asyncio.run(scene())


def test_what_cannot_be_done_fails_and_says_why(in_flight_zero: list[object]) -> None:
    async def scene() -> None:
        async with staged(in_flight_zero, good, loaded=False, profiles=PROFILES) as it:  # type: ignore[arg-type]
            for argv, words in (
                (("load", "org/big"), "404: No node of this fleet can serve 'org/big'"),
                (("load", "shrot"), "404: No model named 'shrot' is known; did you mean 'short'?"),
                (("unload", "short"), f"{MODEL} is loaded on no node: name one with --node"),
                (("drain", "nO"), "404: No node 'nO' is configured; did you mean 'n0'?"),
                (("explain", "org/new"), "404: No model named 'org/new' is known"),
                (("explain", "org/new", "--vram-mb", "5"), "404: No model named 'org/new' is known"),
            ):
                code, out = await run(it, *argv)
                assert (code, words in out) == (1, True), (argv, out)
            code, out = await run(it, "explain", "org/new", "--harness", "llamacpp", "--vram-mb", "90000")
            assert (code, "never" in out) == (0, True)

    asyncio.run(scene())
