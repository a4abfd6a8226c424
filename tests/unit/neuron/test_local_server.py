"""Which process listens at the address of a server that runs by itself."""

import os
import socket

from cortex.neuron.local_server import listener_at
from cortex.neuron.process.child import start_ticks


def test_it_is_found_by_the_port_on_this_host_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        own = os.getpid(), start_ticks(os.getpid())
        assert listener_at(f"http://127.0.0.1:{port}") == own
        assert listener_at(f"http://localhost:{port}") == own
        assert listener_at(f"http://gpu.example:{port}") == (0, 0)


def test_where_nobody_listens_it_is_not_known() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert listener_at(f"http://127.0.0.1:{nobody.getsockname()[1]}") == (0, 0)
