# SPDX-License-Identifier: Apache-2.0
"""The first middleware: sets the mode, and answers writes that the database has refused, wherever that came out."""

import asyncio
import sys

from django.core.signals import got_request_exception
from django.db import connections
from django.db.backends.signals import connection_created
from django.http import HttpResponse

from ..mode import HEADER, current, of_request
from ..refused import answer, is_ours_to_answer, note
from .login import leave_out_last_login


class Middleware:
    sync_capable = True
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        self._is_async = asyncio.iscoroutinefunction(get_response)
        if self._is_async:
            _mark_as_coroutine(self)
        connection_created.connect(_watch, dispatch_uid="sluice_mode")
        got_request_exception.connect(_failed, dispatch_uid="sluice_mode")
        for connection in connections.all():
            _watch(None, connection)
        leave_out_last_login()

    def __call__(self, request):
        state = of_request(request.headers.get(HEADER))
        request.read_only = state.read_only
        if self._is_async:
            return self._answer_async(request, state)
        token = current.set(state)
        try:
            return _answered(request, state, self.get_response(request))
        finally:
            current.reset(token)

    async def _answer_async(self, request, state):
        token = current.set(state)
        try:
            return _answered(request, state, await self.get_response(request))
        finally:
            current.reset(token)

    def process_exception(self, request, error):
        """Before Django reports a view's error to anybody."""
        return _refusal(request, current.get()) if note(error) and current.get() else None


def _answered(request, state, response):
    if is_ours_to_answer(state, response.status_code, response.has_header("Retry-After")):
        if hasattr(response, "close"):
            response.close()
        return _refusal(request, state)
    return response


def _refusal(request, state):
    headers, body = answer(state, request.headers.get("Accept"))
    response = HttpResponse(body, status=503)
    for name, value in headers:
        response[name] = value
    # It is no error of the application: no mail to its admins.
    response._has_been_logged = True
    return response


def _failed(sender, **_):
    """Errors of other middleware, which Django makes a 500 of before we see it."""
    note(sys.exc_info()[1])


def _watch(sender, connection, **_):
    if _noting not in connection.execute_wrappers:
        connection.execute_wrappers.append(_noting)


def _noting(execute, sql, params, many, context):
    """Sees a refused statement even where the application catches its error and answers 400."""
    try:
        return execute(sql, params, many, context)
    except Exception as error:
        note(error)
        raise


def _mark_as_coroutine(callable):
    try:
        from asgiref.sync import markcoroutinefunction
        markcoroutinefunction(callable)
    except ImportError:
        callable._is_coroutine = asyncio.coroutines._is_coroutine
