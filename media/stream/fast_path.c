/*
 * The fast path in C: what media/stream/fast_path.py does with a batch that becomes a RUN, in one call.
 *
 * media/stream/fast_path_c.py loads it if it was compiled (hatch_build.py). It is optional: Python gives the same bytes
 * and figures for the same batch, and takes a third more of a worker's time. A batch that is no RUN is opened here and
 * left to Python, which finds libsrtp's status of each packet. No state of a stream is kept here, and only the memory
 * that is passed in and libsrtp's session are changed.
 */
#include <endian.h>
#include <stdint.h>
#include <string.h>

/* from media/receive/batch.py and media/records/record_format.py; tests/media/stream/test_fast_path_c.py compares them */
enum { SLOTS = 64, NEAR = 384, MMSGHDR = 64, NAME = 32, CONTROL = 32, LENGTH_AT = 56, TIME_AT = 16 };
enum { CONTROL_AT = SLOTS * (MMSGHDR + NAME), NEAR_AT = CONTROL_AT + SLOTS * CONTROL };
enum { RTP_HEADER = 12, RUN = 1, RUN_HEAD = 38, DELTA_NS = 100000, RECORD = RUN_HEAD + 2 * (SLOTS - 1) + SLOTS * NEAR };
#define SECOND 1000000000LL
#define LEAP 60000000LL

enum outcome { UNTOUCHED, OPENED, STORED };

struct batch {
    /* memory, the same for every batch of a workbench */
    int (*unprotect)(void *session, void *packet, int *length); /* srtp_unprotect of libsrtp */
    uint8_t *bench, *record;    /* SLOTS x NEAR bytes for decrypted packets, RECORD bytes for a RUN */
    int *lengths, *statuses;    /* SLOTS each, of decrypted packets */
    /* input */
    void *session;              /* of libsrtp; NULL: plain RTP */
    const uint8_t *lane;        /* as media/receive/batch.py describes it */
    int64_t arrived, quiet;     /* ns: newest arrival of the stream; silence after which the slow path must decide */
    uint64_t sequence;          /* the expected extended number */
    int64_t source_arrived;     /* ns: of the packet before that */
    double unit, jitter;        /* ns of a timestamp unit; ns */
    uint32_t first, count;      /* slots */
    uint32_t tag;               /* bytes after a payload */
    uint32_t stream, payload_type, ssrc, timestamp; /* of the packet before */
    /* output */
    int64_t last_arrival;
    double jitter_now;
    uint32_t size, written;     /* common length as received, 0 = they differ; bytes of the record */
    uint32_t step, last_timestamp;
};

#ifndef SOURCE
#define SOURCE 0
#endif
const uint32_t fast_path_source = SOURCE; /* checksum of this file */
const uint32_t fast_path_numbers[] = {SLOTS, NEAR, MMSGHDR, CONTROL, LENGTH_AT, CONTROL_AT, NEAR_AT, RTP_HEADER, RUN, RUN_HEAD,
                                  DELTA_NS, RECORD, sizeof(struct batch)};

static uint32_t word(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    value = htobe64(value << 8 * (8 - bytes));
    memcpy(at, &value, bytes);
    return at + bytes;
}

/* Slots are counted from the first one of the batch. */
static uint32_t length_of(const struct batch *b, uint32_t slot)
{
    uint32_t length;
    memcpy(&length, b->lane + (b->first + slot) * MMSGHDR + LENGTH_AT, sizeof length);
    return length;
}

static int64_t arrival_of(const struct batch *b, uint32_t slot)
{
    int64_t time[2]; /* struct timespec */
    memcpy(time, b->lane + CONTROL_AT + (b->first + slot) * CONTROL + TIME_AT, sizeof time);
    return (uint64_t)time[0] * SECOND + (uint64_t)time[1];
}

/* A dead worker may have left any time. Overflow is only defined for unsigned numbers, which wrap. */
static int64_t between(int64_t before, int64_t now)
{
    return (uint64_t)now - (uint64_t)before;
}

static const uint8_t *received(const struct batch *b, uint32_t slot)
{
    return b->lane + NEAR_AT + (b->first + slot) * NEAR;
}

static const uint8_t *plain(const struct batch *b, uint32_t slot)
{
    return b->session ? b->bench + slot * NEAR : received(b, slot);
}

