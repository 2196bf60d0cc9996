# SPDX-License-Identifier: Apache-2.0
import sqlalchemy
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision, down_revision = "0001", None


def upgrade():
    op.create_table(
        "book",
        sqlalchemy.Column("id", sqlalchemy.BigInteger, sqlalchemy.Identity(), primary_key=True),
        sqlalchemy.Column("request_id", UUID, nullable=False, unique=True),
        sqlalchemy.Column("title", sqlalchemy.Text, nullable=False),
        sqlalchemy.Column("author", sqlalchemy.Text, nullable=False),
        sqlalchemy.Column("cover", sqlalchemy.Text, nullable=False, server_default=""))


def downgrade():
    op.drop_table("book")
