"""Gets what requests need before they can be sent: pictures from where they are, earlier responses from the shelf."""

from cortex.contract.key import Key
from cortex.dialects.interface import Need
from cortex.gateway.data.image_fetch import ImageFetch
from cortex.gateway.data.response_owner import OwnShelf
from cortex.gateway.ports import ResponseShelf


class NeedFetcher:
    """Implements ``Fetcher``."""

    def __init__(self, images: ImageFetch, shelf: ResponseShelf) -> None:
        self._images = images
        self._shelf = shelf

    async def fetch(self, need: Need, key: Key | None) -> bytes | None:
        """Return the value of a need, as far as a key may see it. Raises: CortexError when it cannot be had."""
        if need.kind == "image":
            return await self._images.fetch(need.ref)
        return await OwnShelf(self._shelf, key).get(need.ref)
