# SPDX-License-Identifier: Apache-2.0
"""For Celery: `app = Celery(…, task_cls="sluice_mode.celery:Task")`, or `base=Task` for one task."""

import time

from celery import Task as CeleryTask

from .refused import is_refused
from .waiting import wait


class Task(CeleryTask):
    """Waits in its worker while read-only, and runs again when the database has refused a write all the same.

    Again means from its beginning: what it had committed before is there twice unless the task can be repeated, as with any
    retry. Time limits of the task go on while it waits.
    """

    # Seconds, for all waiting of one run; then what was refused is an error like others, and StillReadOnly one as well.
    wait_at_most = 600.0
    # Where no mode.json says when: a worker on a machine without an agent.
    look_again_after = 5.0

    def __call__(self, *values, **names):
        deadline = time.monotonic() + self.wait_at_most
        while True:
            wait(max(0.0, deadline - time.monotonic()))
            try:
                return super().__call__(*values, **names)
            except Exception as error:
                if not is_refused(error) or time.monotonic() + self.look_again_after >= deadline:
                    raise
            time.sleep(self.look_again_after)
