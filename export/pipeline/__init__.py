"""The main job: steps from a request to a folder of proven artifacts with a manifest.

In: an ``ExportRequest``. Out: an ``Export``.
Imports: every package of ``export`` but ``bundle``.
"""
