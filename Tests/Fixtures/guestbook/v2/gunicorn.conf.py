# SPDX-License-Identifier: Apache-2.0
# The socket, the pid file and the log are arguments of start-app: they belong to the node, not to the release.
worker_class = "gthread"
workers = 1
threads = 8
backlog = 256
timeout = 60
graceful_timeout = 10
proc_name = "guestbook"
