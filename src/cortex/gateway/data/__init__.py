"""The data plane: per request, hot. No SQL, no polling, no framework."""
