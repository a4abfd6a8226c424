"""Many clients at once against one gateway, each on a bare socket of its own: who asks, who stays, who leaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from tests.integration.fleet.fleet import GatewayProcess, chat
from tests.integration.gateway.raw_client import Answer, RawClient, connected
from tests.integration.neuron.neuron_process import wait_until


@contextlib.asynccontextmanager
async def crowd(gateway: GatewayProcess, models: Sequence[str], **more: object) -> AsyncIterator[list[RawClient]]:
    """Let one client ask for each of these models; yield the clients once all have asked."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(gateway.port)) for _ in models]
        for client, model in zip(clients, models, strict=True):
            await client.ask(chat(model, **more))
        yield clients


async def answers(clients: Sequence[RawClient]) -> list[Answer]:
    """Return everybody's whole answer."""
    return list(await asyncio.gather(*(client.answer() for client in clients)))


@contextlib.asynccontextmanager
async def traffic(gateway: GatewayProcess, model: str, **more: object) -> AsyncIterator[None]:
    """Let three clients ask for a model again and again until the block ends; all must be served."""
    is_over = asyncio.Event()

    async def ask_on() -> None:
        while not is_over.is_set():
            async with crowd(gateway, [model], **more) as clients:
                assert {answer.status for answer in await answers(clients)} == {200}

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(ask_on())
        yield
        is_over.set()


async def all_leave(gateway: GatewayProcess, models: Sequence[str], **more: object) -> None:
    """Let one client ask for each of these models, and be gone once the gateway has all of them waiting."""
    before = gateway.waiting()
    async with crowd(gateway, models, **more) as clients:
        await until(lambda: gateway.waiting() == before + len(models))
        for client in clients:
            client.vanish()
    await until(lambda: gateway.waiting() == before)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, and let clients go on meanwhile."""
    await asyncio.to_thread(wait_until, is_so)
