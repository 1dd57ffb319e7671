"""Measuring: latency, throughput, energy and accuracy of artifacts, beside the PyTorch reference.

In: an exported folder. Out: results, reports, a gate's decision.
Imports: ``export``. ``docs/measuring.md`` has the protocol.
"""
