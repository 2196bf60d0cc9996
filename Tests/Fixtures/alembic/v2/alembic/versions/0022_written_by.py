# SPDX-License-Identifier: Apache-2.0
import sqlalchemy
from alembic import op

revision, down_revision = "0022", "0021"


def upgrade():
    op.alter_column("book", "author", new_column_name="written_by")
    op.add_column("book", sqlalchemy.Column("slug", sqlalchemy.Text, nullable=False, server_default=""))


def downgrade():
    op.drop_column("book", "slug")
    op.alter_column("book", "written_by", new_column_name="author")
