# SPDX-License-Identifier: Apache-2.0
"""Settings as a site has them: what differs between machines comes from `.env`, which is each node's own."""

import os
import pathlib
import urllib.parse

BASE_DIR = pathlib.Path(__file__).resolve().parent.parent
RELEASE = (BASE_DIR / "RELEASE").read_text().strip()

if (BASE_DIR / ".env").exists():
    for line in (BASE_DIR / ".env").read_text().splitlines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)

SECRET_KEY = os.environ.get("SECRET_KEY", "only for collectstatic")
DEBUG = False
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "").split()
ROOT_URLCONF = "bookshelf.urls"
WSGI_APPLICATION = "bookshelf.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", "shelf"]
MIDDLEWARE = [
    "sluice_mode.django.Middleware", "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware", "shelf.middleware.name_release"]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages", "sluice_mode.django.read_only_mode"]}}]

_url = urllib.parse.urlsplit(os.environ.get("DATABASE_URL", ""))
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": _url.path.lstrip("/"), "USER": _url.username or "",
    "PASSWORD": urllib.parse.unquote(_url.password or ""), "HOST": _url.hostname or "", "PORT": _url.port or "",
    "CONN_MAX_AGE": 60}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The session of every logged-in reader is written by every page view.
SESSION_SAVE_EVERY_REQUEST = True
SESSION_ENGINE = os.environ.get("SESSION_ENGINE", "sluice_mode.django.sessions")
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"
USE_TZ = True
USE_I18N = False
