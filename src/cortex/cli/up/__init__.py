"""``cortex up``: a whole fleet on one machine, as real processes on loopback, gone when the command ends.

``plan`` decides ports and writes the configuration files; ``model`` finds or makes the model file; ``fleet`` runs the
processes; ``guide`` is what the person reads; ``command`` puts them together.
"""
