#define _GNU_SOURCE
#include "reply.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void reply_begin(Reply *reply, OnMark *on_mark, void *owner) {
    memset(reply, 0, offsetof(Reply, line));
    reply->on_mark = on_mark;
    reply->owner = owner;
}

bool reply_tail_holds(const Reply *reply, const char *text) {
    return memmem(reply->tail, reply->tail_len, text, strlen(text)) != NULL;
}

void reply_closed(Reply *reply) {
    if (reply->stage != COMPLETE) reply->stage = reply->stage == TO_CLOSE ? COMPLETE : BROKEN;
}

/* Adds one byte to the line kept; false when it is too long to be from a sane server. */
static bool keep(Reply *reply, char byte) {
    if (reply->line_len + 1 >= sizeof reply->line) return false;
    reply->line[reply->line_len++] = byte;
    reply->line[reply->line_len] = 0;
    return true;
}

static Stage stage_after_head(Reply *reply) {
    const char *head = reply->line, *length = strcasestr(head, "\ncontent-length:");
    reply->status = reply->line_len > 12 ? atoi(head + 9) : 0;
    reply->keeps_alive = !strcasestr(head, "\nconnection: close") && !strncmp(head, "HTTP/1.1", 8);
    reply->is_stream = strcasestr(head, "\ncontent-type: text/event-stream") != NULL;
    reply->line_len = 0;
    if (reply->status == 100) return HEAD;
    if (strcasestr(head, "\ntransfer-encoding: chunked")) return CHUNK_SIZE;
    if (!length) return TO_CLOSE;
    reply->left = strtoull(length + strlen("\ncontent-length:"), NULL, 10);
    return reply->left ? FIXED : COMPLETE;
}

static Stage head_byte(Reply *reply, char byte) {
    if (!keep(reply, byte)) return BROKEN;
    bool is_over = byte == '\n' && reply->line_len >= 4 && !memcmp(reply->line + reply->line_len - 4, "\r\n\r\n", 4);
    return is_over ? stage_after_head(reply) : HEAD;
}

static Stage size_byte(Reply *reply, char byte) {
    if (byte != '\n') return keep(reply, byte) ? CHUNK_SIZE : BROKEN;
    char *end;
    reply->left = strtoull(reply->line, &end, 16);
    bool is_number = reply->line_len && end != reply->line;
    reply->line_len = 0;
    return !is_number ? BROKEN : reply->left ? CHUNK_DATA : TRAILER;
}

static Stage trailer_byte(Reply *reply, char byte) {
    if (byte == '\r') return TRAILER;
    if (byte != '\n') return keep(reply, byte) ? TRAILER : BROKEN;
    bool is_last = reply->line_len == 0;
    reply->line_len = 0;
    return is_last ? COMPLETE : TRAILER;
}

static void remember_tail(Reply *reply, const char *bytes, size_t count) {
    const size_t room = sizeof reply->tail;
    if (count >= room) {
        memcpy(reply->tail, bytes + count - room, room);
        reply->tail_len = room;
        return;
    }
    size_t kept = reply->tail_len + count > room ? room - count : reply->tail_len;
    memmove(reply->tail, reply->tail + reply->tail_len - kept, kept);
    memcpy(reply->tail + kept, bytes, count);
    reply->tail_len = (uint32_t)(kept + count);
}

static void mark_byte(Reply *reply, char byte) {
    if (byte == MARK) {
        reply->in_mark = false;
        reply->on_mark(reply->owner, (uint32_t)reply->index, reply->emitted_ns);
    } else if (byte == ',') {
        reply->past_comma = true;
    } else if (byte >= '0' && byte <= '9') {
        int64_t *number = reply->past_comma ? &reply->emitted_ns : &reply->index;
        *number = *number * 10 + (byte - '0');
    }
}

/* Body bytes, wherever the network cut them: a mark may begin in one read and end in the next. */
static void body_bytes(Reply *reply, const char *bytes, size_t count) {
    remember_tail(reply, bytes, count);
    const char *at = bytes, *end = bytes + count;
    while (at < end) {
        if (reply->in_mark) {
            mark_byte(reply, *at++);
            continue;
        }
        at = memchr(at, MARK, (size_t)(end - at));
        if (!at) return;
        at++;
        reply->in_mark = true;
        reply->past_comma = false;
        reply->index = reply->emitted_ns = 0;
    }
}

static size_t take_body(Reply *reply, const char *bytes, size_t count, Stage next) {
    size_t taken = count < reply->left ? count : (size_t)reply->left;
    body_bytes(reply, bytes, taken);
    reply->left -= taken;
    if (!reply->left) reply->stage = next;
    return taken;
}

size_t reply_feed(Reply *reply, const char *bytes, size_t count) {
    size_t used = 0;
    while (used < count && reply->stage != COMPLETE && reply->stage != BROKEN) {
        const char *at = bytes + used;
        switch (reply->stage) {
        case HEAD: reply->stage = head_byte(reply, *at), used++; break;
        case CHUNK_SIZE: reply->stage = size_byte(reply, *at), used++; break;
        case CHUNK_END: reply->stage = *at == '\n' ? CHUNK_SIZE : CHUNK_END, used++; break;
        case TRAILER: reply->stage = trailer_byte(reply, *at), used++; break;
        case FIXED: used += take_body(reply, at, count - used, COMPLETE); break;
        case CHUNK_DATA: used += take_body(reply, at, count - used, CHUNK_END); break;
        case TO_CLOSE: body_bytes(reply, at, count - used), used = count; break;
        case COMPLETE:
        case BROKEN: break;
        }
    }
    return used;
}
