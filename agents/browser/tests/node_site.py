# SPDX-License-Identifier: Apache-2.0
"""A node without an agent: nginx with the snippets as they are, an application on current/app.sock, and flags that the test sets."""

import http.server
import json
import os
import pathlib
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
AGENTS = HERE.parent.parent
# Nothing inline, nothing from elsewhere.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' data:; worker-src 'self'; frame-src 'self'; "
          "form-action 'self'; base-uri 'none'")

FORM = """<form id="{name}" method="post" action="/save">
<input type="hidden" name="request_id" value="{key}">
<label>Title <input name="title" value="as it was"></label>
<label>Text <textarea name="text" rows="3"></textarea></label>
<label>Kind <select name="kind"><option>note</option><option>letter</option></select></label>
<label><input type="checkbox" name="public"> public</label>
<button>Save</button></form>"""

PAGES = {
    "/": "<h1>Reading</h1><p><a href='/form'>Write</a></p>" + "<p>A line of the page that somebody reads.</p>" * 60 + "<p id='last'><a href='/end'>the end</a></p>",
    "/form": "<h1>Writing</h1>" + FORM.format(name="write", key="k-1") + "<div id='note' contenteditable='true'>a note</div>"
             "<form id='search' action='/find'><input name='q'><button>Find</button></form>",
    "/inner": FORM.format(name="write", key="{query}"),
    "/many": "".join("<iframe src='/inner?%d' width='300' height='120'></iframe>" % n for n in range(50)),
    "/playing": "<h1>Watching</h1><audio id='sound' controls loop src='/sound.wav'></audio>",
    "/texts": "<script type='application/json' id='sluice-texts'>{\"de\": {\"readOnly\": \"Wartung: nur lesen.\", \"reason\": \"Nur lesen.\"}}</script>" + FORM.format(name="write", key="k-2"),
    "/stored": "<h1>In store</h1><script src='/register.js'></script>",
    "/own": "<div data-sluice-notice></div><h1>With a place of its own</h1>",
}


# As applications have them that work without a network: pages come from its store, and that is of one release.
WORKER = """
addEventListener('install', e => e.waitUntil(caches.open('pages-RELEASE').then(c => c.add('/stored'))));
addEventListener('activate', e => e.waitUntil(caches.keys().then(names => Promise.all(names.filter(n => n !== 'pages-RELEASE').map(n => caches.delete(n))))
  .then(() => clients.claim())));
addEventListener('message', e => { if (e.data && e.data.type === 'SKIP_WAITING') skipWaiting(); });
addEventListener('fetch', e => { if (e.request.mode === 'navigate') e.respondWith(caches.match(e.request).then(r => r || fetch(e.request))); });
"""


