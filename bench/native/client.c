/* The load client: one thread, epoll, far cheaper than any gateway, so that it may share a core with the upstream.
 *
 * It measures two targets in the same breath, the gateway and the upstream itself ("direct"), so that both see the same
 * neighbours and the same queue on this core, and prints one JSON object. Times are nanoseconds. The modes are in plan.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "exchange.h"
#include "plan.h"

enum { EVENTS = 512, MAX_BUSY = 6000, WAITING = 1 << 17, SIP_MS = 100, SLOW_RECEIVE_BYTES = 4096, GIVE_UP_AFTER = 2000 };

static const int64_t OPENING_NS = 90 * NS_PER_S, DRAIN_NS = 2 * NS_PER_S;

static Plan plan;
static int epoll_fd;
static struct { char *bytes; size_t count; } requests[TARGETS][2];
static Tally tallies[TARGETS], slow_tally; /* a slow reader's gaps are of its own making */
static Exchange *idle[TARGETS], *all_slow[1024];
static int busy, busy_with[TARGETS], pending, slow_count, failures;
static uint64_t unsent;
/* Open mode: when requests were due that wait for a connection; a ring for each target. */
static struct { int64_t due_ns[WAITING]; uint32_t first, count; } waiting[TARGETS];
static int64_t cpu_ns[MAX_PIDS], own_cpu_ns, begin_ns, end_ns;

static int64_t clock_ns(clockid_t clock) {
    struct timespec spent = {0};
    clock_gettime(clock, &spent);
    return spent.tv_sec * NS_PER_S + spent.tv_nsec;
}

/* A process' CPU time with all its threads, to the nanosecond; /proc/PID/stat counts in hundredths of a second. */
static int64_t cpu_of(int pid) {
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) ? 0 : clock_ns(clock);
}

static void count_cpu(int sign) {
    for (int at = 0; at < plan.pid_count; at++) cpu_ns[at] += sign * cpu_of(plan.pids[at]);
    own_cpu_ns += sign * clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void open_window(int64_t now) {
    begin_ns = now;
    end_ns = now + (int64_t)(plan.seconds * 1e9);
    for (int target = 0; target < TARGETS; target++) {
        tallies[target].is_open = true;
        tallies[target].from_ns = begin_ns;
        tallies[target].to_ns = end_ns;
    }
    count_cpu(-1);
}

static void close_window(int64_t now) {
    count_cpu(1);
    end_ns = now;
    for (int target = 0; target < TARGETS; target++) tallies[target].is_open = false;
}

static Exchange *fresh(int target, bool is_slow) {
    Exchange *exchange = exchange_connect(epoll_fd, &plan.address[target], is_slow ? SLOW_RECEIVE_BYTES : 0);
    if (!exchange) return NULL;
    exchange->target = target;
    exchange->tally = is_slow ? &slow_tally : &tallies[target];
    exchange->is_slow = is_slow;
    exchange->request = requests[target][is_slow].bytes;
    exchange->request_bytes = requests[target][is_slow].count;
    exchange->chunks_wanted = plan.chunks;
    exchange->end = target == GATEWAY ? plan.end : "[DONE]";
    return exchange;
}

static Exchange *take_idle(int target) {
    Exchange *exchange = idle[target];
    if (exchange) idle[target] = exchange->next_idle;
    return exchange;
}

static void forget_idle(Exchange *exchange) {
    for (Exchange **at = &idle[exchange->target]; *at; at = &(*at)->next_idle) {
        if (*at != exchange) continue;
        *at = exchange->next_idle;
        break;
    }
    exchange_close(exchange);
}

static void failed(int target, Outcome outcome) {
    tallies[target].outcomes[outcome]++;
    failures++;
}

static void start(int target, int64_t intended_ns) {
    Exchange *exchange = take_idle(target);
    if (!exchange) exchange = fresh(target, false);
    if (!exchange) {
        failed(target, REFUSED);
        return;
    }
    busy++;
    busy_with[target]++;
    exchange_start(exchange, epoll_fd, intended_ns);
}

static void tell(Exchange *exchange, Outcome outcome) {
    Tally *tally = exchange->tally;
    if (outcome != DONE) {
        failed(exchange->target, outcome);
        if (outcome == STATUS) tally->last_bad_status = exchange->reply.status;
    } else if (exchange->is_counted) {
        tally->outcomes[DONE]++;
        sample_add(&tally->latency, now_ns() - exchange->intended_ns);
    }
    if (outcome == DONE && tally->is_open) tally->requests++;
    if (plan.mode == HOLD) sample_add(&tally->ends, now_ns());
}

static void start_waiting(int target) {
    int64_t due_ns = waiting[target].due_ns[waiting[target].first];
    waiting[target].first = (waiting[target].first + 1) % WAITING;
    waiting[target].count--;
    start(target, due_ns);
}

static void over(Exchange *exchange) {
    int target = exchange->target;
    tell(exchange, exchange_outcome(exchange));
    busy--;
    busy_with[target]--;
    exchange->is_busy = false;
    if (exchange_is_reusable(exchange)) {
        exchange->next_idle = idle[target];
        idle[target] = exchange;
    } else {
        exchange_close(exchange);
    }
    if (plan.mode == CLOSED) start(target, now_ns());
    if (waiting[target].count) start_waiting(target);
}

static void on_event(const struct epoll_event *event) {
    Exchange *exchange = event->data.ptr;
    if (!exchange->is_busy) {
        forget_idle(exchange); /* nobody was asked anything: the other side hangs up */
        return;
    }
    bool is_first = !exchange->chunks_seen;
    bool is_over = exchange_go_on(exchange, epoll_fd, event->events);
    if (plan.mode == HOLD && is_first && (exchange->chunks_seen || is_over)) pending--;
    if (is_over) over(exchange);
}

/* Waits until `moment_ns` at most and handles what came. */
static void turn(int64_t moment_ns) {
    struct epoll_event events[EVENTS];
    struct timespec wait = until(moment_ns, now_ns());
    int count = epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);
    for (int at = 0; at < count; at++) on_event(&events[at]);
}

