"""Error of an artifact: its joints compared with those of the FP64 reference, in bins, pixels and mm.

In: joints of two sessions, a budget. Out: a grade, a status, and the layer where an error begins.
Imports: ``export.graph`` and below.
"""
