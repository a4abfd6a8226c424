"""``cortex top``: the fleet in a terminal, as it changes.

``board`` is what is known, ``feed`` asks the gateway for it, ``glance`` is how somebody looks at it, ``part`` and
``page`` make lines of both, ``terminal`` paints them. Neither rich's live display nor textual: they draw more than has
changed, and this is to stay below a hundredth of a core.
"""
