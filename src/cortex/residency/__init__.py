"""PURE: what fits on one node, and the life of one instance there.

The neuron decides with it, the gateway forecasts with it: one arithmetic, so that the two can only
disagree about facts.
"""
