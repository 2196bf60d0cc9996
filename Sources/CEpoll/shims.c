// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CEpoll.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

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

int32_t sluice_peer_process(int descriptor) {
    struct ucred peer;
    socklen_t length = sizeof(peer);
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return 0;
    }
    return peer.pid;
}

int sluice_ask_for_senders(int descriptor) {
    int yes = 1;
    return setsockopt(descriptor, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes));
}

int64_t sluice_receive_from(int descriptor, void *buffer, size_t room, int32_t *process) {
    struct iovec part = {.iov_base = buffer, .iov_len = room};
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr alignment;
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    *process = 0;
    ssize_t count = recvmsg(descriptor, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0) {
        return -1;
    }
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(part), sizeof(sender));
            *process = sender.pid;
        }
    }
    return count;
}
