"""Load an artifact in a runtime and run it: one session class per runtime, and the builder of engines.

In: an ONNX model or an engine, and a batch of images. Out: joints in bins; or an engine.
May import: NumPy and the runtime's own library, but nothing else of the project, since a bundle ships this package as
``pose_runtime/runtime``. Its modules keep to Python 3.8 and to relative imports, and import a library only where a
session of it is opened.
"""