class Application(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path, release, site):
        self.release, self.site = release, site
        super().__init__(path, Handler)
        os.chmod(path, 0o777)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):
        """A browser that has left its page."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def address_string(self):
        return "nginx"

    def reply(self, status, body, kind="text/html; charset=utf-8", **headers):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": POLICY,
                            "Cache-Control": "no-store", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        target = urllib.parse.urlsplit(self.path)
        if target.path == "/sound.wav":
            return self.reply(200, b"RIFF\x24\x7d\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\0\x7d\0\0" + b"\x80" * 32000, "audio/wav")
        if target.path == "/page.css":
            return self.reply(200, "label{display:block}body{font:16px sans-serif;margin:1rem}", "text/css")
        if target.path == "/lazy.js":
            # A part with its release in its name, as a build makes them: the other release has another.
            if target.query != self.server.release:
                return self.reply(404, "gone")
            return self.reply(200, "document.documentElement.dataset.lazy = '%s'" % self.server.release, "text/javascript")
        if target.path == "/register.js":
            return self.reply(200, "navigator.serviceWorker.register('/worker.js')", "text/javascript")
        if target.path == "/worker.js":
            return self.reply(200, WORKER.replace("RELEASE", self.server.release), "text/javascript")
        if target.path.startswith("/saved/"):
            return self.reply(200, self.page("<h1>Saved</h1>"))
        if target.path not in PAGES:
            return self.reply(404, "missing")
        self.server.site.shown.append((self.server.release, target.path))
        self.reply(200, self.page(PAGES[target.path].replace("{query}", target.query)))

    def page(self, body):
        return ("<!doctype html><html lang='de' data-release='%s'><head><meta charset='utf-8'><title>Page</title>"
                "<meta name='viewport' content='width=device-width, initial-scale=1'><meta name='color-scheme' content='light dark'>"
                "<link rel='stylesheet' href='/page.css'></head><body>%s</body></html>" % (self.server.release, body))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/save":
            given = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
            self.server.site.saved.append((self.server.release, given))
            return self.reply(303, "", Location="/saved/" + given["request_id"])
        self.server.site.called.append((self.headers["Idempotency-Key"], body.decode()))
        if self.server.site.refuse_calls:
            self.server.site.refuse_calls -= 1
            return self.reply(503, '{"error":"read-only"}', "application/json", Retry_After="1", X_Sluice_Refused="database")
        self.reply(200, '{"ok":true}', "application/json")


class Events(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Stands in for the agent's streams: says what is so to whoever comes, and what changes to all."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path):
        self.path, self.refuses, self.open = path, False, []
        self._event, self._changed = None, threading.Condition()
        super().__init__(path, Listener)
        os.chmod(path, 0o777)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def say(self, mode, release):
        with self._changed:
            self._event = json.dumps({**mode, "release": release})
            self._changed.notify_all()

    def after(self, last):
        """What is so, once it is other than what was heard last; every second in any case."""
        with self._changed:
            self._changed.wait_for(lambda: self._event != last, 1)
            return self._event

    def end_all(self):
        for one in list(self.open):
            one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_):
        """A page that has left."""


class Listener(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        if self.server.refuses:
            self.wfile.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.server.open.append(self.connection)
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nretry: 200\n\n")
            last = None
            while True:
                event = self.server.after(last)
                self.wfile.write(b"data: %s\n\n" % event.encode() if event != last else b": still here\n\n")
                last = event
        finally:
            self.server.open.remove(self.connection)


class Site:
    def __init__(self, every=0.2, events=False):
        self.saved, self.called, self.shown = [], [], []
        self.refuse_calls = 0
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-browser."))
        os.chmod(self.directory, 0o755)
        app, self.run, settings = self.directory / "app", self.directory / "run", self.directory / "nginx"
        for made in (app / "activations", self.run, settings):
            made.mkdir(parents=True)
        self.app = app
        self.events, self._mode = (Events(str(self.run / "events.sock")) if events else None), {"readOnly": False}
        self.applications = []
        for generation, release in ((1, "v1"), (2, "v2"), (3, "v3")):
            activation = app / "activations" / ("%d-%s.0123456789ab" % (generation, release))
            activation.mkdir()
            self.applications.append(Application(str(activation / "app.sock"), release, self))
        self.flip("v1")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for path in (*(AGENTS / "nginx").glob("sluice-*.conf"), AGENTS / "browser" / "sluice.js"):
            text = path.read_text(encoding="utf-8").replace("/run/sluice", str(self.run)).replace("/etc/nginx/sluice", str(settings))
            text = text.replace("/srv/guestbook", str(app))
            if path.name == "sluice-page.conf":
                # A test does not want to wait for as long as a page may.
                text = text.replace(" defer ", ' defer data-every="%s" data-every-closed="%s" data-renew-within="0" ' % (every, every))
            (settings / path.name).write_text(text, encoding="utf-8")
        (settings / "nginx.conf").write_text("""
user root; worker_processes 1; pid {d}/nginx.pid; error_log {d}/error.log; daemon off;
events {{ worker_connections 512; }}
http {{
    include {s}/sluice-http.conf;
    client_body_temp_path {d}/t1; proxy_temp_path {d}/t2; fastcgi_temp_path {d}/t3; uwsgi_temp_path {d}/t4; scgi_temp_path {d}/t5;
    server {{
        listen 127.0.0.1:{p};
        include {s}/sluice-server.conf;
        include {s}/sluice-browser.conf;
        access_log {d}/access.log combined if=$sluice_client;
        location / {{
            root {a}/current;
            include {s}/sluice-page.conf;
            proxy_pass http://unix:{a}/current/app.sock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Sluice-Mode $sluice_mode;
        }}
    }}
}}
""".format(d=self.directory, s=settings, a=app, p=self.port).replace("user root;", "user root;" if os.geteuid() == 0 else ""))
        self.nginx = subprocess.Popen(
            ["/usr/sbin/nginx", "-e", str(self.directory / "error.log"), "-p", str(self.directory), "-c", str(settings / "nginx.conf")])
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.nginx.poll() is not None:
                    raise RuntimeError("nginx does not answer: " + (self.directory / "error.log").read_text())
                time.sleep(0.05)
        self.url = "http://127.0.0.1:%d" % self.port

    def flip(self, release):
        target = next(path for path in (self.app / "activations").iterdir() if "-%s." % release in path.name)
        link = self.app / ".current.new"
        link.symlink_to(target)
        os.rename(link, self.app / "current")
        self._release = target.name
        self.tell()

    def close_gate(self, kind="refuse", message=""):
        mode = {"version": 1, "readOnly": True, "retryAfterSeconds": 1, "message": message, "writes": {"kind": kind}}
        new = self.run / ".mode.json.new"
        new.write_text(json.dumps(mode))
        os.rename(new, self.run / "mode.json")
        (self.run / "read-only").touch()
        self._mode = mode
        self.tell()

    def open_gate(self):
        for name in ("read-only", "mode.json"):
            (self.run / name).unlink(missing_ok=True)
        self._mode = {"readOnly": False}
        self.tell()

    def announce(self, seconds):
        self._mode = {"readOnly": False, "startsInSeconds": seconds}
        self.tell()

    def tell(self):
        if self.events:
            self.events.say(self._mode, self._release)

    def close(self):
        self.nginx.terminate()
        self.nginx.wait()
        for one in [*self.applications, *([self.events] if self.events else [])]:
            one.shutdown()
            one.server_close()
        shutil.rmtree(self.directory)
