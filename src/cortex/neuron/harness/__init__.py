"""One adapter per engine kind: how it is started, watched, asked and stopped. It decides nothing: the supervisor does.

To add one: a class that fulfils ``interface.Harness`` in a file of its own, and its line in ``registry.py``.
"""
