/*
 * The media worker's work as a plain loop in C: the lower bound of CPU time for a worker of this design.
 *
 * bench/limit.py links this with the worker's own libsrtp and OpenSSL and gives it calls with their sockets. Once a
 * second, for each call: recvmmsg of each stream, srtp_unprotect of every packet in place, one RUN per batch
 * (docs/formats/records.md), whole segments sealed with AES-256-GCM and written at once (docs/formats/container.md).
 * The worker's commit slots are not included. Numbers like SLOTS are the recorder's, passed on gcc's command line.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* from srtp.h and openssl/evp.h, which need not be installed */
int srtp_unprotect(void *session, void *packet, int *length);
void *EVP_CIPHER_CTX_new(void);
const void *EVP_aes_256_gcm(void);
int EVP_EncryptInit_ex(void *context, const void *cipher, void *engine, const uint8_t *key, const uint8_t *nonce);
int EVP_EncryptUpdate(void *context, uint8_t *out, int *written, const uint8_t *in, int length);
int EVP_EncryptFinal_ex(void *context, uint8_t *out, int *written);
int EVP_CIPHER_CTX_ctrl(void *context, int what, int length, void *data);

enum { RTP_HEADER = 12, KEY = 32, PREFIX = 7, NONCE = 12, STREAMS = 2, MAX_CALLS = 4096 };
enum { RECORD = RUN_HEAD + 2 * (SLOTS - 1) + SLOTS * NEAR, PLAIN = SEGMENT + STREAMS * RECORD };
enum { TIME_AT = 16, EVP_CTRL_AEAD_GET_TAG = 0x10 };  /* of the struct timespec in a control message; from openssl/evp.h */

struct counters {            /* in memory that the bench reads */
    uint64_t packets, failed;  /* genuine packets in a RUN; failed segments and writes */
    uint32_t ticks, resting, stop;  /* completed ticks; asleep until the next one; whether to stop then */
};

struct lane {                /* one batch, as the worker's */
    struct mmsghdr messages[SLOTS];
    struct iovec pieces[SLOTS][2];
    uint8_t control[SLOTS][CONTROL] __attribute__((aligned(8)));
    uint8_t near[SLOTS][NEAR], far[SLOTS][FAR];
};

struct stream {
    int rtp, rtcp, number, connected;
    void *session;           /* of libsrtp */
    int64_t next;            /* extended sequence number that follows, -1 = unknown */
};

struct call {
    int part;                /* descriptor of the file */
    uint32_t index;          /* number of the segment being filled */
    size_t pending;          /* plaintext bytes in it */
    uint8_t plain[SEGMENT], key[KEY], nonce[NONCE];
    struct stream streams[STREAMS];
};

static volatile struct counters *counters;
static struct lane lanes[STREAMS];
static struct call calls[MAX_CALLS];
static int call_count;
static void *context;
static uint8_t plain[PLAIN], sealed[2 * PLAIN];

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

static int receive(struct lane *lane, int descriptor)
{
    int count = recvmmsg(descriptor, lane->messages, SLOTS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++)
        lane->messages[i].msg_hdr.msg_controllen = CONTROL;
    return count < 0 ? 0 : count;
}

/* Connect to the first sender, so that the kernel drops packets from all others, as the worker does. */
static void latch(struct stream *stream)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    if (recvfrom(stream->rtp, NULL, 0, MSG_PEEK | MSG_DONTWAIT, (struct sockaddr *)&name, &size) >= 0)
        stream->connected = !connect(stream->rtp, (struct sockaddr *)&name, size);
}

static int64_t arrival(const struct lane *lane, int slot)
{
    const struct timespec *at = (const void *)(lane->control[slot] + TIME_AT);
    return at->tv_sec * 1000000000LL + at->tv_nsec;
}

/* Decrypt every packet in place and set its new length; return how many are genuine. */
static int open_all(struct stream *stream, struct lane *lane, int count)
{
    int genuine = 0;
    for (int i = 0; i < count; i++) {
        unsigned *length = &lane->messages[i].msg_len;
        genuine += *length <= NEAR && !srtp_unprotect(stream->session, lane->near[i], (int *)length);
    }
    return genuine;
}

/* Return whether one RUN can hold the batch: plain headers, one size, type, SSRC and step, no number missing. */
static int in_order(const struct stream *stream, const struct lane *lane, int count, uint32_t step)
{
    uint32_t first = word(lane->near[0]), stamp = word(lane->near[0] + 4), source = word(lane->near[0] + 8);
    unsigned length = lane->messages[0].msg_len;
    if (first >> 24 != 0x80 || length < RTP_HEADER || (uint16_t)first != (uint16_t)stream->next)
        return 0;
    for (int i = 1; i < count; i++) {
        const uint8_t *packet = lane->near[i];
        if (word(packet) != ((first & 0xff7f0000) | (uint16_t)(first + i)) || word(packet + 4) != stamp + i * step ||
            word(packet + 8) != source || lane->messages[i].msg_len != length)
            return 0;
    }
    return 1;
}

