"""Use cases on a project's billing rules."""

from __future__ import annotations

from dataclasses import asdict

from include.billing.model import ProjectRules
from include.billing_tasks.service import BillingTaskService
from include.cron.zones import check_zone
from include.metering.scope import ProjectService
from include.settings import get_settings

#: Rules that say where bills end and what a meter showed there. Where one changes, the next bill would not
#: begin where the last one ended, so the last one is looked at again.
BOUNDARIES = ("timezone", "cut", "boundary_tolerance")


class RulesService(ProjectService):
    """How a project is billed."""

    async def find(self) -> ProjectRules:
        """Return the project's rules; of one that has none of its own the defaults."""
        return await self.repository.find_rules() or ProjectRules(timezone=get_settings().timezone)

    async def put(self, rules: ProjectRules) -> None:
        """Store the project's rules; its billing tasks go by its clocks from now on.

        Bills stay as they are; the last of each service point is looked at again where a boundary would be
        measured otherwise.

        :raises InvalidInputError: names `timezone`; or the crontab of a task would not be due any more
        """
        check_zone(rules.timezone, field="timezone")
        await self.share_readings()
        before = await self.find()
        await self.repository.put_rules(asdict(rules), self.clock())
        if any(getattr(before, name) != getattr(rules, name) for name in BOUNDARIES):
            await self.repository.request_rerates_of_project()
        tasks = BillingTaskService(self.connection, projects=self.projects, clock=self.clock)
        await tasks.follow_project(self.project_id)
