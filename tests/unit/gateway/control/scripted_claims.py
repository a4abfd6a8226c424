"""Claims that do what a test says, and note what they were asked."""

from cortex.contract.error import StoreUnavailable
from cortex.gateway.ports import Claim


class ScriptedClaims:
    """Implements ``ports.Claims`` for one gateway, ``me``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.holder = "me"
        self.target = ""
        self.number = 7
        self.is_down = False
        self.is_kept = True
        """Whether a claim can still be renewed."""

    async def claim(self, name: str, target: str, ttl_s: float) -> Claim:
        self._ask("claim", name)
        is_mine = self.holder == "me"
        return Claim(
            name=name,
            holder=self.holder,
            target=target if is_mine else self.target,
            number=self.number,
            is_mine=is_mine,
            expires_in_s=ttl_s,
        )

    async def renew(self, claim: Claim, ttl_s: float) -> bool:
        self._ask("renew", f"{claim.name} {ttl_s:g}")
        return self.is_kept

    async def release(self, claim: Claim) -> None:
        self._ask("release", claim.name)

    def _ask(self, what: str, about: str) -> None:
        self.asked.append((what, about))
        if self.is_down:
            raise StoreUnavailable
