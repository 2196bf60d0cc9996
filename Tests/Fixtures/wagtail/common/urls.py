# SPDX-License-Identifier: Apache-2.0
from django.urls import include  # noqa: E402
from wagtail import urls as wagtail_urls  # noqa: E402
from wagtail.admin import urls as wagtailadmin_urls  # noqa: E402

urlpatterns += [path("cms/", include(wagtailadmin_urls)), path("pages/", include(wagtail_urls))]
