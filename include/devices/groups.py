"""Use cases on device groups: devices of a project under a name."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from include.devices.errors import GroupInUseError
from include.devices.model import DeviceGroup
from include.devices.rows import GroupFields, GroupRow
from include.devices.scope import DeviceScope
from include.errors import InvalidInputError, NotFoundError
from include.metering.problems import Problems


class GroupService(DeviceScope):
    """Groups by group_id."""

    async def create(self, row: GroupRow) -> DeviceGroup:
        """Make a group. Raises InvalidInputError: no such project; ConflictError: its id or name is taken."""
        if not self.sees(row.project_id):
            raise InvalidInputError(f"there is no project {row.project_id!r}", field="project_id")
        values = {**row.model_dump(), "group_id": row.group_id or uuid4().hex}
        return await self.repository.insert_group(values, self.clock())

    async def find_group(self, group_id: str) -> DeviceGroup:
        """Return a group. Raises NotFoundError."""
        found = await self.repository.find_group(group_id, self.projects)
        if found is None:
            raise NotFoundError(f"there is no group {group_id!r}")
        return found

    async def change(self, group_id: str, fields: GroupFields) -> DeviceGroup:
        """Give a group another name or description. Raises NotFoundError, ConflictError."""
        found = await self.find_group(group_id)
        return await self.repository.update_group(found.id, fields.model_dump())

    async def delete(self, group_id: str) -> None:
        """Delete a group; its devices stay. Raises NotFoundError."""
        found = await self.find_group(group_id)
        await self.repository.delete_group(found.id)

    async def delete_empty(self, group_id: str) -> None:
        """Delete a group in which no device is. Raises NotFoundError, GroupInUseError."""
        found = await self.find_group(group_id)
        if not await self.repository.delete_empty_group(found.id):
            raise GroupInUseError

    async def list_groups(
        self, *, after: int, limit: int, project: str | None = None, device_id: str | None = None
    ) -> list[DeviceGroup]:
        """Return groups, the oldest first; of a project, or those that a device is in."""
        projects = self.projects
        if project is not None:
            projects = [project] if self.sees(project) else []
        return await self.repository.list_groups(projects, device_id, after, limit)

    async def add_members(self, group_id: str, device_ids: Sequence[str]) -> tuple[int, int]:
        """Put devices into a group, all or none; returns how many are new and how many were there.

        :raises NotFoundError: no such group
        :raises InvalidRowsError: devices that the group's project does not have
        """
        group, ids = await self._members(group_id, device_ids)
        added = await self.repository.add_members(group.id, ids)
        return added, len(ids) - added

    async def remove_members(self, group_id: str, device_ids: Sequence[str]) -> tuple[int, int]:
        """Take devices out of a group; returns how many left and how many were not there. Errors as above."""
        group, ids = await self._members(group_id, device_ids)
        removed = await self.repository.remove_members(group.id, ids)
        return removed, len(ids) - removed

    async def _members(self, group_id: str, device_ids: Sequence[str]) -> tuple[DeviceGroup, set[int]]:
        group = await self.find_group(group_id)
        known = await self.repository.devices_in_project(group.project_id, set(device_ids))
        problems = Problems()
        for index, device_id in enumerate(device_ids):
            if device_id not in known:
                problems.refuse(index, "device_ids", f"the project has no device {device_id!r}")
        problems.check()
        return group, set(known.values())
