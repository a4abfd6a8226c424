/* The engine that every gateway is measured against: an OpenAI-compatible server that costs next to nothing.
 *
 * One thread, epoll, no allocation per request. A request's orders stand in its prompt, `@bench n=100 i=10000 r=0;`:
 * n content chunks (0: one unstreamed answer), i microseconds apart, r=1: a random wait before the second one, so that
 * many streams opened at once do not tick together, k=K: cut the connection after K chunks. Every content chunk carries
 * its number and the time of its writing.
 * Usage: upstream PORT; it prints "listening" once it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

enum { MAX_FD = 65536, HEAD_ROOM = 8192, END_ROOM = 4096, OUT_ROOM = 32768, BATCH = 64, EVENTS = 512 };

typedef enum { READ_HEAD, READ_FIXED, READ_SIZE, READ_CHUNK, READ_CHUNK_END, READ_LAST, ANSWERING } Stage;

typedef struct {
    int fd, heap_at;           /* heap_at: place in the timer heap, -1 without */
    Stage stage;
    bool is_post, is_chat, is_closing, wants_usage, waits_to_write, is_spread;
    uint64_t left;
    uint32_t head_len, first_len, last_len, out_len, out_at;
    uint32_t chunks, emitted, cut_after;
    int64_t interval_ns, due_ns;
    char head[HEAD_ROOM];
    /* A body's first and last bytes are all that is looked at: the orders, and the options where a gateway that writes
     * the JSON anew puts them. Reading the middle of 220 KB would measure this program. */
    char first[END_ROOM], last[END_ROOM];
    char out[OUT_ROOM];
} Conn;

static Conn *conns[MAX_FD];
static Conn *heap[MAX_FD];
static int heap_count, epoll_fd;
static char scratch[1 << 18];

static void heap_put(int at, Conn *conn) {
    heap[at] = conn;
    conn->heap_at = at;
}

static void heap_up(int at, Conn *conn) {
    for (int parent; at > 0 && heap[parent = (at - 1) / 2]->due_ns > conn->due_ns; at = parent)
        heap_put(at, heap[parent]);
    heap_put(at, conn);
}

static void heap_down(int at, Conn *conn) {
    for (int child; (child = 2 * at + 1) < heap_count; at = child) {
        if (child + 1 < heap_count && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= conn->due_ns) break;
        heap_put(at, heap[child]);
    }
    heap_put(at, conn);
}

static void timer_set(Conn *conn, int64_t due_ns) {
    conn->due_ns = due_ns;
    heap_up(heap_count++, conn);
}

static void timer_drop(Conn *conn) {
    if (conn->heap_at < 0) return;
    int at = conn->heap_at;
    Conn *moved = heap[--heap_count];
    conn->heap_at = -1;
    if (moved == conn) return;
    heap_down(at, moved);
    heap_up(moved->heap_at, moved);
}

static void drop(Conn *conn) {
    timer_drop(conn);
    conns[conn->fd] = NULL;
    close(conn->fd);
    free(conn);
}

static void watch(Conn *conn, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.fd = conn->fd};
    epoll_ctl(epoll_fd, how, conn->fd, &event);
}

