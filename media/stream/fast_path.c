/*
 * The fast path in C: what media/stream/fast_path.py does with a batch that becomes a RUN, in one call.
 *
 * setup.py makes a module of it, which media/stream/fast_path_c.py calls. It is optional: Python gives the same bytes
 * and figures for the same batch, and takes a third more of a worker's time. A batch that is no RUN is opened here and
 * left to Python, which finds libsrtp's status of each packet. No state of a stream is kept here, and only the memory
 * of `struct fast_path` and libsrtp's session are changed.
 */
#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "fast_path.h"

/* from media/receive/batch.py and media/records/record_format.py; media/stream/fast_path_library.py compares them */
enum { SLOTS = 64, NEAR = 384, MMSGHDR = 64, NAME = 32, CONTROL = 32, LENGTH_AT = 56, TIME_AT = 16 };
enum { CONTROL_AT = SLOTS * (MMSGHDR + NAME), NEAR_AT = CONTROL_AT + SLOTS * CONTROL };
enum { RTP_HEADER = 12, RUN = 1, RUN_HEAD = 38, DELTA_NS = 100000, RECORD = RUN_HEAD + 2 * (SLOTS - 1) + SLOTS * NEAR };
#define SECOND 1000000000LL
#define LEAP 60000000LL

_Static_assert(sizeof(struct mmsghdr) == MMSGHDR && offsetof(struct mmsghdr, msg_len) == LENGTH_AT, "recvmmsg(2)");
_Static_assert(sizeof(struct timespec) == 16 && CMSG_LEN(0) == TIME_AT, "SCM_TIMESTAMPNS of socket(7)");

/* One call: its arguments, and the memory. */
struct batch {
    struct fast_path *out;
    void *session;
    const uint8_t *lane;
    uint32_t first, count, tag, stream, payload_type, ssrc, timestamp;
    int64_t newest, quiet, arrival;
    uint64_t sequence;
    double unit, jitter;
};

const uint32_t fast_path_source = SOURCE;
const uint32_t fast_path_numbers[] = {SLOTS,   NEAR,       MMSGHDR, CONTROL,  LENGTH_AT, CONTROL_AT,
                                      NEAR_AT, RTP_HEADER, RUN,     RUN_HEAD, DELTA_NS,  RECORD};

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
    return b->session ? b->out->buffer + slot * NEAR : received(b, slot);
}

/* Read the length of each packet, once. Return whether each lies in one piece and can be a packet. */
static int measure(struct batch *b)
{
    int same = 1, *lengths = b->out->lengths;
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t length;
        memcpy(&length, b->lane + (b->first + i) * MMSGHDR + LENGTH_AT, sizeof length);
        if (length < RTP_HEADER + b->tag || length > NEAR)
            return 0;
        lengths[i] = length;
        same &= lengths[i] == lengths[0];
    }
    b->out->size = same ? lengths[0] : 0;
    return 1;
}

/* Decrypt a copy of each packet; a successor needs what was received. Return whether all are genuine. */
static int open_all(struct batch *b)
{
    struct fast_path *out = b->out;
    int refused = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        uint8_t *packet = out->buffer + i * NEAR;
        memcpy(packet, received(b, i), out->lengths[i]);
        out->statuses[i] = out->unprotect(b->session, packet, &out->lengths[i]);
        refused |= out->statuses[i];
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
    struct fast_path *out = b->out;
    int64_t begun = arrival_of(b, 0), before = begun;
    uint32_t head = word(plain(b, 0)), stamp = word(plain(b, 0) + 4), last = b->count - 1;
    out->arrival = arrival_of(b, last);
    out->step = word(plain(b, 1) + 4) - stamp;
    if (!out->size || between(b->newest, begun) > b->quiet || out->arrival / SECOND - begun / SECOND > 1)
        return 0;
    if (head != (0x80000000 | b->payload_type << 16 | (b->sequence & 0xffff)))
        return 0;
    if ((b->sequence & 0xffff) + last > 0xffff || stamp + (uint64_t)last * out->step > 0xffffffff)
        return 0;
    for (uint32_t i = 0; i < b->count; i++) {
        const uint8_t *packet = plain(b, i);
        int64_t now = arrival_of(b, i);
        if (word(packet) != head + i || word(packet + 4) != stamp + i * out->step || word(packet + 8) != b->ssrc ||
            between(before, now) < 0 || between(before, now) >= SECOND)
            return 0;
        before = now;
    }
    /* of two packets one may have jumped, which a third in sequence must confirm (media/stream/source_probation.py) */
    if (last == 1 && !b->session && out->step * b->unit > between(begun, out->arrival) + LEAP)
        return 0;
    out->timestamp = stamp + last * out->step;
    return 1;
}

/* RFC 3550 appendix A.8 */
static double moved(double jitter, double difference)
{
    return jitter + ((difference < 0 ? -difference : difference) - jitter) / 16;
}

static void note_jitter(struct batch *b)
{
    int64_t before = arrival_of(b, 0), pace = b->out->step * b->unit;
    int32_t step = word(plain(b, 0) + 4) - b->timestamp;
    double jitter = moved(b->jitter, between(b->arrival, before) - step * b->unit);
    for (uint32_t i = 1; i < b->count; i++) {
        int64_t now = arrival_of(b, i);
        jitter = moved(jitter, now - before - pace);
        before = now;
    }
    b->out->jitter = jitter;
}

/* docs/formats/records.md */
static void write_run(struct batch *b)
{
    struct fast_path *out = b->out;
    uint32_t payload = out->size - b->tag - RTP_HEADER, body = RUN_HEAD - 4 + 2 * (b->count - 1) + b->count * payload;
    int64_t before = arrival_of(b, 0);
    uint8_t *at = put(out->record, RUN << 24 | body, 4);
    at = put(put(put(put(at, b->stream, 1), b->payload_type, 1), b->count, 2), payload, 2);
    at = put(put(put(at, b->ssrc, 4), out->step, 4), b->sequence, 8);
    at = put(put(at, word(plain(b, 0) + 4), 4), before, 8);
    for (uint32_t i = 1; i < b->count; i++) {
        int64_t now = arrival_of(b, i);
        at = put(at, (now - before) / DELTA_NS, 2);
        before = now;
    }
    for (uint32_t i = 0; i < b->count; i++, at += payload)
        memcpy(at, plain(b, i) + RTP_HEADER, payload);
    out->written = at - out->record;
}

enum outcome fast_path_take(struct fast_path *memory, void *session, const void *lane, uint32_t first, uint32_t count,
                            uint32_t tag, int may_store, uint32_t stream, uint32_t payload_type, int64_t newest,
                            int64_t quiet, uint64_t sequence, uint32_t ssrc, uint32_t timestamp, int64_t arrival,
                            double unit, double jitter)
{
    struct batch b = {
        .out = memory, .session = session, .lane = lane, .first = first, .count = count, .tag = tag, .stream = stream,
        .payload_type = payload_type, .newest = newest, .quiet = quiet, .sequence = sequence, .ssrc = ssrc,
        .timestamp = timestamp, .arrival = arrival, .unit = unit, .jitter = jitter,
    };
    if (count < 2 || first > SLOTS || count > SLOTS - first || !measure(&b))
        return UNTOUCHED;
    if ((session && !open_all(&b)) || !may_store || !in_order(&b))
        return OPENED;
    note_jitter(&b);
    write_run(&b);
    return STORED;
}
