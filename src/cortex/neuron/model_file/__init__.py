"""Model files on this node: where they are, what their headers say, how much memory they will take."""
