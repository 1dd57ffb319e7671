"""The same comparison on many machines: what is sent to a device, how it is carried out there, and what comes back."""
