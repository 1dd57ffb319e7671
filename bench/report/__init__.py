"""The report: a page with the row to ship, its speed and accuracy, and what was not tested.

In: folders of exports, fleet runs and device reports, which ``sources`` finds and ``model_files`` reads and checks.
A ``Measurement`` is one model on one device, with the rows of ``bench.results.result``; ``recommend`` chooses one row.
Out: HTML and Markdown. ``sections`` and ``charts`` turn measurements into the values of
``views``, which ``html`` and ``markdown`` write.
May import every package of ``bench``; only ``cli`` imports it.
"""
