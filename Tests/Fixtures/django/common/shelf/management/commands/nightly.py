# SPDX-License-Identifier: Apache-2.0
"""The cron job: clears sessions and puts a job into the queue."""

from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.utils import timezone

from shelf.models import Job


class Command(BaseCommand):
    def handle(self, *_, **__):
        Session.objects.filter(expire_date__lt=timezone.now()).delete()
        Job.objects.create(name="nightly")
