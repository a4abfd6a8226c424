/* One clock for everything: upstream stamps its chunks with it and the client subtracts, so both must read the same. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000LL
#define NS_PER_US 1000LL

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* A wait until a moment, as epoll_pwait2 wants it; a moment in the past is no wait. */
static inline struct timespec until(int64_t moment_ns, int64_t from_ns) {
    int64_t wait_ns = moment_ns > from_ns ? moment_ns - from_ns : 0;
    return (struct timespec){.tv_sec = wait_ns / NS_PER_S, .tv_nsec = wait_ns % NS_PER_S};
}

#endif
