# SPDX-License-Identifier: Apache-2.0
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshelf.settings")
application = get_wsgi_application()

# Views and admin are imported by the first request of each worker otherwise, and that would be a health check in the window.
from django.urls import get_resolver  # noqa: E402

get_resolver().url_patterns
