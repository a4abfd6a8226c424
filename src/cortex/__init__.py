"""cortex: one OpenAI- and Anthropic-compatible API in front of a fleet of self-owned GPU machines."""

__version__ = "0.1.0"
