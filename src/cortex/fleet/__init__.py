"""PURE. What the fleet should do next: values and ``now_s`` in, values and effects out."""
