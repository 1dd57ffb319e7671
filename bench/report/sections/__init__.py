"""One section of a page a file: plain values of ``subject`` → what is said of them. Pure functions."""
