"""Entry point of the child process: ``python -m cortex.neuron.embedded <llama-server flags>``."""

import os
import sys

from cortex.neuron.embedded.argument import parse
from cortex.neuron.embedded.server import serve

if __name__ == "__main__":
    sys.exit(serve(parse(sys.argv[1:], os.environ)))
