-- SPDX-License-Identifier: Apache-2.0
-- The gate of Sluice in HAProxy: asks the agent before a write goes to the application. sluice.cfg loads it and says where things
-- are; docs/gate-haproxy.md explains it. Every file that it looks at is small and on this machine: to open one takes microseconds.

local settings = {
    runtime = os.getenv("SLUICE_RUNTIME"), routes = os.getenv("SLUICE_ROUTES") or "", session = os.getenv("SLUICE_SESSION") or "",
    app = os.getenv("SLUICE_APP") or "", reads = os.getenv("SLUICE_READS") or "", script = os.getenv("SLUICE_SCRIPT") or "",
}
if not settings.runtime then error("sluice.lua: SLUICE_RUNTIME is not set; load this file by sluice.cfg") end

local CONNECT_SECONDS = 1
-- Longer than the longest hold (110 s).
local ANSWER_SECONDS = 120

-- What a request does

-- The safe methods of HTTP and its extensions read. Everything that is not known to read counts as a write.
local SAFE = {
    GET = true, HEAD = true, OPTIONS = true, TRACE = true, PROPFIND = true, REPORT = true, SEARCH = true, QUERY = true,
}
local KINDS = { read = true, write = true, stream = true, open = true }

-- Lines such as "read POST /api/search*".
local function routes_in(path)
    local routes = {}
    if path == "" then return routes end
    local number = 0
    for line in io.lines(path) do
        number = number + 1
        if line:match("%S") and not line:match("^%s*#") then
            local kind, method, route = line:match("^%s*(%l+)%s+(%u+)%s+(/[%w._~/%-]*%*?)%s*$")
            if not kind or not KINDS[kind] then
                error(("%s, line %d: '%s' is no route; write one as 'read POST /api/search*'"):format(path, number, line))
            end
            local prefix = route:match("^(.*)%*$")
            routes[method] = routes[method] or {}
            table.insert(routes[method], { kind = kind, path = prefix or route, is_prefix = prefix ~= nil })
        end
    end
    -- A HEAD request runs what a GET request runs.
    for _, route in ipairs(routes.GET or {}) do
        routes.HEAD = routes.HEAD or {}
        table.insert(routes.HEAD, route)
    end
    return routes
end

local ROUTES = routes_in(settings.routes)

-- Decoded once, without empty and dot segments; nil for what cannot be normalised.
local function normalised(path)
    if path:find("%%$") or path:find("%%.$") or path:find("%%[^%x]") or path:find("%%%x[^%x]") then return nil end
    local decoded = path:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
    if decoded:sub(1, 1) ~= "/" or decoded:find("[%c\127]") then return nil end
    local segments = {}
    for segment in decoded:gmatch("[^/]+") do
        if segment == ".." then
            if #segments == 0 then return nil end
            table.remove(segments)
        elseif segment ~= "." then
            table.insert(segments, segment)
        end
    end
    local slash = #segments > 0 and decoded:sub(-1) == "/" and "/" or ""
    return "/" .. table.concat(segments, "/") .. slash
end

