"""The checks of a neuron: drivers and devices, engines, systemd and its rules, memory, disks, and its port."""
