"""How fast the exported artefacts run, beside the PyTorch reference."""
