"""Entry point of the child process: ``python -m cortex.neuron.images`` with its settings in ``CORTEX_IMAGES``."""

import os
import sys

from cortex.neuron.images.program import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