/* Set the common length of all packets; return whether each lies in one piece and can be a packet. */
static int measure(struct batch *b)
{
    int same = 1;
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t length = length_of(b, i);
        if (length < RTP_HEADER + b->tag || length > NEAR)
            return 0;
        same &= length == length_of(b, 0);
    }
    b->size = same ? length_of(b, 0) : 0;
    return 1;
}

/* Decrypt a copy of each packet; a successor needs what was received. Return whether all are genuine. */
static int open_all(struct batch *b)
{
    int refused = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        uint8_t *packet = b->bench + i * NEAR;
        b->lengths[i] = length_of(b, i);
        memcpy(packet, received(b, i), b->lengths[i]);
        b->statuses[i] = b->unprotect(b->session, packet, &b->lengths[i]);
        refused |= b->statuses[i];
    }
    return !refused;
}

/*
 * Return whether one RUN describes it all: the expected numbers, one size, type, source and step, plain headers without
 * marker, arrivals that rise by less than a second each. If a number or timestamp wraps within the batch, Python makes
 * a MIXED of it.
 */
static int in_order(struct batch *b)
{
    int64_t begun = arrival_of(b, 0), before = begun;
    uint32_t head = word(plain(b, 0)), stamp = word(plain(b, 0) + 4), last = b->count - 1;
    b->last_arrival = arrival_of(b, last);
    b->step = word(plain(b, 1) + 4) - stamp;
    if (!b->size || between(b->arrived, begun) > b->quiet || b->last_arrival / SECOND - begun / SECOND > 1)
        return 0;
    if (head != (0x80000000 | b->payload_type << 16 | (b->sequence & 0xffff)))
        return 0;
    if ((b->sequence & 0xffff) + last > 0xffff || stamp + (uint64_t)last * b->step > 0xffffffff)
        return 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *packet = plain(b, i);
        int64_t now = arrival_of(b, i);
        if (word(packet) != head + i || word(packet + 4) != stamp + i * b->step || word(packet + 8) != b->ssrc ||
            between(before, now) < 0 || between(before, now) >= SECOND)
            return 0;
        before = now;
    }
    /* of two packets one may have jumped, which a third in sequence must confirm (media/stream/source_probation.py) */
    if (last == 1 && !b->session && b->step * b->unit > between(begun, b->last_arrival) + LEAP)
        return 0;
    b->last_timestamp = stamp + last * b->step;
    return 1;
}

/* RFC 3550 appendix A.8 */
static double moved(double jitter, double difference)
{
    return jitter + ((difference < 0 ? -difference : difference) - jitter) / 16;
}

static void note_jitter(struct batch *b)
{
    int64_t before = arrival_of(b, 0), pace = b->step * b->unit;
    int32_t step = word(plain(b, 0) + 4) - b->timestamp;
    b->jitter_now = moved(b->jitter, between(b->source_arrived, before) - step * b->unit);
    for (uint32_t i = 1; i < b->count; i++) {
        int64_t now = arrival_of(b, i);
        b->jitter_now = moved(b->jitter_now, now - before - pace);
        before = now;
    }
}

/* docs/formats/records.md */
static void write_run(struct batch *b)
{
    uint32_t payload = b->size - b->tag - RTP_HEADER, body = RUN_HEAD - 4 + 2 * (b->count - 1) + b->count * payload;
    int64_t before = arrival_of(b, 0);
    uint8_t *at = put(b->record, RUN << 24 | body, 4);
    at = put(put(put(put(at, b->stream, 1), b->payload_type, 1), b->count, 2), payload, 2);
    at = put(put(put(at, b->ssrc, 4), b->step, 4), b->sequence, 8);
    at = put(put(at, word(plain(b, 0) + 4), 4), before, 8);
    for (uint32_t i = 1; i < b->count; i++) {
        int64_t now = arrival_of(b, i);
        at = put(at, (now - before) / DELTA_NS, 2);
        before = now;
    }
    for (uint32_t i = 0; i < b->count; i++, at += payload)
        memcpy(at, plain(b, i) + RTP_HEADER, payload);
    b->written = at - b->record;
}

int fast_path_take(struct batch *b)
{
    if (b->count < 2 || b->first > SLOTS || b->count > SLOTS - b->first || !measure(b))
        return UNTOUCHED;
    if ((b->session && !open_all(b)) || !in_order(b))
        return OPENED;
    note_jitter(b);
    write_run(b);
    return STORED;
}
