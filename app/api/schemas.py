"""What every answer of the API is made of; which fields each has, its room says."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)
