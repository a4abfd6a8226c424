"""Fakes and drivers shipped with cortex for tests, ours and those of people who extend it.

A clock that is moved by hand, a neuron by the contract without a host under it, and a simulated fleet around the real
dispatcher.

No production module imports this package.
"""
