"""``cortex doctor`` and ``cortex-neuron doctor``: what is wrong with this host, its configuration and what it talks to.

Every check has an edge, which gathers facts and decides nothing, and a judge, which is a pure function of those facts
and gives findings. ``examination.py`` runs all of them at once, each with a deadline; nothing is changed anywhere.
``gateway`` and ``node`` have the checks of one daemon each, the files beside this one what both need.
"""
