# SPDX-License-Identifier: Apache-2.0
INSTALLED_APPS += [
    "wagtail.contrib.redirects", "wagtail.embeds", "wagtail.sites", "wagtail.users", "wagtail.snippets", "wagtail.documents",
    "wagtail.images", "wagtail.search", "wagtail.admin", "wagtail", "modelcluster", "taggit"]
MIDDLEWARE += ["wagtail.contrib.redirects.middleware.RedirectMiddleware"]
WAGTAIL_SITE_NAME = "Bookshelf"
WAGTAILADMIN_BASE_URL = "http://bookshelf.example"
WAGTAILIMAGES_EXTENSIONS = ["png", "svg"]
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
