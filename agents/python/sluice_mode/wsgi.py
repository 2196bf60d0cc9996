# SPDX-License-Identifier: Apache-2.0
"""For any WSGI application: `application = sluice_mode.wsgi.Middleware(application)`."""

import sys

from .mode import HEADER, current, of_request
from .refused import answer, is_ours_to_answer, note

KEY = "HTTP_" + HEADER.upper().replace("-", "_")


class Middleware:
    """Sets the mode for the request (also `environ["sluice.read_only"]`), and answers a write that the database refused."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        state = of_request(environ.get(KEY))
        environ["sluice.read_only"] = state.read_only
        current.set(state)
        exchange = _Exchange(state, environ, start_response)
        exchange.watch_files()
        try:
            result = self.application(environ, exchange.start)
        except Exception as error:
            current.set(state)
            if exchange.is_begun or not note(error):
                current.set(None)
                raise
            current.set(None)
            return [exchange.refuse(sys.exc_info())]
        if exchange.replacement is not None:
            if hasattr(result, "close"):
                result.close()
            current.set(None)
            return [exchange.replacement]
        # Servers look at the length of what has one, and hand files on in their own way.
        if exchange.is_started and (hasattr(result, "__len__") or exchange.is_file(result)):
            current.set(None)
            return result
        return _Body(result, exchange)


class _Exchange:
    def __init__(self, state, environ, start_response):
        self.state, self.environ, self.start_response = state, environ, start_response
        self.is_started = self.is_begun = False
        # The body of the answer that stands in for the application's.
        self.replacement = None

    def watch_files(self):
        """A server's `wsgi.file_wrapper` is a type, or, uWSGI's, a function whose very result has to come back to it."""
        self._file, self._file_type = None, self.environ.get("wsgi.file_wrapper")
        if self._file_type is None or isinstance(self._file_type, type):
            return
        wrap, self._file_type = self._file_type, None

        def noted(*values):
            self._file = wrap(*values)
            return self._file
        self.environ["wsgi.file_wrapper"] = noted

    def is_file(self, result):
        return result is self._file if self._file_type is None else isinstance(result, self._file_type)

    def start(self, status, headers, exc_info=None):
        self.is_started = True
        has_retry_after = any(name.lower() == "retry-after" for name, _ in headers)
        if not self.is_begun and is_ours_to_answer(self.state, int(status[:3]), has_retry_after):
            self.replacement = self.refuse(exc_info)
            return lambda chunk: None
        write = self.start_response(status, headers, *([exc_info] if exc_info else []))

        def writing(chunk):
            self.is_begun = self.is_begun or bool(chunk)
            return write(chunk)
        return writing

    def refuse(self, exc_info):
        headers, body = answer(self.state, self.environ.get("HTTP_ACCEPT"))
        self.start_response("503 Service Unavailable", headers, *([exc_info] if exc_info else []))
        return b"" if self.environ.get("REQUEST_METHOD") == "HEAD" else body


class _Body:
    """What an application yields bit by bit: it may fail, and may choose its status, as late as with its first bytes."""

    def __init__(self, result, exchange):
        self.result, self.exchange = result, exchange

    def __iter__(self):
        current.set(self.exchange.state)
        try:
            for chunk in self.result:
                if self.exchange.replacement is not None:
                    break
                self.exchange.is_begun = self.exchange.is_begun or bool(chunk)
                yield chunk
        except Exception as error:
            if self.exchange.is_begun or not note(error):
                raise
            self.exchange.replacement = self.exchange.refuse(sys.exc_info())
        finally:
            current.set(None)
        if self.exchange.replacement is not None:
            yield self.exchange.replacement

    def close(self):
        current.set(None)
        if hasattr(self.result, "close"):
            self.result.close()
