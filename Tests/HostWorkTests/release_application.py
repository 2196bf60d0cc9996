# SPDX-License-Identifier: Apache-2.0
"""An application as releases are: a master that listens, workers that fork, a thread that writes, a connection that writes in a loop.

release_application.py SOCKET DIRECTORY MODE   writes a byte to DIRECTORY/written each time that it does something.
"""
import os, signal, socket, sys, threading, time

path, directory, mode = sys.argv[1:4]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
# As servers do, which take it for "read your configuration again".
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if "nginx" in mode:
    with open("/proc/self/comm", "w") as name:
        name.write("nginx")
out = os.open(directory + "/written", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def write_for_ever():
    while True:
        os.write(out, b".")
        time.sleep(0.0005)


def serve(connection):
    """As a WebSocket does: each message is a write, for as long as the connection is open."""
    while data := connection.recv(1):
        os.write(out, data)
        connection.sendall(b"k")


def fork_for_ever():
    """Children that live for a moment and write, and some that leave the family."""
    count = 0
    while True:
        count += 1
        if os.fork() == 0:
            if count % 5 == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
            for _ in range(20):
                os.write(out, b"f")
                time.sleep(0.001)
            os._exit(0)
        time.sleep(0.0005)


listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(64)
if "workers" in mode:
    for _ in range(3):
        if os.fork() == 0:
            if "groups" in mode:
                os.setpgid(0, 0)
            write_for_ever()
if "forks" in mode:
    if os.fork() == 0:
        fork_for_ever()
if "threads" in mode:
    for _ in range(4):
        threading.Thread(target=write_for_ever, daemon=True).start()
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
