"""What stands in for NVIDIA's driver and libraries where there is no GPU: on real memory, with their real calls."""
