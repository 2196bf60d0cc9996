# SPDX-License-Identifier: Apache-2.0
from django.db import models


class Book(models.Model):
    request_id = models.UUIDField(unique=True)
    title = models.CharField(max_length=200)
    author = models.CharField(max_length=200)
    cover = models.FileField(upload_to="covers", blank=True)
    added = models.DateTimeField(auto_now_add=True)


class Job(models.Model):
    name = models.CharField(max_length=100)
    done_by = models.CharField(max_length=100, blank=True)
    done_at = models.DateTimeField(null=True)
