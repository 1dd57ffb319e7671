"""The edge bundle: what leaves this machine, builds itself on a device, and proves itself there.

``device/`` is copied into every bundle as it is. Nothing there imports this project; it runs on Python 3.8.
"""