/* Writes what is in `out`; false when the connection is gone. A full socket waits for the reader. */
static bool flush(Conn *conn) {
    while (conn->out_at < conn->out_len) {
        ssize_t sent = send(conn->fd, conn->out + conn->out_at, conn->out_len - conn->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return false;
        if (sent < 0) {
            if (!conn->waits_to_write) watch(conn, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            conn->waits_to_write = true;
            return true;
        }
        conn->out_at += (uint32_t)sent;
    }
    conn->out_at = conn->out_len = 0;
    if (conn->waits_to_write) watch(conn, EPOLLIN, EPOLL_CTL_MOD);
    conn->waits_to_write = false;
    return true;
}

__attribute__((format(printf, 2, 3))) static void say(Conn *conn, const char *format, ...) {
    va_list values;
    va_start(values, format);
    int count = vsnprintf(conn->out + conn->out_len, OUT_ROOM - conn->out_len, format, values);
    va_end(values);
    conn->out_len += (uint32_t)count;
}

static void say_event(Conn *conn, const char *data) {
    say(conn, "%zx\r\ndata: %s\n\n\r\n", strlen(data) + strlen("data: \n\n"), data);
}

#define DELTA \
    "\"created\":1760000000,\"id\":\"chatcmpl-7Qd2fWbC\",\"model\":\"bench\",\"object\":\"chat.completion.chunk\"}"
#define ROLE "{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}]," DELTA

static void say_chunk(Conn *conn) {
    char data[512];
    snprintf(data, sizeof data,
             "{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"~%u,%lld~\"}}]," DELTA,
             conn->emitted++, (long long)now_ns());
    say_event(conn, data);
}

static void say_stream_end(Conn *conn) {
    char usage[512];
    say_event(conn, "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}]," DELTA);
    snprintf(usage, sizeof usage,
             "{\"choices\":[],\"usage\":{\"completion_tokens\":%u,\"prompt_tokens\":20,\"total_tokens\":%u}," DELTA,
             conn->chunks, conn->chunks + 20);
    if (conn->wants_usage) say_event(conn, usage);
    say_event(conn, "[DONE]");
    say(conn, "0\r\n\r\n");
}

static void answered(Conn *conn) {
    conn->stage = READ_HEAD;
    conn->head_len = conn->first_len = conn->last_len = 0;
}

/* Emits what is due now; false when the connection is to be closed. Streams without an interval go as fast as they are
 * read, a batch per turn, so that one of them cannot keep the others waiting. */
static bool tick(Conn *conn) {
    int batch = conn->interval_ns ? 1 : BATCH;
    while (batch-- && conn->emitted < conn->chunks) {
        if (conn->cut_after && conn->emitted == conn->cut_after) return flush(conn) && false;
        say_chunk(conn);
    }
    bool is_over = conn->emitted == conn->chunks;
    if (is_over) say_stream_end(conn);
    if (!flush(conn)) return false;
    if (is_over) {
        answered(conn);
    } else if (!conn->waits_to_write) {
        /* From the moment that was due, not from now: lateness must not add up. Without an interval from now, so that
         * everybody else who is due comes first. */
        int64_t wait_ns = conn->interval_ns;
        if (conn->emitted == 1 && conn->is_spread) wait_ns = (int64_t)(drand48() * (double)wait_ns);
        timer_set(conn, wait_ns ? conn->due_ns + wait_ns : now_ns());
    }
    return !(is_over && conn->is_closing);
}

static bool begin_stream(Conn *conn) {
    say(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
              "Transfer-Encoding: chunked\r\n\r\n");
    say_event(conn, ROLE);
    conn->emitted = 0;
    conn->due_ns = now_ns();
    return tick(conn);
}

static bool say_json(Conn *conn, const char *status, const char *json) {
    say(conn, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(json),
        json);
    answered(conn);
    return flush(conn) && !conn->is_closing;
}

/* Looks in the body's two ends, never in its middle. */
static const char *find(Conn *conn, const char *text) {
    const char *at = memmem(conn->first, conn->first_len, text, strlen(text));
    return at ? at : memmem(conn->last, conn->last_len, text, strlen(text));
}

static void read_orders(Conn *conn) {
    long long chunks = 0, interval_us = 0, is_spread = 0, cut_after = 0;
    const char *orders = find(conn, "@bench "), *usage = find(conn, "\"include_usage\"");
    if (orders) sscanf(orders, "@bench n=%lld i=%lld r=%lld k=%lld", &chunks, &interval_us, &is_spread, &cut_after);
    conn->chunks = (uint32_t)chunks;
    conn->interval_ns = interval_us * NS_PER_US;
    conn->is_spread = is_spread;
    conn->cut_after = (uint32_t)cut_after;
    if (usage) usage += strlen("\"include_usage\"");
    conn->wants_usage = usage && !strncmp(usage + strspn(usage, ": "), "true", 4);
}

static const char UNARY[] =
    "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The quick brown"
    " fox jumps over the lazy dog, and then it sleeps in the sun.\"}}],\"created\":1760000000,"
    "\"id\":\"chatcmpl-7Qd2fWbC\",\"model\":\"bench\",\"object\":\"chat.completion\",\"system_fingerprint\":\"b1-bench\","
    "\"usage\":{\"completion_tokens\":16,\"prompt_tokens\":20,\"total_tokens\":36}}";

static const char MODELS[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":1760000000,\"owned_by\":\"bench\"}]}";
/* sglang-router asks its workers for these before it takes them. */
static const char ABOUT[] =
    "{\"status\":\"ok\",\"model_path\":\"bench\",\"served_model_name\":\"bench\",\"is_generation\":true}";

static bool answer(Conn *conn) {
    conn->stage = ANSWERING;
    if (conn->is_chat) {
        read_orders(conn);
        return conn->chunks ? begin_stream(conn) : say_json(conn, "200 OK", UNARY);
    }
    if (conn->is_post) return say_json(conn, "404 Not Found", "{\"error\":{\"message\":\"no such path\"}}");
    return say_json(conn, "200 OK", strstr(conn->head, "/v1/models") ? MODELS : ABOUT);
}

/* Reads what the head says; false when this is no HTTP that can be answered. */
static bool read_head(Conn *conn) {
    const char *length = strcasestr(conn->head, "\ncontent-length:");
    bool is_chunked = strcasestr(conn->head, "\ntransfer-encoding: chunked") != NULL;
    conn->is_post = !strncmp(conn->head, "POST ", 5);
    conn->is_chat = conn->is_post && strstr(conn->head, "/chat/completions");
    conn->is_closing = strcasestr(conn->head, "\nconnection: close") != NULL;
    conn->left = length ? strtoull(length + strlen("\ncontent-length:"), NULL, 10) : 0;
    if (strcasestr(conn->head, "\nexpect: 100-continue")) {
        say(conn, "HTTP/1.1 100 Continue\r\n\r\n");
        if (!flush(conn)) return false;
    }
    if (is_chunked) {
        conn->stage = READ_SIZE;
        conn->head_len = 0;
        return true;
    }
    conn->stage = READ_FIXED;
    return conn->left || answer(conn);
}

static void keep_ends(Conn *conn, const char *bytes, size_t count) {
    size_t first = END_ROOM - conn->first_len < count ? END_ROOM - conn->first_len : count;
    memcpy(conn->first + conn->first_len, bytes, first);
    conn->first_len += (uint32_t)first;
    if (count > END_ROOM) bytes += count - END_ROOM, count = END_ROOM;
    size_t kept = conn->last_len + count > END_ROOM ? END_ROOM - count : conn->last_len;
    memmove(conn->last, conn->last + conn->last_len - kept, kept);
    memcpy(conn->last + kept, bytes, count);
    conn->last_len = (uint32_t)(kept + count);
}

/* One byte of a line in `head`; true when it is over. */
static bool line_is_over(Conn *conn, char byte) {
    if (conn->head_len + 1 < HEAD_ROOM) conn->head[conn->head_len++] = byte;
    conn->head[conn->head_len] = 0;
    return byte == '\n';
}

static bool size_is_read(Conn *conn) {
    conn->left = strtoull(conn->head, NULL, 16);
    conn->head_len = 0;
    conn->stage = conn->left ? READ_CHUNK : READ_LAST;
    return true;
}

/* One byte outside a body; false ends the connection. */
static bool take_byte(Conn *conn, char byte) {
    if (!line_is_over(conn, byte)) return true;
    switch (conn->stage) {
    case READ_HEAD:
        if (conn->head_len < 4 || memcmp(conn->head + conn->head_len - 4, "\r\n\r\n", 4))
            return conn->head_len + 1 < HEAD_ROOM;
        return read_head(conn);
    case READ_SIZE: return size_is_read(conn);
    case READ_CHUNK_END: conn->head_len = 0, conn->stage = READ_SIZE; return true;
    case READ_LAST: return conn->head_len > 2 ? (conn->head_len = 0, true) : answer(conn);
    default: return false;
    }
}

static bool take(Conn *conn, const char *bytes, size_t count) {
    for (size_t used = 0; used < count;) {
        if (conn->stage != READ_FIXED && conn->stage != READ_CHUNK) {
            if (!take_byte(conn, bytes[used++])) return false;
            continue;
        }
        size_t part = count - used < conn->left ? count - used : (size_t)conn->left;
        keep_ends(conn, bytes + used, part);
        used += part;
        conn->left -= part;
        if (conn->left) continue;
        if (conn->stage == READ_CHUNK) conn->stage = READ_CHUNK_END;
        else if (!answer(conn)) return false;
    }
    return true;
}

static bool on_readable(Conn *conn) {
    ssize_t count = recv(conn->fd, scratch, sizeof scratch, 0);
    if (count < 0) return errno == EAGAIN;
    return count > 0 && take(conn, scratch, (size_t)count);
}

static bool on_writable(Conn *conn) {
    if (!flush(conn)) return false;
    if (!conn->waits_to_write && conn->stage == ANSWERING && conn->heap_at < 0) {
        conn->due_ns = now_ns();
        return tick(conn);
    }
    return true;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        Conn *conn = fd < MAX_FD ? calloc(1, sizeof *conn) : NULL;
        if (!conn) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        conn->fd = fd;
        conn->heap_at = -1;
        conns[fd] = conn;
        watch(conn, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("upstream");
        exit(1);
    }
    return fd;
}

static void emit_due(void) {
    int64_t now = now_ns();
    while (heap_count && heap[0]->due_ns <= now) {
        Conn *conn = heap[0];
        timer_drop(conn);
        if (!tick(conn)) drop(conn);
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS];
    if (argc != 2) return fputs("usage: upstream PORT\n", stderr), 2;
    int listener = listen_on(atoi(argv[1]));
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1L); /* the default of 50 us would be part of every gap measured */
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    puts("listening");
    fflush(stdout);
    for (;;) {
        struct timespec wait = heap_count ? until(heap[0]->due_ns, now_ns()) : (struct timespec){.tv_sec = 3600};
        int count = epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);
        for (int at = 0; at < count; at++) {
            Conn *conn = conns[events[at].data.fd];
            if (events[at].data.fd == listener) accept_all(listener);
            else if (conn && (events[at].events & EPOLLOUT) && !on_writable(conn)) drop(conn);
            else if (conn && (events[at].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !on_readable(conn)) drop(conn);
        }
        emit_due();
    }
}
