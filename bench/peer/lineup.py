"""Every gateway of the comparison, in the order of the tables; nginx first, because ratios are to it."""

from bench.peer.cortex import Cortex
from bench.peer.interface import Peer
from bench.peer.litellm import LiteLlm
from bench.peer.nginx import Nginx
from bench.peer.sglang_router import SglangRouter

PEERS: tuple[Peer, ...] = (
    Nginx(),
    Cortex("cortex", has_uvloop=True),
    Cortex("cortex without uvloop", has_uvloop=False),
    SglangRouter(),
    LiteLlm(),
)
