"""The side-by-side benchmark: cortex and its peers in front of one upstream, each on one core, in one run.

``peer/`` knows how each gateway is installed and started, ``case/`` what is measured, ``native/`` holds the upstream
and the load client in C. Nothing here imports ``cortex``: it is started as its user starts it.
"""
