"""What the host is made of and how it is doing: one probe per source, each knowing nothing of the others."""
