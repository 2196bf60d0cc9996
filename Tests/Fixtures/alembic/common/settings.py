# SPDX-License-Identifier: Apache-2.0
"""What differs between machines is in `.env`, which is each node's own."""

import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
if (HERE / ".env").exists():
    for line in (HERE / ".env").read_text().splitlines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)
DATABASE_URL = os.environ.get("DATABASE_URL", "")
SECRET_KEY = os.environ.get("SECRET_KEY", "none")
MEDIA = HERE / "media"
