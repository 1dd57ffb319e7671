"""Load an artifact in a runtime and run it: one session class per runtime, and the builder of engines.

This package needs NumPy and the runtime's own library, and nothing else of the project: a bundle ships it as
``pose_runtime/runtime``. Its modules therefore keep to Python 3.8 and to relative imports, and import each library only
where a session of it is opened.
"""
