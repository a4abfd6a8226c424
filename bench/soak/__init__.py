"""A gateway and its nodes for a long while under clients that leave, clients that read slowly, and engines that die."""
