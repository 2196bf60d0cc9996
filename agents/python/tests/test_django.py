# SPDX-License-Identifier: Apache-2.0
"""Django with its own sessions and users in PostgreSQL, as settings.py has it, behind the fence."""

import asyncio
import unittest

import django
from django.conf import settings

import agent
import database

file = agent.mode_file

settings.configure(
    SECRET_KEY="for tests", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": database.NAME, "ATOMIC_REQUESTS": True}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    MIDDLEWARE=[
        "sluice_mode.django.Middleware", "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "test_django.last_seen"],
    SESSION_ENGINE="sluice_mode.django.sessions", SESSION_SAVE_EVERY_REQUEST=True,
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {
        "context_processors": ["sluice_mode.django.read_only_mode", "django.template.context_processors.request"]}}],
    LOGGING={"version": 1, "disable_existing_loggers": True})
django.setup()

from django.contrib.auth import login, logout  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, connections, transaction  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.template import engines  # noqa: E402
from django.test import AsyncClient, Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from sluice_mode import flags  # noqa: E402
from sluice_mode.django import unless_read_only  # noqa: E402


def setUpModule():
    database.create()
    call_command("migrate", verbosity=0)
    User.objects.create_user("ada", password="x")
    database.guard()


def tearDownModule():
    connections.close_all()


def write():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO note (text) VALUES ('x')")


def last_seen(get_response):
    """A middleware of the application that writes, when it is told to, as naively as they do."""
    from django.utils.decorators import sync_and_async_middleware  # noqa: F401

    def middleware(request):
        if "seen" in request.GET:
            write()
        return get_response(request)
    return middleware


def show(request):
    page = engines["django"].from_string("{{ user }}{{ request.user.username }} {% if read_only_mode %}read-only{% else %}normal{% endif %}")
    return HttpResponse(page.render({}, request) + " %s %s" % (flags.read_only, request.read_only))


def add(request):
    write()
    return HttpResponse("written")


def caught(request):
    try:
        with transaction.atomic():
            write()
    except DatabaseError:
        return HttpResponse("cannot save", status=400)
    return HttpResponse("written")


def counted(request):
    unless_read_only(write)()
    return HttpResponse("%d users" % User.objects.count())


