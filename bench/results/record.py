"""What all records of a result have in common."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, nothing unknown in it, no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
