"""`python -m include.migrations`: bring the database of this environment to the newest version."""

from __future__ import annotations

import sys

from include.migrations import upgrade
from include.settings import get_settings


def main() -> int:
    """Migrate the database that `CARILLON_DATABASE_URL` names."""
    url = get_settings().database_url
    if url is None:
        sys.stderr.write("CARILLON_DATABASE_URL must name the database to migrate\n")
        return 2
    upgrade(url.get_secret_value())
    return 0


if __name__ == "__main__":
    sys.exit(main())
