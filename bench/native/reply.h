/* Reads one HTTP/1.1 answer byte by byte as it comes, and in its body the marks that the upstream writes into every
 * content chunk. Keeps no body: thousands of these must be cheap, and what counts is order, number and time of marks.
 */
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A mark is `~index,emitted_ns~`; nothing else in an answer holds a tilde. It passes every gateway, even one that
 * writes the JSON anew. */
#define MARK '~'

typedef enum { HEAD, FIXED, TO_CLOSE, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COMPLETE, BROKEN } Stage;

typedef void OnMark(void *owner, uint32_t index, int64_t emitted_ns);

typedef struct {
    OnMark *on_mark;
    void *owner;
    Stage stage;
    int status;
    bool keeps_alive, is_stream, in_mark, past_comma;
    uint64_t left;       /* bytes until the body or the HTTP chunk ends */
    int64_t index, emitted_ns;
    uint32_t line_len;   /* of the head, or of a chunk-size line */
    uint32_t tail_len;
    char line[4096];
    char tail[512];      /* the body's last bytes: whether they hold [DONE] or an error */
} Reply;

void reply_begin(Reply *reply, OnMark *on_mark, void *owner);

/* Takes what one read returned; gives back how much of it belonged to this answer. */
size_t reply_feed(Reply *reply, const char *bytes, size_t count);

/* The connection was closed by the other side: the end of a body without a length, a defect otherwise. */
void reply_closed(Reply *reply);

bool reply_tail_holds(const Reply *reply, const char *text);

#endif
