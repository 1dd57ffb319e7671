"""Checks of the open dictionaries in a result: keys that a program reads have their type, others may hold anything."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Parity(_Open):
    outcome: str
    reason: str
    images: int = 0
    status: str = ""
    mean_mm: float | None = None
    p99_mm: float | None = None
    max_mm: float | None = None


class _Host(_Open):
    cpu: str
    usable_cores: int
    machine: str
    governor: str | None
    cpu_limit: float | None = None
    memory_mib: int | None = None


class _Gpu(_Open):
    name: str | None
    driver: str | None
    power_limit_w: float | None


class _Software(_Open):
    python: str
    libraries: dict[str, str]


class _Environment(_Open):
    host: _Host
    gpus: list[_Gpu]
    software: _Software


class _Protocol(_Open):
    threads: int
    seed: int = 0
    launches: int = 1
    images: int = 0
    stop: dict[str, float | int | str | bool | None] = Field(default_factory=dict)


class _Executed(_Open):
    nodes: int
    convolutions: dict[str, int]


class _Facts(_Open):
    device: str | None = None
    executed: _Executed | None = None


def _checked_by(model: type[BaseModel]) -> Any:
    """Return a validator that keeps a dictionary as it is, if the model accepts it."""

    def check(plain: dict[str, Any]) -> dict[str, Any]:
        model.model_validate(plain)
        return plain

    return AfterValidator(check)


Parity = Annotated[dict[str, Any], _checked_by(_Parity)]
Environment = Annotated[dict[str, Any], _checked_by(_Environment)]
Protocol = Annotated[dict[str, Any], _checked_by(_Protocol)]
Facts = Annotated[dict[str, Any], _checked_by(_Facts)]
