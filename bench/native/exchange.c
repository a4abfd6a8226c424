#define _GNU_SOURCE
#include "exchange.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

const char *const outcome_names[OUTCOMES] = {"done",   "refused", "status",   "in_band",
                                             "silent", "cut",     "disorder", "unended"};

static char bytes_read[1 << 18]; /* one for all: a reply keeps no bytes */

static void watch(Exchange *exchange, int epoll_fd, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = exchange};
    epoll_ctl(epoll_fd, how, exchange->fd, &event);
}

Exchange *exchange_connect(int epoll_fd, const struct sockaddr_in *address, int receive_bytes) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (receive_bytes) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) && errno != EINPROGRESS) {
        close(fd);
        return NULL;
    }
    Exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange) abort();
    exchange->fd = fd;
    watch(exchange, epoll_fd, EPOLLIN, EPOLL_CTL_ADD);
    return exchange;
}

static void on_mark(void *owner, uint32_t index, int64_t emitted_ns) {
    Exchange *exchange = owner;
    Tally *tally = exchange->tally;
    int64_t arrived_ns = tally->read_ns;
    if (index != exchange->chunks_seen) exchange->in_order = false;
    if (tally->is_open) {
        tally->chunks++;
        sample_add(&tally->delay, arrived_ns - emitted_ns);
        if (exchange->chunks_seen) sample_add(&tally->gap, arrived_ns - exchange->arrived_ns);
    }
    if (!exchange->chunks_seen && exchange->is_counted) {
        sample_add(&tally->first, arrived_ns - exchange->intended_ns);
        /* The upstream writes its first chunk when it has the whole request. */
        sample_add(&tally->reach, emitted_ns - exchange->sent_ns);
    }
    exchange->chunks_seen++;
    exchange->arrived_ns = arrived_ns;
}

/* Sends what is left of the request; false when the connection is gone. */
static bool send_rest(Exchange *exchange, int epoll_fd) {
    while (exchange->sent < exchange->request_bytes) {
        ssize_t sent = send(exchange->fd, exchange->request + exchange->sent, exchange->request_bytes - exchange->sent,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) return false;
        if (sent < 0) {
            if (!exchange->waits_to_write) watch(exchange, epoll_fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            exchange->waits_to_write = true;
            return true;
        }
        exchange->sent += (size_t)sent;
        if (exchange->sent == exchange->request_bytes) exchange->sent_ns = now_ns();
    }
    if (exchange->waits_to_write) watch(exchange, epoll_fd, EPOLLIN, EPOLL_CTL_MOD);
    exchange->waits_to_write = false;
    return true;
}

void exchange_start(Exchange *exchange, int epoll_fd, int64_t intended_ns) {
    reply_begin(&exchange->reply, on_mark, exchange);
    exchange->is_busy = exchange->in_order = true;
    exchange->sent = 0;
    exchange->chunks_seen = 0;
    exchange->intended_ns = intended_ns;
    exchange->is_counted = intended_ns >= exchange->tally->from_ns && intended_ns < exchange->tally->to_ns;
    /* A connection lost here shows as readable at once, and is told there. */
    send_rest(exchange, epoll_fd);
}

bool exchange_go_on(Exchange *exchange, int epoll_fd, uint32_t events) {
    if ((events & EPOLLOUT) && !send_rest(exchange, epoll_fd)) return reply_closed(&exchange->reply), true;
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP))) return false;
    ssize_t count = recv(exchange->fd, bytes_read, exchange->is_slow ? 512 : sizeof bytes_read, 0);
    if (count < 0 && errno == EAGAIN) return false;
    if (count <= 0) return reply_closed(&exchange->reply), true;
    exchange->tally->read_ns = now_ns();
    reply_feed(&exchange->reply, bytes_read, (size_t)count);
    return exchange->reply.stage == COMPLETE || exchange->reply.stage == BROKEN;
}

Outcome exchange_outcome(const Exchange *exchange) {
    const Reply *reply = &exchange->reply;
    if (reply->stage != COMPLETE && !reply->status) return REFUSED;
    if (reply->status != 200) return STATUS;
    if (!exchange->in_order) return DISORDER;
    if (!exchange->chunks_wanted) return reply->stage == COMPLETE ? DONE : CUT;
    if (reply_tail_holds(reply, "\"error\"")) return IN_BAND;
    if (reply->stage != COMPLETE) return CUT;
    if (!reply_tail_holds(reply, exchange->end)) return SILENT;
    return exchange->chunks_seen == exchange->chunks_wanted ? DONE : DISORDER;
}

bool exchange_is_reusable(const Exchange *exchange) {
    return exchange->reply.stage == COMPLETE && exchange->reply.keeps_alive &&
           exchange->sent == exchange->request_bytes;
}

void exchange_close(Exchange *exchange) {
    close(exchange->fd);
    free(exchange);
}
