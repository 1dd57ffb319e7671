"""The command line: one verb a file, each parses, calls and renders."""
