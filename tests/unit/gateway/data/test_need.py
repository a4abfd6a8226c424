"""What a request needs comes from where it is: pictures from their hosts, responses from the shelf."""

import asyncio

from cortex.dialects.interface import Keep, Need
from cortex.gateway.data.need import NeedFetcher
from cortex.gateway.data.response_shelf import MemoryShelf
from cortex.gateway.ports import ShelfLimit


class Images:
    """Gives for a picture its URL."""

    async def fetch(self, url: str) -> bytes:
        return url.encode()


def test_pictures_and_responses_come_from_where_they_are() -> None:
    async def test() -> None:
        shelf = MemoryShelf(ShelfLimit(), lambda: 0.0)
        await shelf.put(Keep(id="resp_1", record=b"{}"))
        fetcher = NeedFetcher(Images(), shelf)  # type: ignore[arg-type]
        assert await fetcher.fetch(Need(kind="image", ref="https://x"), None) == b"https://x"
        assert await fetcher.fetch(Need(kind="response", ref="resp_1"), None) == b"{}"
        assert await fetcher.fetch(Need(kind="response", ref="resp_2"), None) is None

    asyncio.run(test())
