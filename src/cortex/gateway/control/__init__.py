"""The control plane: per change, slow. ``loop`` is the single writer of the fleet's state."""
