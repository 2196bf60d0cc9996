// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CEPOLL_H
#define SLUICE_CEPOLL_H

#include <stddef.h>
#include <stdint.h>

/// What is to be known about one descriptor that is ready.
struct sluice_epoll_ready {
    /// What was given to `sluice_epoll_watch`.
    uint64_t key;
    /// Not zero when the other side has closed or the connection has failed.
    int32_t gone;
};

/// An epoll set that is closed on exec; -1 with errno.
int sluice_epoll_create(void);

/// Watches a descriptor for input and for the other side closing, level-triggered; 0, or -1 with errno.
int sluice_epoll_watch(int set, int descriptor, uint64_t key);

/// Waits at most `milliseconds` (-1: for ever); the number of descriptors ready, at most `count` and at most 256, or -1 with
/// errno.
int sluice_epoll_wait(int set, struct sluice_epoll_ready *ready, int count, int milliseconds);

/// Accepts a connection that is non-blocking and closed on exec; -1 with errno.
int sluice_accept(int listener);

/// The process that connected a unix stream socket, as the kernel says; 0 when it does not.
int32_t sluice_peer_process(int descriptor);

/// Makes a unix socket say who sent each datagram; 0, or -1 with errno.
int sluice_ask_for_senders(int descriptor);

/// Receives one datagram without waiting; its length, or -1 with errno. `process`: the sender as the kernel says, else 0.
int64_t sluice_receive_from(int descriptor, void *buffer, size_t room, int32_t *process);

#endif
