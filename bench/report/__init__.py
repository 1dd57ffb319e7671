"""The report: a page that says what to ship, how fast and how accurate it is, and what was not tested.

``sources`` and ``model_files`` read and refuse. A ``Measurement`` is one model on one device, with the rows of
``bench.results.result``; it comes from a model's folder, a fleet's run or a device report. ``recommend`` chooses a
row of it.
``sections`` and ``charts`` turn measurements into the values of ``views``; ``html`` and ``markdown`` write those.
"""
