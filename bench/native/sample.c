#include "sample.h"

#include <stdio.h>
#include <stdlib.h>

void sample_add(Samples *samples, int64_t value) {
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 4096;
        samples->values = realloc(samples->values, samples->room * sizeof *samples->values);
        if (!samples->values) abort();
    }
    samples->values[samples->count++] = value;
}

static int ascending(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static long long quantile(const Samples *samples, double share) {
    if (!samples->count) return 0;
    size_t at = (size_t)(share * (double)samples->count);
    return (long long)samples->values[at < samples->count ? at : samples->count - 1];
}

void sample_print(const char *name, Samples *samples) {
    if (samples->count) qsort(samples->values, samples->count, sizeof *samples->values, ascending);
    printf("\"%s\": {\"count\": %zu, \"p50\": %lld, \"p90\": %lld, \"p99\": %lld, \"p999\": %lld, \"max\": %lld}", name,
           samples->count, quantile(samples, 0.5), quantile(samples, 0.9), quantile(samples, 0.99),
           quantile(samples, 0.999), quantile(samples, 1.0));
}