static bool is_hopeless(void) {
    if (failures <= GIVE_UP_AFTER || plan.mode == HOLD) return false;
    fprintf(stderr, "load: %d failures, giving up\n", failures);
    return true;
}

static void run_until_end(void) {
    for (int64_t now; (now = now_ns()) < end_ns && !is_hopeless();) turn(end_ns);
    close_window(now_ns());
}

static void run_closed(void) {
    int64_t warm_ns = now_ns() + (int64_t)(plan.warmup_s * 1e9);
    for (int at = 0; at < plan.connections; at++) start(GATEWAY, now_ns());
    while (now_ns() < warm_ns && !is_hopeless()) turn(warm_ns);
    open_window(now_ns());
    run_until_end();
}

/* Arrivals of a Poisson process: independent callers, with the bunches that they make. */
static int64_t next_arrival(int64_t previous_ns) {
    return previous_ns + (int64_t)(-log(1.0 - drand48()) / plan.rate_per_s * 1e9);
}

static void arrive(int64_t intended_ns) {
    int target = plan.direct && drand48() * 1000.0 < plan.direct ? DIRECT : GATEWAY;
    bool is_full = plan.connections && busy_with[target] >= plan.connections;
    if (busy >= MAX_BUSY || waiting[target].count == WAITING) unsent++;
    else if (!is_full) start(target, intended_ns);
    else waiting[target].due_ns[(waiting[target].first + waiting[target].count++) % WAITING] = intended_ns;
}

static void run_open(void) {
    int64_t arrival = now_ns(), warm_ns = arrival + (int64_t)(plan.warmup_s * 1e9);
    while (!is_hopeless()) {
        int64_t now = now_ns();
        if (!begin_ns && now >= warm_ns) open_window(now);
        if (begin_ns && now >= end_ns) break;
        for (; arrival <= now; arrival = next_arrival(arrival)) arrive(arrival);
        turn(arrival);
    }
    close_window(now_ns());
    for (int64_t drain_ns = end_ns + DRAIN_NS; busy && now_ns() < drain_ns;) turn(drain_ns);
}

static void start_slow(void) {
    Exchange *exchange = fresh(GATEWAY, true);
    if (!exchange || slow_count == (int)(sizeof all_slow / sizeof *all_slow)) return;
    exchange_start(exchange, epoll_fd, now_ns());
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, exchange->fd, NULL);
    all_slow[slow_count++] = exchange;
}

