# SPDX-License-Identifier: Apache-2.0
"""server.py SOCKET: a gRPC service at a unix socket, until it is ended. Messages are plain bytes."""

import concurrent.futures
import sys
import time

import grpc


def put(message, context):
    return b"put " + message


def get(message, context):
    return b"got " + message


def upload(messages, context):
    return b"%d parts" % sum(1 for _ in messages)


def watch(message, context):
    while context.is_active():
        yield b"still here"
        time.sleep(0.1)


METHODS = {
    "/shop.Shop/Put": grpc.unary_unary_rpc_method_handler(put),
    "/shop.Shop/Get": grpc.unary_unary_rpc_method_handler(get),
    "/shop.Shop/Upload": grpc.stream_unary_rpc_method_handler(upload),
    "/shop.Shop/Watch": grpc.unary_stream_rpc_method_handler(watch),
}


class Shop(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method)


server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((Shop(),))
server.add_insecure_port("unix:" + sys.argv[1])
server.start()
server.wait_for_termination()
