"""Proving a bundle on a device: parity on the goldens, latency in turns, one report."""
