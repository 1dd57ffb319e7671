"""What every exported artefact is called from outside."""

INPUT = "image"
"""float32 (batch, 3, S, S), normalised as ``export.pose`` has it."""

OUTPUT = "joints"
"""float32 (batch, joints, 3): x, y, z in bins."""
