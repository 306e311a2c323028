/* The tables of one socket, and where a datagram goes. The twin of reference.py. */
#include "plane.h"

#include <stdlib.h>
#include <string.h>

#define STUN_COOKIE 0x2112A442u
enum { BINDING_REQUEST = 1, USERNAME = 6 };

bool plane_init(plane_t *self, srtp_t srtp) {
    memset(self, 0, sizeof *self);
    self->srtp = srtp;
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->turn, NULL);
    self->claim_capacity = 64;
    self->claims = calloc((size_t)self->claim_capacity, sizeof *self->claims);
    self->ufrag_capacity = 64;
    self->ufrags = calloc((size_t)self->ufrag_capacity, sizeof *self->ufrags);
    self->signals = calloc(SIGNALS, sizeof *self->signals);
    return self->claims && self->ufrags && self->signals;
}

void plane_free(plane_t *self) {
    free(self->claims);
    free(self->ufrags);
    free(self->paths);
    free(self->signals);
    free(self->taps);
    pthread_mutex_destroy(&self->lock);
    pthread_mutex_destroy(&self->turn);
}

/* A plain mutex may be taken again and again by the thread that just gave it back. Whoever waits
 * here for the lock holds the turn, so that the next in line is always let in first. */
void plane_lock(plane_t *self, outbox_t *outbox) {
    pthread_mutex_lock(&self->turn);
    pthread_mutex_lock(&self->lock);
    pthread_mutex_unlock(&self->turn);
    self->outbox = outbox;
}

bool plane_try_lock(plane_t *self, outbox_t *outbox) {
    if (pthread_mutex_trylock(&self->lock)) return false;
    self->outbox = outbox;
    return true;
}

void plane_unlock(plane_t *self) {
    self->outbox = NULL;
    pthread_mutex_unlock(&self->lock);
}

/* --- what leaves --- */

static void flush(plane_t *self) {
    self->flush(self, self->outbox);
    self->outbox->count = self->outbox->arena_used = 0;
}

void plane_post(plane_t *self, uint8_t *data, int length, const address_t *to) {
    outbox_t *outbox = self->outbox;
    if (to->stream) {
        plane_signal(self, data, length, to, true);
        return;
    }
    outbox->parcels[outbox->count++] = (parcel_t){*to, data, length};
    if (outbox->count == OUTBOX_PACKETS) flush(self);
}

uint8_t *plane_scratch(plane_t *self) {
    if (self->outbox->arena_used == ARENA_PACKETS) flush(self);
    return self->outbox->arena[self->outbox->arena_used++];
}

void plane_signal(plane_t *self, const uint8_t *data, int length, const address_t *address,
                  bool outgoing) {
    if (self->signal_count == SIGNALS || length > (int)sizeof self->signals->bytes) {
        self->counters.signals_dropped++;
        return;
    }
    signal_t *slot = &self->signals[(self->signal_first + self->signal_count++) % SIGNALS];
    slot->address = *address;
    slot->outgoing = outgoing;
    slot->length = length;
    memcpy(slot->bytes, data, (size_t)length);
}

void plane_tap(plane_t *self, const path_t *path, kind_t kind, const uint8_t *data, int length,
               int64_t at_ns) {
    if (!self->taps || self->tap_count == TAPS || length > (int)sizeof self->taps->bytes) {
        self->counters.taps_dropped++;
        return;
    }
    tapped_t *slot = &self->taps[(self->tap_first + self->tap_count++) % TAPS];
    slot->path = path->id;
    slot->at_ns = at_ns;
    slot->kind = kind;
    slot->length = length;
    memcpy(slot->bytes, data, (size_t)length);
}

bool plane_has_news(const plane_t *self) {
    return self->news || self->signal_count || self->tap_count;
}

/* --- addresses --- */

