"""Names of things, as types: they keep a node's name from being passed where a model's is meant.

No parsing happens here; an id is whatever its owner (configuration, catalogue, neuron) called it.
"""

from typing import NewType

NodeId = NewType("NodeId", str)
"""A neuron's ``name`` in ``cortex.toml``."""

ModelId = NewType("ModelId", str)
"""A model's canonical id: the exact Hugging Face id unless the operator chose another. May contain slashes."""

RequestId = NewType("RequestId", str)
"""``x-request-id``: the caller's own where it is printable and short, else made by the gateway."""
