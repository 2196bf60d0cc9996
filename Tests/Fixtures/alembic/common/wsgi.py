# SPDX-License-Identifier: Apache-2.0
"""A bookshelf. It starts on the schema of its own revisions and on no other."""

import uuid

import psycopg2
from alembic.config import Config
from alembic.script import ScriptDirectory
from flask import Flask, Response, g, redirect, render_template_string, request, send_from_directory, session

import settings
from release import AUTHOR, RELEASE

application = Flask(__name__)
application.secret_key = settings.SECRET_KEY
application.config["SESSION_COOKIE_NAME"] = "sessionid"

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="release" content="{{ release }}"><title>Bookshelf</title></head>
<body><p>{% if user %}Logged in as {{ user }}{% else %}<a href="/login/">Log in</a>{% endif %}</p>{{ content|safe }}</body></html>"""
LIST = """<ul>{% for id, title, author in books %}<li><a href="/books/{{ id }}/">{{ title }}</a> by {{ author }}</li>{% endfor %}</ul>"""
BOOK = """<h1>{{ title }}</h1><p>{{ author }}</p>{% if cover %}<img src="/media/{{ cover }}" alt="">{% endif %}"""
FORM = """<form method="post" enctype="multipart/form-data"><input type="hidden" name="request_id" value="{{ key }}"><input name="title">
<input name="{{ field }}"><input type="file" name="cover"><button>Add</button></form>"""
LOGIN = """<form method="post"><input name="username"><input type="password" name="password"><button>Log in</button></form>"""


def connect():
    connection = psycopg2.connect(settings.DATABASE_URL)
    connection.autocommit = True
    return connection


def refuse_another_schema():
    heads = set(ScriptDirectory.from_config(Config(str(settings.HERE / "alembic.ini"))).get_heads())
    connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("SELECT version_num FROM alembic_version")
        found = {row[0] for row in cursor.fetchall()}
    connection.close()
    if found != heads:
        raise RuntimeError("the schema is at %s, and %s needs %s" % (", ".join(found), RELEASE, ", ".join(heads)))


refuse_another_schema()


def query(statement, values=()):
    if "connection" not in g:
        g.connection = connect()
    with g.connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


@application.teardown_appcontext
def close(_):
    if "connection" in g:
        g.connection.close()


@application.after_request
def name_release(response):
    response.headers["X-Release"] = RELEASE
    return response


def page(content, **values):
    return render_template_string(
        PAGE, release=RELEASE, user=session.get("user"), content=render_template_string(content, **values))


@application.get("/")
def books():
    return page(LIST, books=query("SELECT id, title, %s FROM book ORDER BY id DESC LIMIT 20" % AUTHOR))


@application.get("/books/<int:book>/")
def book(book):
    title, author, cover = query("SELECT title, %s, cover FROM book WHERE id = %%s" % AUTHOR, (book,))[0]
    return page(BOOK, title=title, author=author, cover=cover)


@application.route("/add/", methods=["GET", "POST"])
def add():
    if "user" not in session:
        return redirect("/login/")
    if request.method == "GET":
        return page(FORM, key=uuid.uuid4(), field=AUTHOR)
    # A form that was loaded on v1 and held while the site was upgraded has the old name.
    author = request.form.get(AUTHOR) or request.form["author"]
    cover = ""
    if "cover" in request.files:
        cover = request.form["request_id"] + ".svg"
        request.files["cover"].save(settings.MEDIA / cover)
    found = query(
        "INSERT INTO book (request_id, title, %s, cover) VALUES (%%s, %%s, %%s, %%s)"
        " ON CONFLICT (request_id) DO UPDATE SET title = excluded.title RETURNING id" % AUTHOR,
        (request.form["request_id"], request.form["title"], author, cover))
    return redirect("/books/%d/" % found[0][0])


@application.route("/login/", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        return page(LOGIN)
    session["user"] = request.form["username"]
    return redirect("/")


@application.get("/media/<path:name>")
def media(name):
    return send_from_directory(settings.MEDIA, name)


@application.get("/healthz")
def healthz():
    query("SELECT count(%s) FROM book" % AUTHOR)
    return Response("ok\n", content_type="text/plain")


@application.get("/livez")
def livez():
    return Response("ok\n", content_type="text/plain")
