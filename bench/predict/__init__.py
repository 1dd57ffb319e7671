"""One person in one photo: joints as data and as a picture.

In: a photo and a session. Out: joints in pixels and mm.
Imports: ``bench.sessions`` and below, ``export``.
"""