def enter(request):
    login(request, User.objects.get(username="ada"), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("welcome")


def leave(request):
    logout(request)
    return HttpResponse("bye")


def put(request):
    request.session["put"] = "there"
    return HttpResponse("put")


def wrong(request):
    raise ValueError("a fault of the application")


@transaction.non_atomic_requests
async def slow(request):
    await asyncio.sleep(0.01)
    return HttpResponse(str(flags.read_only))


urlpatterns = [
    path("", show), path("add", add), path("caught", caught), path("counted", counted), path("enter", enter), path("leave", leave),
    path("put", put), path("wrong", wrong), path("slow", slow)]

READ_ONLY = {"HTTP_X_SLUICE_MODE": "read-only"}


def rows():
    return database.run("SELECT count(*), max(expire_date) FROM django_session")


class DjangoTests(unittest.TestCase):
    def setUp(self):
        self.client = Client(raise_request_exception=False)

    def text(self, *values, **names):
        answer = self.client.get(*values, **names)
        self.assertEqual(answer.status_code, 200, answer.content)
        return answer.content.decode()

    def test_code_templates_and_request_see_the_mode(self):
        self.assertEqual(self.text("/", **READ_ONLY), " read-only True True")
        self.assertEqual(self.text("/"), " normal False False")

    def test_a_refused_write_is_a_503_that_says_when_to_come_again_wherever_it_happens(self):
        with database.Fence():
            for page in ("/add", "/caught", "/?seen=1"):
                for mode in ({}, READ_ONLY):
                    answer = self.client.post(page, HTTP_ACCEPT="application/json", **mode)
                    self.assertEqual((answer.status_code, answer.get("Retry-After")), (503, "5"), page)
                    self.assertEqual(answer.json()["error"], "read-only")
            self.assertIn(b"<h1>Read-only", self.client.post("/add", HTTP_ACCEPT="text/html").content)
        self.assertEqual(self.text("/add"), "written")
        self.assertEqual(self.text("/?seen=1"), " normal False False")

    def test_whoever_is_logged_in_is_served_in_the_window_and_stays_logged_in_after_it(self):
        self.text("/enter")
        before = rows()
        with database.Fence():
            for mode in (READ_ONLY, {}):
                self.assertTrue(self.text("/", **mode).startswith("ada "))
                self.assertEqual(self.text("/put", **mode), "put")
            self.assertEqual(rows(), before)
        self.assertTrue(self.text("/").startswith("ada "))
        self.assertGreater(rows()[0][1], before[0][1])

    def test_a_stranger_who_would_get_a_session_is_served_in_the_window_and_gets_one_after_it(self):
        with database.Fence():
            for mode in (READ_ONLY, {}):
                self.assertEqual(self.text("/put", **mode), "put")
                self.assertTrue(self.text("/", **mode).startswith(" "))
        before = rows()[0][0]
        self.text("/put")
        self.assertEqual(rows()[0][0], before + 1)

    def test_logging_in_by_a_link_gives_no_error_and_no_session_in_the_window(self):
        with database.Fence():
            for mode in (READ_ONLY, {}):
                self.assertEqual(self.text("/enter", **mode), "welcome")
                self.assertTrue(self.text("/", **mode).startswith(" "))
        self.text("/enter")
        self.assertIsNotNone(User.objects.get(username="ada").last_login)

    def test_logging_out_in_the_window_takes_the_cookie(self):
        self.text("/enter")
        with database.Fence():
            self.assertEqual(self.text("/leave", **READ_ONLY), "bye")
        self.assertTrue(self.text("/").startswith(" "))

    def test_a_counter_is_left_out_and_the_rest_of_the_transaction_goes_on(self):
        with database.Fence():
            for mode in (READ_ONLY, {}):
                self.assertEqual(self.text("/counted", **mode), "1 users")
        before = database.run("SELECT count(*) FROM note")[0][0]
        self.text("/counted")
        self.assertEqual(database.run("SELECT count(*) FROM note")[0][0], before + 1)

    def test_a_refusal_reports_no_error_of_the_application(self):
        with database.Fence(), self.assertNoLogs("django.request", "ERROR"):
            self.assertEqual(self.client.post("/add").status_code, 503)

    def seen(self, mode=None):
        """What a stranger gets who looks around, logs in and out, and fails; and the rows of sessions that are left of that."""
        client, found, before = Client(raise_request_exception=False), [], rows()[0][0]
        header = {} if mode is None else {"HTTP_X_SLUICE_MODE": mode}
        for place in ("/add", "/caught", "/counted", "/put", "/enter", "/leave", "/wrong", "/nowhere"):
            answer = client.get(place, **header)
            found.append((place, answer.status_code, answer.content, sorted(answer.headers.items()), sorted(client.cookies)))
        return found, rows()[0][0] - before

    def bare(self):
        return override_settings(
            MIDDLEWARE=[name for name in settings.MIDDLEWARE if not name.startswith("sluice_mode")],
            TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
            SESSION_ENGINE="django.contrib.sessions.backends.db")

    def test_where_nobody_says_a_mode_the_site_is_as_without_the_adapter(self):
        with self.bare():
            without = self.seen()
        for kind in agent.NO_FILE:
            with agent.without_mode(kind):
                for mode in agent.NO_HEADER:
                    self.assertEqual(self.seen(mode), without, (kind, mode))

    def test_a_file_that_cannot_be_understood_changes_nothing_for_whoever_reads(self):
        places = ("/caught", "/counted", "/wrong", "/nowhere")

        def seen():
            client = Client(raise_request_exception=False)
            return [(answer.status_code, sorted(answer.headers.items())) for answer in map(client.get, places)]
        with self.bare():
            without = seen()
        for text in agent.GARBAGE:
            with agent.garbage(text):
                self.assertEqual(seen(), without, text[:20])
                self.assertEqual(self.client.get("/").content, b" read-only True True")

    def test_other_errors_stay_what_they_are(self):
        self.assertEqual(self.client.get("/wrong").status_code, 500)
        self.assertEqual(self.client.get("/missing").status_code, 404)

    def test_under_asgi_every_request_has_its_own_mode(self):
        async def both():
            client = AsyncClient()
            return await asyncio.gather(*(client.get("/slow", **{"X-Sluice-Mode": mode}) for mode in ("read-only", "normal") * 5))
        self.assertEqual([answer.content for answer in asyncio.run(both())], [b"True", b"False"] * 5)

    def test_under_asgi_what_runs_in_threads_sees_the_mode_and_a_refused_write_is_a_503(self):
        async def ask(page, mode):
            client = AsyncClient()
            client.raise_request_exception = False
            return (await client.get(page, **{"X-Sluice-Mode": mode})).status_code
        with database.Fence():
            for mode in ("read-only", "normal"):
                self.assertEqual([asyncio.run(ask(page, mode)) for page in ("/put", "/enter", "/add", "/caught")], [200, 200, 503, 503])


if __name__ == "__main__":
    unittest.main()
