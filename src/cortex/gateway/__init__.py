"""The gateway process: data plane (per request), control plane (per change), wired in ``app.py``."""
