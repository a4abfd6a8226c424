"""The commands ``cortex`` and ``cortex-neuron``.

``serve.py``, ``neuron.py`` and ``up/`` start daemons and are the only ones to import them; every other command speaks
HTTP to a running one. The daemons' command lines are read by argparse alone: typer and rich cost a tenth of a second
and ten megabytes that a daemon would keep.
"""
