# SPDX-License-Identifier: Apache-2.0
from alembic import op

revision, down_revision = "0023", "0022"


def upgrade():
    op.execute("UPDATE book SET slug = id || '-' || lower(title)")


def downgrade():
    pass
