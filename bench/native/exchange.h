/* One connection of the load client and the exchange that runs on it: connect, send, read, and say how it ended. */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "reply.h"
#include "sample.h"

/* DONE     the whole answer, and for a stream every chunk in order and its end ([DONE], in OpenAI chat)
 * REFUSED  no connection, or closed before the first byte of an answer
 * STATUS   an answer that is not 200
 * IN_BAND  a stream cut short that said so by an error event
 * SILENT   a stream that ended like a good one, without that end
 * CUT      a connection closed inside an answer, with not a word about it
 * DISORDER chunks lost, doubled or out of order
 * UNENDED  still running when the measurement was over */
typedef enum { DONE, REFUSED, STATUS, IN_BAND, SILENT, CUT, DISORDER, UNENDED, OUTCOMES } Outcome;

extern const char *const outcome_names[OUTCOMES];

typedef struct {
    bool is_open;          /* whether chunks and ends count now */
    int64_t from_ns, to_ns; /* an exchange counts when it was due between these, however late it begins or ends */
    int64_t read_ns;       /* when the bytes now looked at were read */
    uint64_t chunks, requests;
    uint64_t outcomes[OUTCOMES];
    int last_bad_status;
    Samples latency, first, reach, gap, delay, ends;
} Tally;

typedef struct Exchange Exchange;
struct Exchange {
    int fd, target;
    bool is_busy, is_counted, is_slow, in_order, waits_to_write;
    const char *request, *end; /* end: what the last bytes of a whole stream hold */
    size_t request_bytes, sent;
    uint32_t chunks_wanted, chunks_seen;
    int64_t intended_ns, arrived_ns, sent_ns; /* sent_ns: when the last byte of the request was given to the kernel */
    Tally *tally;
    Reply reply;
    Exchange *next_idle;
};

/* A connection under way to `address`, watched by `epoll_fd`; NULL when there can be none. */
Exchange *exchange_connect(int epoll_fd, const struct sockaddr_in *address, int receive_bytes);

void exchange_start(Exchange *exchange, int epoll_fd, int64_t intended_ns);

/* Reads or writes what is possible; true when the answer is over, then `exchange_outcome` says how and
 * `exchange_is_reusable` whether the connection serves once more. */
bool exchange_go_on(Exchange *exchange, int epoll_fd, uint32_t events);

Outcome exchange_outcome(const Exchange *exchange);
bool exchange_is_reusable(const Exchange *exchange);
void exchange_close(Exchange *exchange);

#endif
