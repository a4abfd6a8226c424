/* What one run of the load client shall do, from its command line. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GATEWAY, DIRECT, TARGETS };
enum { MAX_PIDS = 64 };

/* closed: every connection asks again as soon as it has its answer (cost per request).
 * open: requests come when they come, answered or not (latency without the lie of a waiting generator).
 * hold: a fixed number of streams is opened and kept open (cost per chunk, memory, slow readers, a killed upstream). */
typedef enum { CLOSED, OPEN, HOLD } Mode;

typedef struct {
    Mode mode;
    struct sockaddr_in address[TARGETS];
    bool has[TARGETS];
    int connections;       /* closed, hold: via the gateway; open: at most so many to each target, 0: as many as it takes */
    int direct;            /* hold: streams straight to the upstream beside them; open: per mille of the requests */
    int slow;              /* hold: streams via the gateway whose reader takes a sip now and then */
    uint32_t slow_chunks;  /* of each of these, as fast as the upstream can */
    double rate_per_s;     /* open */
    double warmup_s, seconds;
    uint32_t chunks;       /* content chunks per stream; 0: not streamed */
    int64_t interval_us;   /* between two chunks */
    uint32_t cut_after;    /* the upstream breaks the connection after so many chunks; 0: it does not */
    size_t body_bytes;     /* of a request, about */
    int pending;           /* hold: how many may wait for their first chunk while opening */
    bool include_usage;
    const char *model, *key;
    const char *path;      /* what the gateway is asked; the upstream is asked for chat completions whatever it is */
    const char *body_file; /* holds the requests' body, orders and all; NULL: it is made up here */
    const char *end;       /* what the last bytes of a gateway's whole stream hold */
    uint64_t seed;
    int pids[MAX_PIDS], pid_count;  /* whose CPU time is counted over the measured window */
} Plan;

/* Exits with a message when the arguments make no sense. */
Plan plan_from(int argc, char **argv);

/* The request's bytes for one target, head and JSON body; a slow reader's stream is as fast as the upstream can. */
char *plan_request(const Plan *plan, int target, bool is_slow, size_t *count);

#endif
