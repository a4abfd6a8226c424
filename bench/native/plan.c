#define _GNU_SOURCE
#include "plan.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CHAT[] = "/v1/chat/completions";

static void refuse(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

static struct sockaddr_in address_of(const char *port) {
    int number = atoi(port);
    if (number < 1 || number > 65535) refuse("a target is a port of this machine, 1 to 65535");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static Mode mode_of(const char *name) {
    if (!strcmp(name, "closed")) return CLOSED;
    if (!strcmp(name, "open")) return OPEN;
    if (!strcmp(name, "hold")) return HOLD;
    refuse("--mode is closed, open or hold");
    return CLOSED;
}

static void add_pid(Plan *plan, const char *text) {
    if (plan->pid_count == MAX_PIDS) refuse("too many --pid");
    plan->pids[plan->pid_count++] = atoi(text);
}

static void check(const Plan *plan) {
    if (!plan->has[GATEWAY]) refuse("--gateway PORT is missing");
    if (plan->direct && !plan->has[DIRECT]) refuse("--direct needs --upstream PORT");
    if (plan->mode == OPEN && plan->rate_per_s <= 0) refuse("--rate must be above 0 in open mode");
    if (plan->mode != OPEN && plan->connections < 1) refuse("--connections must be above 0");
    if (plan->mode == HOLD && !plan->chunks) refuse("hold is for streams: give --chunks");
    if (plan->mode == CLOSED && (plan->direct || plan->slow)) refuse("closed mode has one target and no slow readers");
}

Plan plan_from(int argc, char **argv) {
    static const struct option options[] = {
        {"mode", 1, 0, 'm'},     {"gateway", 1, 0, 'g'},  {"upstream", 1, 0, 'u'}, {"connections", 1, 0, 'c'},
        {"direct", 1, 0, 'd'},   {"slow", 1, 0, 'l'},     {"rate", 1, 0, 'r'},     {"warmup", 1, 0, 'w'},
        {"seconds", 1, 0, 's'},  {"chunks", 1, 0, 'n'},   {"interval-us", 1, 0, 'i'}, {"body", 1, 0, 'b'},
        {"pending", 1, 0, 'p'},  {"usage", 0, 0, 'U'},    {"model", 1, 0, 'M'},    {"key", 1, 0, 'K'},      {"seed", 1, 0, 'S'},
        {"pid", 1, 0, 'P'},      {"cut-after", 1, 0, 'k'}, {"path", 1, 0, 'a'},    {"body-file", 1, 0, 'f'},
        {"end", 1, 0, 'e'},
        {"slow-chunks", 1, 0, 'L'}, {0, 0, 0, 0},
    };
    Plan plan = {.mode = CLOSED, .seconds = 2, .warmup_s = 0.5, .body_bytes = 1024, .pending = 32, .slow_chunks = 100000, .model = "bench", .key = "sk-bench",
                 .path = CHAT, .end = "[DONE]", .seed = 1};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'm': plan.mode = mode_of(optarg); break;
        case 'g': plan.address[GATEWAY] = address_of(optarg), plan.has[GATEWAY] = true; break;
        case 'u': plan.address[DIRECT] = address_of(optarg), plan.has[DIRECT] = true; break;
        case 'c': plan.connections = atoi(optarg); break;
        case 'd': plan.direct = atoi(optarg); break;
        case 'l': plan.slow = atoi(optarg); break;
        case 'L': plan.slow_chunks = (uint32_t)atoi(optarg); break;
        case 'r': plan.rate_per_s = atof(optarg); break;
        case 'w': plan.warmup_s = atof(optarg); break;
        case 's': plan.seconds = atof(optarg); break;
        case 'n': plan.chunks = (uint32_t)atoi(optarg); break;
        case 'i': plan.interval_us = atoll(optarg); break;
        case 'b': plan.body_bytes = (size_t)atoll(optarg); break;
        case 'p': plan.pending = atoi(optarg); break;
        case 'U': plan.include_usage = true; break;
        case 'M': plan.model = optarg; break;
        case 'K': plan.key = optarg; break;
        case 'S': plan.seed = strtoull(optarg, NULL, 10); break;
        case 'k': plan.cut_after = (uint32_t)atoi(optarg); break;
        case 'P': add_pid(&plan, optarg); break;
        case 'a': plan.path = optarg; break;
        case 'f': plan.body_file = optarg; break;
        case 'e': plan.end = optarg; break;
        default: exit(2);
        }
    }
    check(&plan);
    return plan;
}

/* Prose with an escape now and then, as prompts have it: a decoder that has to unescape must do so here too. */
static void write_prompt(FILE *out, size_t count) {
    static const char words[] = "The quick brown fox jumps over the lazy dog, and then it sleeps in the sun.\\n";
    for (size_t left = count; left >= sizeof words; left -= sizeof words - 1) fputs(words, out);
}

/* The orders to the upstream stand in the prompt's first words: the one field that every gateway passes on as it is.
 * Phases are spread in hold mode only; elsewhere the arrivals spread them. */
static void write_orders(FILE *out, const Plan *plan, bool is_slow) {
    fprintf(out, "@bench n=%u i=%lld r=%d k=%u; ", is_slow ? plan->slow_chunks : plan->chunks,
            is_slow ? 0LL : (long long)plan->interval_us, plan->mode == HOLD, plan->cut_after);
}

/* A file's bytes, to be freed. */
static char *read_body(const char *name, size_t *count) {
    char *body, block[65536];
    FILE *in = fopen(name, "rb"), *out = open_memstream(&body, count);
    if (!in) refuse("--body-file cannot be read");
    for (size_t got; (got = fread(block, 1, sizeof block, in));) fwrite(block, 1, got, out);
    fclose(in);
    fclose(out);
    return body;
}

static char *write_body(const Plan *plan, bool is_slow, size_t *count) {
    char *body;
    FILE *out = open_memstream(&body, count);
    fprintf(out, "{\"model\":\"%s\",\"stream\":%s,", plan->model, plan->chunks ? "true" : "false");
    if (plan->include_usage && plan->chunks) fputs("\"stream_options\":{\"include_usage\":true},", out);
    fprintf(out, "\"max_tokens\":%u,\"messages\":[{\"role\":\"user\",\"content\":\"", plan->chunks ? plan->chunks : 16);
    write_orders(out, plan, is_slow);
    write_prompt(out, plan->body_bytes > 256 ? plan->body_bytes - 256 : 0);
    fputs("\"}]}", out);
    fclose(out);
    return body;
}

char *plan_request(const Plan *plan, int target, bool is_slow, size_t *count) {
    char *request;
    size_t body_bytes;
    char *body = plan->body_file ? read_body(plan->body_file, &body_bytes) : write_body(plan, is_slow, &body_bytes);
    FILE *out = open_memstream(&request, count);
    fprintf(out,
            "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            "Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
            target == GATEWAY ? plan->path : CHAT, ntohs(plan->address[target].sin_port), plan->key, body_bytes);
    fwrite(body, 1, body_bytes, out);
    fclose(out);
    free(body);
    return request;
}
