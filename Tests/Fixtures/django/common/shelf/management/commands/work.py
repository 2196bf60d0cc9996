# SPDX-License-Identifier: Apache-2.0
"""The worker: takes a job out of the queue in the database, does it, takes the next."""

import signal
import time

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    def handle(self, *_, **__):
        # SIGTERM lets the job that is under way end.
        told = []
        signal.signal(signal.SIGTERM, lambda *_: told.append(True))
        while not told:
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE shelf_job SET done_by = %s, done_at = now() WHERE id = (SELECT id FROM shelf_job"
                    " WHERE done_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)", [settings.RELEASE])
            time.sleep(0.2)
