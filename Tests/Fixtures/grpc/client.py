# SPDX-License-Identifier: Apache-2.0
"""client.py ADDRESS:PORT SCENARIO: calls through one connection of HTTP/2; a line of JSON for each call that has ended.

put: one call · upload: a stream of three messages · retry: a call of a client that tries again by itself
watch: a stream that stays until this program is ended · many: 100 calls at once, and a read beside them
"""

import json
import sys

import grpc

RETRIES = {
    "methodConfig": [{
        "name": [{}],
        "retryPolicy": {"maxAttempts": 3, "initialBackoff": "60s", "maxBackoff": "60s", "backoffMultiplier": 1,
                        "retryableStatusCodes": ["UNAVAILABLE"]},
    }],
}


def tell(**what):
    print(json.dumps(what), flush=True)


def end(name, call):
    """Waits for the end of a call and tells it."""
    try:
        tell(name=name, code="OK", answer=call.result(timeout=60).decode())
    except grpc.RpcError as error:
        tell(name=name, code=error.code().name, details=error.details(), trailers=dict(error.trailing_metadata() or ()))


address, scenario = sys.argv[1:]
options = [("grpc.enable_retries", int(scenario == "retry")), ("grpc.service_config", json.dumps(RETRIES))]
with grpc.insecure_channel(address, options if scenario == "retry" else options[:1]) as channel:
    put = channel.unary_unary("/shop.Shop/Put")
    if scenario in ("put", "retry"):
        end("put", put.future(b"1", timeout=60))
    elif scenario == "upload":
        end("upload", channel.stream_unary("/shop.Shop/Upload").future(iter([b"1", b"2", b"3"]), timeout=60))
    elif scenario == "watch":
        for number, message in enumerate(channel.unary_stream("/shop.Shop/Watch")(b"")):
            if number == 0:
                tell(name="watch", answer=message.decode())
    elif scenario == "many":
        calls = [put.future(b"%d" % number, timeout=60) for number in range(100)]
        end("get", channel.unary_unary("/shop.Shop/Get").future(b"page", timeout=60))
        for call in calls:
            end("put", call)
