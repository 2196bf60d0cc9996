// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CEpoll.h"

#include <sys/epoll.h>
#include <sys/socket.h>

int sluice_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int sluice_epoll_watch(int set, int descriptor, uint64_t key) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = key};
    return epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event);
}

int sluice_epoll_wait(int set, struct sluice_epoll_ready *ready, int count, int milliseconds) {
    struct epoll_event events[256];
    int limit = count < 256 ? count : 256;
    int found = epoll_wait(set, events, limit, milliseconds);
    for (int index = 0; index < found; index++) {
        ready[index].key = events[index].data.u64;
        ready[index].gone = (events[index].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    }
    return found;
}

int sluice_accept(int listener) {
    return accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
