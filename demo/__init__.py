"""Training of the demo checkpoint: a small network and drawn figures.

In: drawn figures, a number of steps. Out: ``demo/XS-atto-demo.pth`` with its record, and its finer head.
Imports: ``export``; nothing imports this package.
"""
