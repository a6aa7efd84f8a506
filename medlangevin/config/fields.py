"""Numbers as the schema takes them, and the base of its sections."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic would take yes and no for 1 and 0
        raise ValueError("a number is needed, not yes or no")
    return value


# Numbers may also come as text: YAML 1.1 reads 1e-3, without a point, as a string.
Float = Annotated[float, BeforeValidator(_refuse_boolean), Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(_refuse_boolean)]
Positive = Annotated[Float, Field(gt=0)]
Count = Annotated[Integer, Field(ge=1)]
# Numbers of steps, draws and layers: more of them than this is a slip of the keyboard as well.
Repeats = Annotated[Integer, Field(ge=1, le=10000)]
# Step sizes and standard deviations: what lies outside is of no use and overflows in float32.
Scale = Annotated[Float, Field(ge=1e-12, le=1e3)]
# Wider networks do not fit the memory of any machine this is meant for; a slip of the keyboard does.
Width = Annotated[Integer, Field(ge=1, le=16384)]


class Section(BaseModel):
    """One mapping of the YAML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def kind_unless_given(key: str, kind: str) -> BeforeValidator:
    """The kind of a section that does not name it.

    Args:
        key: The setting that says which kind a section is; pydantic's discriminator.
        kind: Its value where it is left out.

    Returns:
        A validator for an annotation, to stand behind the ``Field`` with the discriminator.
    """
    return BeforeValidator(lambda raw: {key: kind} | raw if isinstance(raw, dict) else raw)
