"""Child processes: start, watch, stop, find again, and read what they said last."""
