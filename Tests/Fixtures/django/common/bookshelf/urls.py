# SPDX-License-Identifier: Apache-2.0
from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import path

from shelf import views

urlpatterns = [
    path("", views.books),
    path("books/<int:book>/", views.book),
    path("add/", views.add),
    path("login/", LoginView.as_view(template_name="shelf/login.html")),
    path("healthz", views.healthz),
    path("livez", views.livez),
    path("admin/", admin.site.urls),
]