static uint64_t mix(uint64_t hash, const void *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

/* Only authenticated peers get into the tables, so the hash need not withstand an attack. */
static uint64_t hash_of(const void *key, size_t words) {
    uint64_t hash = 0;
    for (size_t i = 0; i < words; i++) hash = mix(hash, (const uint8_t *)key + 8 * i);
    return hash;
}

/* Where `address` is, or where it would go. */
static claim_t *find_claim(const plane_t *self, const address_t *address) {
    size_t mask = (size_t)self->claim_capacity - 1, at = hash_of(address, sizeof *address / 8) & mask;
    while (self->claims[at].path && memcmp(&self->claims[at].address, address, sizeof *address))
        at = (at + 1) & mask;
    return &self->claims[at];
}

static bool grow_claims(plane_t *self) {
    claim_t *former = self->claims;
    int capacity = self->claim_capacity;
    claim_t *claims = calloc((size_t)capacity * 2, sizeof *claims);
    if (!claims) return false;
    self->claims = claims;
    self->claim_capacity = capacity * 2;
    for (int i = 0; i < capacity; i++)
        if (former[i].path) *find_claim(self, &former[i].address) = former[i];
    free(former);
    return true;
}

bool plane_claim(plane_t *self, const address_t *address, path_t *path) {
    claim_t *claim = find_claim(self, address);
    if (!claim->path) {
        if (2 * (self->claim_count + 1) > self->claim_capacity) {
            if (!grow_claims(self)) return false;
            claim = find_claim(self, address);
        }
        self->claim_count++;
    }
    *claim = (claim_t){*address, path};
    return true;
}

void plane_release(plane_t *self, const address_t *address) {
    claim_t *claim = find_claim(self, address);
    if (!claim->path) return;
    claim->path = NULL;
    self->claim_count--;
    /* Whatever was pushed past the freed place moves up again. */
    size_t mask = (size_t)self->claim_capacity - 1;
    for (size_t at = ((size_t)(claim - self->claims) + 1) & mask; self->claims[at].path;
         at = (at + 1) & mask) {
        claim_t moved = self->claims[at];
        self->claims[at].path = NULL;
        *find_claim(self, &moved.address) = moved;
    }
}

/* --- strangers: STUN requests that name a known ufrag --- */

static ufrag_t ufrag_of(const char *text, size_t length) {
    ufrag_t ufrag = {0};
    memcpy(ufrag.text, text, length);
    return ufrag;
}

/* Where `ufrag` is, or where it would go; an empty text is a free place. */
static ufrag_t *find_ufrag(const plane_t *self, const ufrag_t *ufrag) {
    size_t mask = (size_t)self->ufrag_capacity - 1;
    size_t at = hash_of(ufrag, sizeof *ufrag / 8) & mask;
    while (self->ufrags[at].text[0] && memcmp(&self->ufrags[at], ufrag, sizeof *ufrag))
        at = (at + 1) & mask;
    return &self->ufrags[at];
}

static bool grow_ufrags(plane_t *self) {
    ufrag_t *former = self->ufrags;
    int capacity = self->ufrag_capacity;
    ufrag_t *ufrags = calloc((size_t)capacity * 2, sizeof *ufrags);
    if (!ufrags) return false;
    self->ufrags = ufrags;
    self->ufrag_capacity = capacity * 2;
    for (int i = 0; i < capacity; i++)
        if (former[i].text[0]) *find_ufrag(self, &former[i]) = former[i];
    free(former);
    return true;
}

bool plane_add_ufrag(plane_t *self, const char *text) {
    size_t length = strlen(text);
    if (length == 0 || length >= UFRAG_BYTES) return false;
    ufrag_t ufrag = ufrag_of(text, length);
    if (find_ufrag(self, &ufrag)->text[0]) return true;
    if (2 * (self->ufrag_count + 1) > self->ufrag_capacity && !grow_ufrags(self)) return false;
    self->ufrag_count++;
    *find_ufrag(self, &ufrag) = ufrag;
    return true;
}

void plane_remove_ufrag(plane_t *self, const char *text) {
    size_t length = strlen(text);
    if (length >= UFRAG_BYTES) return;
    ufrag_t ufrag = ufrag_of(text, length);
    ufrag_t *found = find_ufrag(self, &ufrag);
    if (!found->text[0]) return;
    memset(found, 0, sizeof *found);
    self->ufrag_count--;
    size_t mask = (size_t)self->ufrag_capacity - 1;
    for (size_t at = ((size_t)(found - self->ufrags) + 1) & mask; self->ufrags[at].text[0];
         at = (at + 1) & mask) {
        ufrag_t moved = self->ufrags[at];
        memset(&self->ufrags[at], 0, sizeof moved);
        *find_ufrag(self, &moved) = moved;
    }
}

static bool is_known_user(const plane_t *self, const uint8_t *name, int length) {
    if (length > MAX_STUN_USERNAME_BYTES) return false;
    for (int i = 0; i < length; i++)
        if (name[i] > 127) return false;
    const uint8_t *colon = memchr(name, ':', (size_t)length);
    if (!colon || colon == name || colon - name >= UFRAG_BYTES) return false;
    ufrag_t ufrag = ufrag_of((const char *)name, (size_t)(colon - name));
    return find_ufrag(self, &ufrag)->text[0] != 0;
}

/* The twin of ice.local_ufrag: a bounded walk, nothing authenticated, nothing kept. */
static bool is_request_for_us(const plane_t *self, const uint8_t *data, int length) {
    if (length < MIN_STUN_REQUEST_BYTES || length > MAX_STUN_BYTES) return false;
    if (read16(data) != BINDING_REQUEST || read32(data + 4) != STUN_COOKIE) return false;
    if (read16(data + 2) + 20 != length || length & 3) return false;
    int at = 20;
    for (int i = 0; i < MAX_STUN_ATTRIBUTES && at + 4 <= length; i++) {
        int attribute = read16(data + at), size = read16(data + at + 2);
        at += 4;
        if (at + size > length) return false;
        if (attribute == USERNAME) return is_known_user(self, data + at, size);
        at += (size + 3) & ~3;
    }
    return false;
}

/* --- demultiplexing --- */

static void dispatch(plane_t *self, path_t *path, uint8_t *data, int length, const address_t *from,
                     int64_t now_ns) {
    int first = length ? data[0] : 0xFF;
    if (first < 4 && (path || length >= MIN_STUN_REQUEST_BYTES)) {
        if (is_request_for_us(self, data, length))
            plane_signal(self, data, length, from, false);
        else
            self->counters.stun_refused++;
    } else if (!path) {
        self->counters.datagrams_unknown_source++;
    } else if (first >= 128 && first < 192) {
        if (length < RTP_HEADER_BYTES)
            self->counters.rtp_malformed++;
        else if (data[1] >= 192 && data[1] < 224)
            path_on_rtcp(path, data, length, now_ns);
        else
            path_on_rtp(path, data, length, now_ns);
    } else if (first >= 20 && first < 64) {
        plane_signal(self, data, length, from, false);
    }
}

void plane_feed(plane_t *self, uint8_t *data, int length, const address_t *from, int64_t now_ns) {
    self->counters.datagrams_in++;
    if (length > MAX_DATAGRAM_BYTES) {
        self->counters.datagrams_oversize++;
        return;
    }
    dispatch(self, find_claim(self, from)->path, data, length, from, now_ns);
}

/* --- paths --- */

bool plane_add_path(plane_t *self, path_t *path) {
    if (self->path_count == self->path_capacity) {
        int capacity = self->path_capacity ? 2 * self->path_capacity : 64;
        path_t **grown = realloc(self->paths, sizeof *grown * (size_t)capacity);
        if (!grown) return false;
        self->paths = grown;
        self->path_capacity = capacity;
    }
    self->paths[self->path_count++] = path;
    return true;
}

static void forget_news(plane_t *self, const path_t *path) {
    for (path_t **at = &self->news; *at; at = &(*at)->news.next)
        if (*at == path) {
            *at = path->news.next;
            return;
        }
}

void plane_remove_path(plane_t *self, path_t *path) {
    int at = 0;
    while (at < self->path_count && self->paths[at] != path) at++;
    if (at == self->path_count) return;
    self->path_count--;
    memmove(self->paths + at, self->paths + at + 1,
            sizeof *self->paths * (size_t)(self->path_count - at));
    if (path->news.queued) forget_news(self, path);
    for (int i = 0; i < self->claim_capacity; i++)
        while (self->claims[i].path == path) {
            address_t address = self->claims[i].address;
            plane_release(self, &address);
        }
}

void plane_tick(plane_t *self, int64_t now_ns) {
    for (int i = 0; i < self->path_count; i++) path_tick(self->paths[i], now_ns);
}
