"""``companies/<company>/company.toml``: Company Mail Settings."""

from __future__ import annotations

from pydantic import Field

from config.system import Context
from config.values import Line  # noqa: TC001 - pydantic reads the annotations


class CompanySettings(Context):
    """``company.toml``: the tables of the system, for one company."""

    name: Line | None = Field(
        default=None,
        description="The company's name, for people.",
        examples=["Acme (NZ) Ltd"],
    )
    replicate_from_system: bool = Field(
        default=False,
        title="Replicate From System",
        description="Copies, live, every value that the company leaves out. A limit is copied "
        "as a number: the company has its own budget.",
        examples=[False],
    )
