"""One person in one photo: joints as data and as a picture.

In: a photo, a person's box and a session. Out: joints in bins, pixels and mm, a JSON record, and a drawing.
Imports: ``bench.sessions`` and below, ``export``.
"""
