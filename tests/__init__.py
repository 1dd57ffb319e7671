"""Tests, in rooms like the code's. Real files and real runtimes wherever this machine has them."""
