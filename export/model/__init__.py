"""The network: its architecture as a value, its configurations, the reference in PyTorch, the camera.

In: a configuration, tensors under canonical names, crops. Out: a network and its joints in bins and mm.
Imports: ``export.common`` and below.
"""
