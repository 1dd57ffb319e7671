"""Sections of a page: pure functions without files.

In: choices, measurements and the files of an export. Out: a ``views.Section`` with texts, tables and charts.
May import ``bench.report.charts`` and everything that it uses; ``pages`` puts sections together.
"""
