"""From the JSON files of export, parity, benchmark and evaluation to one page; nothing is measured, torch not needed.

``sources`` reads and refuses, ``subject`` is what is known in plain values (``from_result`` and ``from_export`` make
it), ``sections`` words it as the values of ``views``, ``page`` and ``markdown`` write those out.
"""
