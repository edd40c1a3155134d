from __future__ import annotations

import pandas as pd

from flywheel.registry.signature import signature_of


def test_columns_have_the_types_of_the_schema_and_pictures_any() -> None:
    schema = {
        "properties": {
            "age": {"type": "number"},
            "visits": {"type": "integer"},
            "member": {"type": "boolean"},
            "city": {"type": "string"},
            "photo": {"type": "string", "contentEncoding": "base64"},
            "image": {"anyOf": [{"type": "string"}, {"type": "array"}]},
            "year": {"type": ["integer", "null"]},
        },
        "required": ["age", "image"],
    }
    answers = pd.DataFrame({"label": ["a"], "probability": [0.5], "rank": [1], "sure": [True]})
    signature = signature_of(schema, answers)
    inputs = {spec.name: (spec.type.name if hasattr(spec.type, "name") else "any", spec.required)
              for spec in signature.inputs.inputs}  # fmt: skip
    assert inputs == {
        "age": ("double", True),
        "visits": ("long", False),
        "member": ("boolean", False),
        "city": ("string", False),
        "photo": ("any", False),
        "image": ("any", True),
        "year": ("any", False),
    }
    outputs = {spec.name: spec.type.name for spec in signature.outputs.inputs}
    assert outputs == {"label": "string", "probability": "double", "rank": "long", "sure": "boolean"}
