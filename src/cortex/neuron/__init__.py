"""The node plane: one process per GPU host, the only authority on its own memory.

It discovers the hardware, samples it, runs harnesses (the adapters of engines) and answers on port 9090. It decides
nothing about the fleet and never imports the gateway. Importing this package costs nothing: ``app.py`` wires.
"""
