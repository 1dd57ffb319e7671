"""The edge bundle and the Triton repository: deployment packages of an export.

In: the folder of an export. Out: ``<MODEL>-bundle`` (a folder, its archive, hashes), which builds its engines on a
device and verifies itself there; or ``<MODEL>-triton``, a model repository.
Imports: ``export.pipeline`` and below. ``device/`` is copied into every bundle unchanged, together with
``export.runtime``; it imports nothing else of this project and runs on Python 3.8.
"""
