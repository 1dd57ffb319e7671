"""Base class of all records of a result."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen record without unknown keys, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
