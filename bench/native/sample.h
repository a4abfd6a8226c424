/* Growing lists of measurements, kept whole: a quantile of the raw values needs no choice of buckets. */
#ifndef BENCH_SAMPLE_H
#define BENCH_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t *values;
    size_t count, room;
} Samples;

void sample_add(Samples *samples, int64_t value);

/* Prints `"name": {"count": …, "p50": …, "p90": …, "p99": …, "p999": …, "max": …}`; values as they were added. */
void sample_print(const char *name, Samples *samples);

#endif
