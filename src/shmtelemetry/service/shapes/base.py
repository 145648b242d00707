"""What all answers have in common, as the OpenAPI document tells it. Null is a figure that nobody has told."""

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """An answer has these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Open(BaseModel):
    """An answer has these fields, and may have others."""

    model_config = ConfigDict(extra="allow")
