"""How the demo checkpoint is made: a small network, trained on drawn figures."""
