"""Small technical tools with at least two users and no domain words: settings, clock, tasks, log, serving, metrics.

Nothing here decides anything about models or nodes; what has one user lives with that user.
"""
