# SPDX-License-Identifier: Apache-2.0
"""For any ASGI application: `application = sluice_mode.asgi.Middleware(application)`, or `app.add_middleware(Middleware)`."""

from .mode import HEADER, current, of_request
from .refused import answer, is_ours_to_answer, note

KEY = HEADER.lower().encode()


class Middleware:
    """Sets the mode for the request (Starlette: `request.state.read_only`), and answers a write that the database refused."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        state = of_request(headers.get(KEY, b"").decode("latin-1"))
        # In place: what is around this one reads what the application leaves there (Starlette's `endpoint` and `path_params`).
        scope["state"] = {**scope.get("state", {}), "read_only": state.read_only}
        exchange = _Exchange(state, scope, headers.get(b"accept", b"").decode("latin-1"), send)
        token = current.set(state)
        try:
            await self.app(scope, receive, exchange.send)
        except Exception as error:
            if scope["type"] != "http" or exchange.is_begun or not note(error):
                raise
            await exchange.refuse()
        finally:
            current.reset(token)


class _Exchange:
    def __init__(self, state, scope, accept, send):
        self.state, self.scope, self.accept, self._send = state, scope, accept, send
        self.is_begun = self.is_replaced = False

    async def send(self, message):
        if self.is_replaced:
            return
        if message["type"] == "http.response.start":
            has_retry_after = any(name.lower() == b"retry-after" for name, _ in message.get("headers", []))
            if is_ours_to_answer(self.state, message["status"], has_retry_after):
                return await self.refuse()
            self.is_begun = True
        await self._send(message)

    async def refuse(self):
        self.is_begun = self.is_replaced = True
        headers, body = answer(self.state, self.accept)
        await self._send({
            "type": "http.response.start", "status": 503,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers]})
        await self._send({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else body})


def read_only_mode(request):
    """For Starlette's templates: `Jinja2Templates(…, context_processors=[read_only_mode])`."""
    return {"read_only_mode": getattr(request.state, "read_only", False)}
