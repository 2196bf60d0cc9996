# SPDX-License-Identifier: Apache-2.0
from django.contrib import admin

from shelf.models import Book, Job

admin.site.register([Book, Job])
