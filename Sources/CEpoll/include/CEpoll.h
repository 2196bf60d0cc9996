// SPDX-License-Identifier: Apache-2.0
#ifndef SLUICE_CEPOLL_H
#define SLUICE_CEPOLL_H

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

#endif
