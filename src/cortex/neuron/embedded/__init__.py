"""The engine that needs no installation: llama.cpp's own ``llama-server``, out of the wheel ``xllamacpp``.

``python -m cortex.neuron.embedded <llama-server flags>`` is run as a child process, exactly like an installed
``llama-server``: same flags, routes, exit codes, log lines and signals. ``tiny_model`` writes a small model for it.
The child imports nothing else of cortex, so that it is ready within a quarter of a second.
"""
