# SPDX-License-Identifier: Apache-2.0
from django.conf import settings


def name_release(get_response):
    """Says on each response which release made it."""
    def middleware(request):
        response = get_response(request)
        response["X-Release"] = settings.RELEASE
        return response
    return middleware
