"""The checks of a gateway: its files, its ports, its store, who may call it, and the neurons that it is to use."""
