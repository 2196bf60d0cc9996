# SPDX-License-Identifier: Apache-2.0
import logging.config

import sqlalchemy
from alembic import context

import settings

logging.config.fileConfig(context.config.config_file_name)
if context.is_offline_mode():
    context.configure(url="postgresql://", literal_binds=True)
    context.run_migrations()
else:
    url = settings.DATABASE_URL.replace("postgresql:", "postgresql+psycopg2:")
    with sqlalchemy.create_engine(url).connect() as connection:
        # Each revision is one transaction with its line in the ledger, so a run that was killed goes on where it was.
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
