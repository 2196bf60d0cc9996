# SPDX-License-Identifier: Apache-2.0
# For Varnish 7 with varnish-modules (both Debian's): include it in your VCL, after `vcl 4.1;` and above your own subs (docs/caches.md).
# A BAN forgets a site, or what it has under some keys, and nothing that was asked for before the BAN is kept after it.

import std;
import var;

# Who may ban: the node whose agent does it.
acl sluice_agents {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "BAN") {
        if (client.ip !~ sluice_agents) {
            return (synth(403, "not from here"));
        }
        if (req.http.X-Ban-Keys && req.http.X-Ban-Keys !~ "^[A-Za-z0-9_.:/-]+( [A-Za-z0-9_.:/-]+)*$") {
            return (synth(400, "keys have letters, digits and _ . : / -, with a space between two"));
        }
        # Whatever is being fetched has been asked for before.
        var.global_set("sluice-turn", req.xid);
        if (req.http.X-Ban-Keys) {
            set req.http.X-Ban-Keys = regsuball(req.http.X-Ban-Keys, " ", "|");
            set req.http.X-Ban = "obj.http.X-Sluice-Host == " + req.http.host + " && obj.http.X-Cache-Keys ~ (^|\s)(" + req.http.X-Ban-Keys + ")(\s|$)";
        } else {
            set req.http.X-Ban = "obj.http.X-Sluice-Host == " + req.http.host;
        }
        if (!std.ban(req.http.X-Ban)) {
            return (synth(500, std.ban_error()));
        }
        return (synth(200, "banned"));
    }
    # What pages are told is never stored, and a stream is passed on as it comes.
    if (req.url ~ "^/_sluice/events") {
        return (pipe);
    }
    if (req.url ~ "^/_sluice/") {
        return (pass);
    }
}

sub vcl_backend_fetch {
    # With a letter: before the first ban there is no turn, and nothing equals nothing.
    set bereq.http.X-Sluice-Turn = "t" + var.global_get("sluice-turn");
}

sub vcl_backend_response {
    set beresp.http.X-Sluice-Host = bereq.http.host;
    if (bereq.http.X-Sluice-Turn != "t" + var.global_get("sluice-turn")) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        set beresp.grace = 0s;
        return (deliver);
    }
}

sub vcl_deliver {
    unset resp.http.X-Sluice-Host;
    unset resp.http.X-Cache-Keys;
}