static uint8_t *write_run(const struct stream *stream, const struct lane *lane, int count, uint32_t step, uint8_t *at)
{
    int size = lane->messages[0].msg_len - RTP_HEADER;
    int64_t before = arrival(lane, 0);
    at = put(at, RUN << 24 | (RUN_HEAD - 4 + 2 * (count - 1) + count * size), 4);
    at = put(put(put(put(at, stream->number, 1), lane->near[0][1], 1), count, 2), size, 2);
    at = put(put(at, word(lane->near[0] + 8), 4), step, 4);
    at = put(put(put(at, stream->next, 8), word(lane->near[0] + 4), 4), before, 8);
    for (int i = 1; i < count; i++) {
        int64_t now = arrival(lane, i), delta = now < before ? 0 : (now - before) / DELTA_NS;
        at = put(at, delta > 0xffff ? 0xffff : delta, 2);
        before = now;
    }
    for (int i = 0; i < count; i++, at += size)
        memcpy(at, lane->near[i] + RTP_HEADER, size);
    return at;
}

/* Write a batch as a record to `at` and return its end; a batch that does not fit into one RUN is dropped and lost. */
static uint8_t *keep(struct stream *stream, struct lane *lane, int count, uint8_t *at)
{
    int genuine = open_all(stream, lane, count);
    uint32_t step = count > 1 ? word(lane->near[1] + 4) - word(lane->near[0] + 4) : 0;
    if (stream->next < 0)
        stream->next = (uint16_t)word(lane->near[0]);
    if (genuine < count || !in_order(stream, lane, count, step)) {
        stream->next = -1;
        return at;
    }
    at = write_run(stream, lane, count, step, at);
    stream->next += count;
    counters->packets += count;
    return at;
}

static void seal(struct call *call, const uint8_t *key, const uint8_t *in, int length, uint8_t *out)
{
    int written, rest;
    put(call->nonce + PREFIX, call->index++, 4);  /* the last byte stays 0: more segments follow */
    if (!EVP_EncryptInit_ex(context, NULL, NULL, key, call->nonce) ||
        !EVP_EncryptUpdate(context, out, &written, in, length) || !EVP_EncryptFinal_ex(context, out + written, &rest) ||
        !EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, out + length))
        counters->failed++;
}

/* Seal and write all full segments that more plaintext follows; keep the rest. */
static void commit(struct call *call, size_t length)
{
    size_t from = 0, to = 0, room = SEGMENT - TAG - (call->index ? 0 : HEADER);
    for (; length - from > room; from += room, to += room + TAG, room = SEGMENT - TAG)
        seal(call, from ? NULL : call->key, plain + from, room, sealed + to);
    if (to && write(call->part, sealed, to) != (ssize_t)to)
        counters->failed++;
    call->pending = length - from;
    memcpy(call->plain, plain + from, call->pending);
}

/* Read one batch of each stream; return whether a socket may hold more. */
static int drain(struct call *call)
{
    uint8_t *end = plain + call->pending;
    int more = 0;
    memcpy(plain, call->plain, call->pending);
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &call->streams[i];
        if (!stream->connected)
            latch(stream);
        int count = receive(&lanes[i], stream->rtp);
        more |= count == SLOTS;
        end = count ? keep(stream, &lanes[i], count, end) : end;
    }
    commit(call, end - plain);
    return more;
}

/* Drain every call, and every few ticks look for RTCP reports, which nothing sends here. */
void limit_tick(unsigned beat)
{
    for (int i = 0; i < call_count; i++) {
        for (int k = 0; k < STREAMS && (beat + i) % REPORTS == 0; k++)
            receive(&lanes[k], calls[i].streams[k].rtcp);
        for (int rounds = MAX_ROUNDS; rounds && drain(&calls[i]); rounds--) {}
    }
}

void limit_begin(struct counters *shared)
{
    counters = shared;
    context = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, NULL, NULL);
    for (struct lane *lane = lanes; lane < lanes + STREAMS; lane++)
        for (int i = 0; i < SLOTS; i++) {
            lane->pieces[i][0] = (struct iovec){lane->near[i], NEAR};
            lane->pieces[i][1] = (struct iovec){lane->far[i], FAR};
            lane->messages[i].msg_hdr = (struct msghdr){.msg_iov = lane->pieces[i], .msg_iovlen = 2,
                                                        .msg_control = lane->control[i], .msg_controllen = CONTROL};
        }
}

/* Add a call: its file with its secret, and the sockets and libsrtp session of each stream. */
void limit_call(int part, const uint8_t *key, const uint8_t *prefix, const int (*sockets)[2], void **sessions)
{
    struct call *call = &calls[call_count++];
    call->part = part;
    memcpy(call->key, key, KEY);
    memcpy(call->nonce, prefix, PREFIX);
    for (int i = 0; i < STREAMS; i++)
        call->streams[i] = (struct stream){sockets[i][0], sockets[i][1], i, .session = sessions[i], .next = -1};
}

/* Tick every second until the bench sets `stop`. */
void limit_run(void)
{
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (unsigned beat = 1; !counters->stop; beat++) {
        due.tv_sec++;
        counters->resting = 1;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        counters->resting = 0;
        limit_tick(beat);
        counters->ticks++;
    }
}
