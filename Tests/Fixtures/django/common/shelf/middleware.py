# SPDX-License-Identifier: Apache-2.0
from django.conf import settings

from sluice_mode import flags


def name_release(get_response):
    """Says on each response which release made it, and in which mode."""
    def middleware(request):
        response = get_response(request)
        response["X-Release"] = settings.RELEASE
        response["X-Read-Only"] = str(flags.read_only).lower()
        return response
    return middleware
