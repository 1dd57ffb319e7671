"""Annotated images behind one small protocol, one source a file."""
