"""Whole commands: what a user can rely on, however the code is laid out."""