local function kind_of(method, path)
    local kind = SAFE[method] and "read" or "write"
    local routes = ROUTES[method]
    if not routes then return kind end
    local plain = normalised(path)
    if not plain then return "write" end
    for _, route in ipairs(routes) do
        if plain == route.path or (route.is_prefix and plain:sub(1, #route.path) == route.path) then return route.kind end
    end
    return kind
end

local MARKS = {}
for place, name in settings.session:gmatch("(%l+):([^,]+)") do
    table.insert(MARKS, { place = place, name = name })
end
local MARKS_IN_WORDS = settings.session:gsub(",", " ")

local function has_session(txn)
    for _, mark in ipairs(MARKS) do
        local value = mark.place == "cookie" and txn.sf:req_cook(mark.name) or txn.sf:req_hdr(mark.name)
        if value ~= "" then return true end
    end
    return false
end

-- What the agent is asked about. A WebSocket waits like a write and is not counted as one for its whole life.
local function question_about(txn, method, path)
    local kind = kind_of(method, path)
    if method == "GET" and txn.sf:req_hdr("upgrade"):lower() == "websocket" then return "stream" end
    if kind == "write" and txn.sf:req_hdr("content-type"):find("^application/grpc") then return "call" end
    if kind == "read" and has_session(txn) then return "session" end
    return kind
end

-- The agent and its flags

-- A flag is a regular file: a directory can be opened and not be read.
local function has_flag(name)
    local file = io.open(settings.runtime .. "/" .. name)
    if not file then return false end
    local _, problem = file:read(0)
    file:close()
    return problem == nil
end

local function contents(path)
    local file = io.open(path)
    if not file then return nil end
    local text = file:read(4096)
    file:close()
    return text
end

-- Without an agent the flags decide.
local function is_closed_by_flags(kind)
    if kind == "read" then return has_flag("hold-reads") end
    if kind == "session" then return has_flag("hold-reads") or has_flag("hold-sessions") end
    return has_flag("read-only")
end

local function must_ask(kind)
    if kind == "open" then return false end
    if kind == "read" or kind == "session" then return is_closed_by_flags(kind) end
    return true
end

-- Asks the agent and waits for as long as it holds the request. Returns the status and the headers, or nothing.
local function answer_of_agent(kind, identifier, mark)
    local socket = core.tcp()
    socket:settimeout(CONNECT_SECONDS)
    if not socket:connect("unix@" .. settings.runtime .. "/gate.sock") then return nil end
    socket:settimeout(ANSWER_SECONDS)
    local lines = {
        "GET /admit HTTP/1.1", "Connection: close", "X-Sluice-Kind: " .. kind, "X-Request-Id: " .. identifier,
        "X-Sluice-Session-Marks: " .. MARKS_IN_WORDS,
    }
    if mark ~= "-" then table.insert(lines, "X-Sluice-Probe: " .. mark) end
    local text = socket:send(table.concat(lines, "\r\n") .. "\r\n\r\n") and socket:receive("*a")
    socket:close()
    local status = text and text:match("^HTTP/1%.[01] (%d%d%d)")
    if not status then return nil end
    local headers = {}
    for name, value in text:gmatch("\r\n([%w%-]+): ([^\r\n]*)") do headers[name:lower()] = value end
    return tonumber(status), headers
end

-- A refusal, in the client's own words

local SENTENCE = "Read-only for the moment. Please try again shortly."

local function form_of(txn, method)
    local accept = txn.sf:req_fhdr("accept"):lower()
    if txn.sf:req_hdr("content-type"):find("^application/grpc") then return "grpc" end
    if method == "GET" and accept:find("text/event-stream", 1, true) then return "events" end
    if accept:find("json", 1, true) and not accept:find("text/html", 1, true) then return "json" end
    return "text"
end

local function finish(txn, status, kind, body, headers)
    local reply = txn:reply({ status = status })
    reply:add_header("Content-Type", kind)
    reply:add_header("Cache-Control", "no-store")
    for name, value in pairs(headers or {}) do reply:add_header(name, value) end
    reply:set_body(body)
    txn:done(reply)
end

local function refuse(txn, method, reason, headers)
    local seconds = headers["retry-after"] or "5"
    local words = { ["Retry-After"] = seconds, ["X-Sluice-Refused"] = reason }
    words["X-Sluice-Proof"] = headers["x-sluice-proof"]
    local form = form_of(txn, method)
    if form == "json" then
        local message = headers["x-sluice-message-json"] or SENTENCE
        local body = ('{"error":"%s","message":"%s","retryAfter":%s}\n'):format(reason, message, seconds)
        finish(txn, 503, "application/json", body, words)
    elseif form == "events" then
        -- An EventSource comes back after a stream that has ended, and never after a 503.
        local body = ("retry: %s000\n: %s\n\n"):format(seconds, headers["x-sluice-message"] or SENTENCE)
        finish(txn, 200, "text/event-stream", body, words)
    elseif form == "grpc" then
        words["grpc-status"] = "14"
        words["grpc-message"] = headers["x-sluice-message-grpc"] or SENTENCE
        words["grpc-retry-pushback-ms"] = seconds .. "000"
        finish(txn, 200, "application/grpc", "", words)
    else
        finish(txn, 503, "text/plain; charset=utf-8", (headers["x-sluice-message"] or SENTENCE) .. "\n", words)
    end
end

-- What a request is told and what is told of it

-- Where a write has come in, so that the agent can send one of its own there. Behind a line of the PROXY protocol and at a
-- unix socket HAProxy does not know: then gate.probe in agent.yaml names a URL.
local function place_of(txn)
    local address, port = txn.sf:dst(), txn.sf:dst_port()
    local host = txn.sf:req_hdr("host"):lower():gsub(":%d+$", "")
    if address == "" or port == "0" or txn.f:fc_rcvd_proxy() == 1 then return "-" end
    -- A longer one would make the end of a write longer than the agent reads.
    if #host > 255 or not host:find("^[a-z0-9._:%[%]%-]+$") then return "-" end
    local scheme = txn.f:ssl_fc() == 1 and "https" or "http"
    return ("%s,HTTP/%s,,%s,%s,%s,%s"):format(scheme, txn.sf:req_ver(), address, port, host, txn.sf:fe_name())
end

-- The activation that the application's `current` leads to, as in 7-v2.3f786850e387.
local function activation()
    local text = settings.app ~= "" and contents(settings.app .. "/current/release") or ""
    local generation, release = text:match("\ngeneration (%d+)\nrelease ([%w._%-]+)\n")
    local digest = text:match("\nmanifest (%x+)")
    if not generation or not digest then return "" end
    return ("%s-%s.%s"):format(generation, release, digest:sub(1, 12))
end

-- What is asked of the node and not of the application. Returns whether that is all.
local function answer_by_itself(txn, method, path)
    if method ~= "GET" and method ~= "HEAD" then return false end
    if path == "/_sluice/health" then
        local is_out = has_flag("out-of-service")
        finish(txn, is_out and 503 or 200, "text/plain", is_out and "out of service\n" or "in service\n")
    elseif path == "/_sluice/mode.json" then
        -- No file: open.
        local text = contents(settings.runtime .. "/mode.json") or '{"readOnly":false}\n'
        finish(txn, 200, "application/json", text, { ["X-Sluice-Release"] = activation() })
    end
    return path == "/_sluice/events" or path == "/_sluice/sluice.js"
end

local function pass(txn, mode)
    txn:set_var("txn.sluice_passes", true)
    -- What the agent says, never what a client does: a request that has waited meets another mode than when it came.
    txn.http:req_set_header("X-Sluice-Mode", mode or (has_flag("read-only") and "read-only" or "normal"))
    -- After the hold, since whoever has waited may meet another release than when it came.
    if settings.app ~= "" then txn:set_var("txn.sluice_activation", activation()) end
end

-- `http-request lua.sluice`, the first rule that a request meets.
core.register_action("sluice", { "http-req" }, function(txn)
    local method, path = txn.sf:method(), txn.sf:path()
    if path:sub(1, 9) == "/_sluice/" and answer_by_itself(txn, method, path) then return pass(txn) end
    local kind = question_about(txn, method, path)
    local mark = txn.sf:req_hdr("x-sluice-probe"):match("^%x+$") or "-"
    if #mark ~= 32 then mark = "-" end
    if settings.reads == "refuse-out-of-service" and kind == "read" and mark == "-" and has_flag("out-of-service") then
        finish(txn, 503, "text/plain", "out of service\n")
    end
    if not must_ask(kind) then return pass(txn) end

    local identifier = txn.f:uuid()
    txn:set_var("txn.sluice_id", identifier)
    txn:set_var("txn.sluice_passage", "asked")
    txn:set_var("txn.sluice_mark", mark)
    txn:set_var("txn.sluice_place", place_of(txn))
    -- The end of each write and of each read that has waited is told to the agent: see the log line in sluice.cfg.
    txn:set_loglevel(core.notice)
    local status, headers = answer_of_agent(kind, identifier, mark)
    if status == 204 then return pass(txn, headers["x-sluice-mode"]) end
    if status == 401 and headers["x-sluice-refused"] then
        return refuse(txn, method, headers["x-sluice-refused"], headers)
    end
    if is_closed_by_flags(kind) then return refuse(txn, method, "agent-gone", {}) end
    pass(txn)
end)

-- The browser script

-- Larger than what HAProxy can return from a rule.
local SCRIPT = nil
if settings.script ~= "" then
    local file = assert(io.open(settings.script))
    SCRIPT = file:read("*a")
    file:close()
end

-- `http-request use-service lua.sluice_script` for /_sluice/sluice.js.
core.register_service("sluice_script", "http", function(applet)
    applet:set_status(SCRIPT and 200 or 404)
    applet:add_header("Content-Type", SCRIPT and "text/javascript; charset=utf-8" or "text/plain")
    applet:add_header("Cache-Control", SCRIPT and "public, max-age=300" or "no-store")
    local body = SCRIPT or "no script: SLUICE_SCRIPT in sluice.cfg names it\n"
    applet:add_header("Content-Length", tostring(#body))
    applet:start_response()
    if applet.method ~= "HEAD" then applet:send(body) end
end)