/* Slow readers are not watched: they take a sip when it is time, whatever lies ready. */
static void sip(void) {
    static int64_t due_ns;
    if (now_ns() < due_ns) return;
    due_ns = now_ns() + SIP_MS * 1000 * NS_PER_US;
    for (int at = 0; at < slow_count; at++) {
        Exchange *exchange = all_slow[at];
        if (exchange->is_busy && exchange_go_on(exchange, epoll_fd, EPOLLIN | EPOLLOUT)) {
            exchange->is_busy = false;
            failed(GATEWAY, exchange_outcome(exchange));
        }
    }
}

static void open_all(void) {
    int64_t limit_ns = now_ns() + OPENING_NS;
    int left[TARGETS] = {plan.connections, plan.direct};
    for (int at = 0; at < plan.slow; at++) start_slow();
    while ((left[GATEWAY] || left[DIRECT] || pending > 0) && now_ns() < limit_ns) {
        while ((left[GATEWAY] || left[DIRECT]) && pending < plan.pending) {
            int target = left[DIRECT] ? DIRECT : GATEWAY;
            left[target]--;
            pending++;
            start(target, now_ns());
        }
        turn(now_ns() + 10 * 1000 * NS_PER_US);
        if (slow_count) sip();
    }
}

static void run_hold(void) {
    int64_t started_ns = now_ns();
    open_all();
    printf("{\"event\": \"open\", \"open\": %d, \"took_ns\": %lld}\n", busy, (long long)(now_ns() - started_ns));
    fflush(stdout);
    int64_t warm_ns = now_ns() + (int64_t)(plan.warmup_s * 1e9);
    while (busy) {
        int64_t now = now_ns();
        if (!begin_ns && now >= warm_ns) open_window(now);
        if (begin_ns && now >= end_ns) break;
        int64_t moment_ns = begin_ns ? end_ns : warm_ns, soon_ns = now + SIP_MS * 1000 * NS_PER_US;
        turn(slow_count && soon_ns < moment_ns ? soon_ns : moment_ns);
        if (slow_count) sip();
    }
    if (!begin_ns) open_window(now_ns());
    close_window(now_ns());
}

static void print_tally(const char *name, Tally *tally) {
    printf(", \"%s\": {\"requests\": %llu, \"chunks\": %llu, \"last_bad_status\": %d, \"outcomes\": {", name,
           (unsigned long long)tally->requests, (unsigned long long)tally->chunks, tally->last_bad_status);
    for (int at = 0; at < OUTCOMES; at++)
        printf("%s\"%s\": %llu", at ? ", " : "", outcome_names[at], (unsigned long long)tally->outcomes[at]);
    printf("}, ");
    sample_print("latency", &tally->latency), printf(", ");
    sample_print("first", &tally->first), printf(", ");
    sample_print("reach", &tally->reach), printf(", ");
    sample_print("gap", &tally->gap), printf(", ");
    sample_print("delay", &tally->delay), printf(", ");
    sample_print("ends", &tally->ends), printf("}");
}

static void report(void) {
    printf("{\"event\": \"result\", \"window_ns\": %lld, \"own_cpu_ns\": %lld, \"unsent\": %llu, \"cpu_ns\": [",
           (long long)(end_ns - begin_ns), (long long)own_cpu_ns, (unsigned long long)unsent);
    for (int at = 0; at < plan.pid_count; at++) printf("%s%lld", at ? ", " : "", (long long)cpu_ns[at]);
    printf("]");
    print_tally("gateway", &tallies[GATEWAY]);
    print_tally("direct", &tallies[DIRECT]);
    puts("}");
}

int main(int argc, char **argv) {
    plan = plan_from(argc, argv);
    srand48((long)plan.seed);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1L);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int target = 0; target < TARGETS; target++)
        for (int slow = 0; slow < 2; slow++)
            requests[target][slow].bytes = plan_request(&plan, target, slow, &requests[target][slow].count);
    if (plan.mode == CLOSED) run_closed();
    else if (plan.mode == OPEN) run_open();
    else run_hold();
    if (plan.mode == OPEN)
        for (int target = 0; target < TARGETS; target++)
            tallies[target].outcomes[UNENDED] = (uint64_t)busy_with[target] + waiting[target].count;
    report();
    return is_hopeless() ? 1 : 0;
}
