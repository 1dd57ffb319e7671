"""Images that a network is judged or calibrated on: photographs, drawn people, and their norm statistics.

In: files, or a random seed. Out: crops (N, S, S, 3) with a description of their source.
Imports: ``export.model`` and below.
"""
