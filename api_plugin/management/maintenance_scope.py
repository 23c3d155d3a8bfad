"""What calls about maintenance share: whose it is, what identifies things."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator

from include.maintenance.objects import check_object_id
from include.metering.rows import check_project

ObjectId = Annotated[str, BeforeValidator(check_object_id)]
Uid = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Organization = Annotated[
    str | None,
    Query(description="whose; needed where the token has several projects and it is not clear"),
    # Where tokens are not restricted things belong to nobody: to "".
    AfterValidator(lambda text: text and check_project(text)),
]
