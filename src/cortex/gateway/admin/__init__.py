"""ADMIN plane: what operators see and do, over HTTP and JSON. Knows the fleet only through ``gateway/ports.py``."""
