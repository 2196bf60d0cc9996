# SPDX-License-Identifier: Apache-2.0
"""MLflow's own migrations, on the database that `.env` names."""

import os
import pathlib

import mlflow.store.db_migrations
from alembic import context

for line in (pathlib.Path(__file__).parent.parent / ".env").read_text().splitlines():
    name, _, value = line.partition("=")
    os.environ.setdefault(name, value)
context.config.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"].replace("%", "%%"))
own = pathlib.Path(mlflow.store.db_migrations.__file__).parent / "env.py"
exec(compile(own.read_text(), str(own), "exec"))
