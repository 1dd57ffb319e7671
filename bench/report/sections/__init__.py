"""Sections of a page: pure functions from measurements to worded values."""
