/* What media/stream/fast_path_c.py sees of fast_path.c. setup.py gives these declarations to cffi too. */

enum outcome {
    UNTOUCHED, /* Python decides what it is */
    OPENED,    /* decrypted into the batch buffer, with libsrtp's status of each packet */
    STORED     /* written as one record */
};

/* Memory for one batch, and what the last call found out about it. */
struct fast_path {
    int (*unprotect)(void *session, void *packet, int *length); /* srtp_unprotect of libsrtp */
    unsigned char *buffer, *record;       /* SLOTS x NEAR bytes for decrypted packets, RECORD bytes for a RUN */
    int *lengths, *statuses;              /* SLOTS each, of decrypted packets */
    uint32_t size;                        /* common length as received; 0: they differ */
    uint32_t written;                     /* bytes of the record */
    uint32_t step, timestamp;             /* between packets; of the last packet */
    int64_t arrival;                      /* ns, of the last packet */
    double jitter;                        /* ns, after the last packet */
};

/* Open a batch of `count` packets in the slots of a lane from `first` on, and store it if that is allowed and it is in
 * order. The session is libsrtp's, NULL for plain RTP; `tag`: bytes after a payload. What the stream has received
 * before: the newest arrival (ns) and the silence after which Python must decide; the number that is expected, SSRC,
 * timestamp and arrival of its last packet; ns of a timestamp unit and of the jitter. */
enum outcome fast_path_take(struct fast_path *memory, void *session, const void *lane, uint32_t first, uint32_t count,
                            uint32_t tag, int may_store, uint32_t stream, uint32_t payload_type, int64_t newest,
                            int64_t quiet, uint64_t sequence, uint32_t ssrc, uint32_t timestamp, int64_t arrival,
                            double unit, double jitter);

/* Checksum (CRC-32) of fast_path.c and fast_path.h, and the numbers that Python has too. */
extern const uint32_t fast_path_source;
extern const uint32_t fast_path_numbers[12];
