"""Records and headers of a build."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from export.common.errors import BadInput, CheckFailed
from export.engine.build import check_engine_file
from export.engine.record import read_engine_record, require_planned
from export.runtime.engine_file import TENSORRT, TENSORRT_RTX, Product
from export.runtime.engine_network import Convolutions
from tests.support.engines import RECORD, write_engine


def test_an_engine_of_another_int8_plan_is_refused() -> None:
    int8 = replace(RECORD, convolutions=Convolutions(65, 42))
    require_planned(int8, 42)
    for planned in (41, 43, 0):
        with pytest.raises(CheckFailed, match=f"42 of 65 convolutions in int8, planned: {planned}"):
            require_planned(int8, planned)


@pytest.mark.parametrize(
    "change", [{"schema_version": 1}, {"schema_version": 4, "gpu": "Orin"}, {"tf32": None}, {"size_bytes": "1"}]
)
def test_other_records_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "e.json"
    path.write_text(json.dumps({**asdict(RECORD), **change}))
    with pytest.raises(BadInput, match="build the engine again"):
        read_engine_record(path)


def test_the_header_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "e"
    record = write_engine(path, TENSORRT_RTX)
    content = path.read_bytes()
    assert check_engine_file(path, TENSORRT_RTX, record) == "1.7.1.116"
    changes: list[tuple[bytes, Product, dict[str, Any]]] = [
        (content, TENSORRT, {}),
        (content, TENSORRT_RTX, {"package_version": "1.6.1.116"}),
        (content, TENSORRT_RTX, {"size_bytes": len(content) + 1}),
        (content[:27], TENSORRT_RTX, {"size_bytes": 27}),
        (b"", TENSORRT_RTX, {"size_bytes": 0}),
    ]
    for data, product, change in changes:
        path.write_bytes(data)
        with pytest.raises(CheckFailed):
            check_engine_file(path, product, replace(record, **change))
