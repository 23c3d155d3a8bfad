"""Batch tasks: create, list, show, retry, stop, confirm, delete."""

from __future__ import annotations

from fastapi import APIRouter

from api_plugin.iot_batch.errors import ERRORS

router = APIRouter(prefix="/{project_id}/batchtasks", tags=["batch tasks"], responses=ERRORS)
