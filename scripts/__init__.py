"""Measurements for the documentation, run as modules.

In: an exported folder or a checkpoint. Out: lines or a Markdown table on stdout.
Imports: ``export``, ``bench`` and ``cli``; nothing imports this package.
"""
