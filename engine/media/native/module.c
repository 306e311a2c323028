/* The plane for Python: `Plane` and `Path`, used by engine/media/native/__init__.py only, which
 * keeps the contract of engine/media/plane.py on top of them.
 *
 * Addresses are the tuples of the socket module, and ("tcp:HOST", number) for a connection. Every
 * method runs on the event loop's thread; those that touch the plane take its lock, and give the
 * interpreter's lock away when they have to wait for it. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "thread.h"

typedef struct {
    PyObject_HEAD
    plane_t plane;
    bool ready;
    packet_thread_t *thread;
    outbox_t *outbox; /* of what Python posts */
    PyObject *sent;   /* by hand: a list of (address, datagram) in place of a socket */
} PlaneObject;

typedef struct {
    PyObject_HEAD
    PlaneObject *plane;
    path_t *path;
    PyObject *keys; /* keeps the libsrtp contexts alive */
} PathObject;

static PyTypeObject *path_type;

/* --- the lock --- */

static plane_t *enter(PlaneObject *self) {
    plane_t *plane = &self->plane;
    if (!plane_try_lock(plane, self->outbox)) {
        Py_BEGIN_ALLOW_THREADS
        plane_lock(plane, self->outbox);
        Py_END_ALLOW_THREADS
    }
    return plane;
}

static void leave(PlaneObject *self) {
    plane_unlock(&self->plane);
    self->plane.flush(&self->plane, self->outbox);
    self->outbox->count = self->outbox->arena_used = 0;
}

/* --- addresses --- */

static PyObject *address_tuple(const address_t *address) {
    static const uint8_t anywhere[sizeof address->local];
    char host[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];
    int family = address->family == 6 ? AF_INET6 : AF_INET;
    unsigned long scope = address->scope;
    inet_ntop(family, address->ip, host, sizeof host);
    inet_ntop(family, address->local, local, sizeof local);
    if (address->stream) {
        char named[INET6_ADDRSTRLEN + 4];
        PyOS_snprintf(named, sizeof named, "tcp:%s", host);
        return Py_BuildValue("(sk)", named, scope);
    }
    if (!memcmp(address->local, anywhere, sizeof anywhere)) {
        if (family == AF_INET6) return Py_BuildValue("(siik)", host, address->port, 0, scope);
        return Py_BuildValue("(si)", host, address->port);
    }
    if (family == AF_INET6) return Py_BuildValue("(siiks)", host, address->port, 0, scope, local);
    return Py_BuildValue("(sis)", host, address->port, local);
}

/* The family of a numeric host, whose bytes go to `ip`; 0 if it is none. */
static int parse_host(const char *text, uint8_t *ip) {
    char host[INET6_ADDRSTRLEN + 1];
    size_t length = strcspn(text, "%");
    if (length >= sizeof host) return 0;
    memcpy(host, text, length);
    host[length] = 0;
    bool six = strchr(host, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, host, ip) != 1) return 0;
    return six ? 6 : 4;
}

/* An "O&" converter. */
static int to_address(PyObject *object, void *out) {
    address_t *address = out;
    const char *host, *local = NULL;
    unsigned long number, flow = 0, scope = 0;
    memset(address, 0, sizeof *address);
    if (!PyTuple_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "an address is a tuple");
        return 0;
    }
    bool parsed = PyTuple_Size(object) == 3
                      ? PyArg_ParseTuple(object, "sks", &host, &number, &local)
                      : PyArg_ParseTuple(object, "sk|kks", &host, &number, &flow, &scope, &local);
    if (!parsed) return 0;
    address->stream = !strncmp(host, "tcp:", 4);
    int family = parse_host(host + (address->stream ? 4 : 0), address->ip);
    if (!family || (local && parse_host(local, address->local) != family)) {
        PyErr_Format(PyExc_ValueError, "not an address: %s", family ? local : host);
        return 0;
    }
    address->family = (uint8_t)family;
    address->port = address->stream ? 0 : (uint16_t)number;
    address->scope = (uint32_t)(address->stream ? number : scope);
    return 1;
}

/* --- sending by hand --- */

static void keep_outbox(plane_t *plane, outbox_t *outbox) {
    PlaneObject *self = plane->owner;
    for (int i = 0; i < outbox->count; i++) {
        parcel_t *parcel = &outbox->parcels[i];
        PyObject *to = address_tuple(&parcel->to);
        PyObject *pair = Py_BuildValue("(Ny#)", to, parcel->data, (Py_ssize_t)parcel->length);
        if (!pair || PyList_Append(self->sent, pair)) PyErr_Clear(); /* seen as a missing packet */
        Py_XDECREF(pair);
        atomic_fetch_add_explicit(&plane->sent, 1, memory_order_relaxed);
    }
}

static void discard_outbox(plane_t *plane, outbox_t *outbox) {
    (void)plane, (void)outbox; /* the socket is closed */
}

static void send_by_thread(plane_t *plane, outbox_t *outbox) { send_outbox(plane, plane->fd, outbox); }

/* --- Plane: life --- */

static bool read_payloads(plane_t *plane, const uint8_t *table, Py_ssize_t size) {
    if (size != 128 * 4) {
        PyErr_SetString(PyExc_ValueError, "a row of 4 bytes for each of 128 payload types");
        return false;
    }
    for (int i = 0; i < 128; i++) {
        const uint8_t *row = table + 4 * i;
        plane->payloads[i] = (payload_t){(codec_t)row[0], row[1] ? VIDEO : AUDIO, row[2], row[3] & 127};
    }
    return true;
}

static srtp_t srtp_at(const unsigned long long *functions) {
    srtp_t srtp;
    uintptr_t address[5];
    for (int i = 0; i < 5; i++) address[i] = (uintptr_t)functions[i];
    _Static_assert(sizeof srtp == sizeof address, "five function pointers");
    memcpy(&srtp, address, sizeof srtp);
    return srtp;
}

static PyObject *plane_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    Py_buffer table;
    unsigned long long f[5];
    if (!PyArg_ParseTuple(args, "y*(KKKKK)", &table, &f[0], &f[1], &f[2], &f[3], &f[4])) return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PlaneObject *self = (PlaneObject *)allocate(type, 0);
    if (self) {
        self->ready = plane_init(&self->plane, srtp_at(f));
        self->plane.flush = keep_outbox;
        self->plane.owner = self;
        self->sent = PyList_New(0);
        self->outbox = PyMem_Calloc(1, sizeof *self->outbox);
        if (!self->ready || !self->sent || !self->outbox) PyErr_NoMemory();
        else read_payloads(&self->plane, table.buf, table.len);
    }
    PyBuffer_Release(&table);
    if (self && PyErr_Occurred()) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *plane_stop(PlaneObject *self, PyObject *ignored) {
    (void)ignored;
    packet_thread_t *thread = self->thread;
    self->thread = NULL;
    if (thread) {
        Py_BEGIN_ALLOW_THREADS
        thread_stop(thread);
        Py_END_ALLOW_THREADS
        self->plane.flush = discard_outbox;
    }
    Py_RETURN_NONE;
}

static void plane_dealloc(PlaneObject *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(plane_stop(self, NULL));
    plane_free(&self->plane);
    Py_XDECREF(self->sent);
    PyMem_Free(self->outbox);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *plane_start(PlaneObject *self, PyObject *args) {
    int fd, wake_fd;
    if (!PyArg_ParseTuple(args, "ii", &fd, &wake_fd)) return NULL;
    if (self->thread) Py_RETURN_NONE;
    self->plane.fd = fd;
    self->plane.flush = send_by_thread;
    self->thread = thread_start(&self->plane, fd, wake_fd);
    if (self->thread) Py_RETURN_NONE;
    self->plane.flush = discard_outbox;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* --- Plane: by hand, for tests --- */

static PyObject *plane_feed_by_hand(PlaneObject *self, PyObject *args) {
    Py_buffer data;
    address_t from;
    long long now_ns;
    uint8_t buffer[DATAGRAM_BUFFER_BYTES];
    if (!PyArg_ParseTuple(args, "y*O&L", &data, to_address, &from, &now_ns)) return NULL;
    int length = data.len > MAX_DATAGRAM_BYTES ? MAX_DATAGRAM_BYTES + 1 : (int)data.len;
    memcpy(buffer, data.buf, (size_t)length);
    PyBuffer_Release(&data);
    plane_feed(enter(self), buffer, length, &from, now_ns);
    leave(self);
    Py_RETURN_NONE;
}

static PyObject *plane_tick_by_hand(PlaneObject *self, PyObject *args) {
    long long now_ns;
    if (!PyArg_ParseTuple(args, "L", &now_ns)) return NULL;
    plane_tick(enter(self), now_ns);
    leave(self);
    Py_RETURN_NONE;
}

static PyObject *plane_take_sent(PlaneObject *self, PyObject *ignored) {
    (void)ignored;
    PyObject *fresh = PyList_New(0), *sent = self->sent;
    if (!fresh) return NULL;
    self->sent = fresh;
    return sent;
}

/* --- Plane: tables --- */

static PyObject *plane_claim_method(PlaneObject *self, PyObject *args) {
    address_t address;
    PathObject *path;
    if (!PyArg_ParseTuple(args, "O&O!", to_address, &address, path_type, &path)) return NULL;
    bool claimed = path->path->closed || plane_claim(enter(self), &address, path->path);
    if (!path->path->closed) leave(self);
    return claimed ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyObject *plane_release_method(PlaneObject *self, PyObject *args) {
    address_t address;
    if (!PyArg_ParseTuple(args, "O&", to_address, &address)) return NULL;
    plane_release(enter(self), &address);
    leave(self);
    Py_RETURN_NONE;
}

static PyObject *plane_add_ufrag_method(PlaneObject *self, PyObject *args) {
    const char *ufrag;
    if (!PyArg_ParseTuple(args, "s", &ufrag)) return NULL;
    bool added = plane_add_ufrag(enter(self), ufrag);
    leave(self);
    return added ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyObject *plane_remove_ufrag_method(PlaneObject *self, PyObject *args) {
    const char *ufrag;
    if (!PyArg_ParseTuple(args, "s", &ufrag)) return NULL;
    plane_remove_ufrag(enter(self), ufrag);
    leave(self);
    Py_RETURN_NONE;
}

static PyObject *plane_send_method(PlaneObject *self, PyObject *args) {
    Py_buffer data;
    address_t to;
    if (!PyArg_ParseTuple(args, "y*O&", &data, to_address, &to)) return NULL;
    bool fits = data.len <= MAX_DATAGRAM_BYTES;
    if (fits) {
        plane_t *plane = enter(self);
        uint8_t *copy = plane_scratch(plane);
        memcpy(copy, data.buf, (size_t)data.len);
        plane_post(plane, copy, (int)data.len, &to);
        leave(self);
    }
    PyBuffer_Release(&data);
    return PyBool_FromLong(fits);
}

static PyObject *plane_counters(PlaneObject *self, PyObject *ignored) {
    (void)ignored;
    plane_t *plane = enter(self);
    counters_t counters = plane->counters;
    leave(self);
    counters.datagrams_out = atomic_load_explicit(&plane->sent, memory_order_relaxed);
    counters.send_blocked = atomic_load_explicit(&plane->send_blocked, memory_order_relaxed);
    counters.send_errors = atomic_load_explicit(&plane->send_errors, memory_order_relaxed);
    PyObject *result = PyDict_New();
#define X(name)                                                                        \
    if (result) {                                                                      \
        PyObject *value = PyLong_FromUnsignedLongLong(counters.name);                  \
        if (!value || PyDict_SetItemString(result, #name, value)) Py_CLEAR(result);    \
        Py_XDECREF(value);                                                             \
    }
    COUNTERS(X)
#undef X
    return result;
}

/* --- Plane: what is for Python --- */

static PyObject *plane_take_signals(PlaneObject *self, PyObject *args) {
    int most;
    if (!PyArg_ParseTuple(args, "i", &most)) return NULL;
    PyObject *result = PyList_New(0);
    if (!result) return NULL;
    /* Only this thread takes signals, so the oldest ones stay where they are meanwhile. */
    plane_t *plane = enter(self);
    plane->python_woken = false;
    int first = plane->signal_first, count = plane->signal_count < most ? plane->signal_count : most;
    leave(self);
    for (int i = 0; i < count && result; i++) {
        signal_t *signal = &plane->signals[(first + i) % SIGNALS];
        PyObject *item = Py_BuildValue("(y#NO)", signal->bytes, (Py_ssize_t)signal->length,
                                       address_tuple(&signal->address),
                                       signal->outgoing ? Py_True : Py_False);
        if (!item || PyList_Append(result, item)) Py_CLEAR(result);
        Py_XDECREF(item);
    }
    enter(self);
    plane->signal_first = (first + count) % SIGNALS;
    plane->signal_count -= count;
    leave(self);
    return result;
}

static PyObject *plane_take_taps(PlaneObject *self, PyObject *args) {
    int most;
    if (!PyArg_ParseTuple(args, "i", &most)) return NULL;
    PyObject *result = PyList_New(0);
    plane_t *plane = enter(self);
    int first = plane->tap_first, count = plane->tap_count < most ? plane->tap_count : most;
    leave(self);
    for (int i = 0; i < count && result; i++) { /* only this thread takes any, as with signals */
        tapped_t *tapped = &plane->taps[(first + i) % TAPS];
        PyObject *item = Py_BuildValue("(Kiy#L)", (unsigned long long)tapped->path, tapped->kind,
                                       tapped->bytes, (Py_ssize_t)tapped->length,
                                       (long long)tapped->at_ns);
        if (!item || PyList_Append(result, item)) Py_CLEAR(result);
        Py_XDECREF(item);
    }
    enter(self);
    plane->tap_first = (first + count) % TAPS;
    plane->tap_count -= count;
    leave(self);
    return result;
}

/* One path's news as (id, first frame or None, resumed or 0, delivered or 0, withheld). */
static PyObject *news_tuple(const path_t *path) {
    PyObject *first = Py_NewRef(Py_None);
    if (path->news.first_frame.sent_at_ns) {
        Py_DECREF(first);
        first = Py_BuildValue("(iLL)", path->news.first_frame.kind,
                              (long long)path->news.first_frame.sent_at_ns,
                              (long long)path->news.first_acked_at_ns);
    }
    return Py_BuildValue("(KNLLO)", (unsigned long long)path->id, first,
                         (long long)path->news.resumed_ns, (long long)path->news.delivered_ns,
                         path->news.acks_withheld ? Py_True : Py_False);
}

static PyObject *plane_take_news(PlaneObject *self, PyObject *ignored) {
    (void)ignored;
    PyObject *result = PyList_New(0);
    while (result) {
        path_t copy;
        plane_t *plane = enter(self);
        path_t *path = plane->news;
        if (path) {
            plane->news = path->news.next;
            copy.id = path->id;
            copy.news = path->news;
            memset(&path->news, 0, sizeof path->news);
        }
        leave(self);
        if (!path) break;
        PyObject *item = news_tuple(&copy);
        if (!item || PyList_Append(result, item)) Py_CLEAR(result);
        Py_XDECREF(item);
    }
    return result;
}

/* --- Path --- */

static bool read_stream(PyObject *object, stream_spec_t *spec) {
    unsigned int first_sequence, first_rtx_sequence;
    long long rtx_ssrc;
    if (object == Py_None) return true;
    if (!PyArg_ParseTuple(object, "ILIII", &spec->ssrc, &rtx_ssrc, &first_sequence,
                          &spec->first_timestamp, &first_rtx_sequence))
        return false;
    spec->offered = true;
    spec->has_rtx = rtx_ssrc >= 0;
    spec->rtx_ssrc = spec->has_rtx ? (uint32_t)rtx_ssrc : 0;
    spec->first_sequence = (uint16_t)first_sequence;
    spec->first_rtx_sequence = (uint16_t)first_rtx_sequence;
    return true;
}

static PyObject *plane_new_path(PlaneObject *self, PyObject *args) {
    unsigned long long id, low, high;
    PyObject *audio, *video;
    stream_spec_t streams[KINDS] = {0};
    if (!PyArg_ParseTuple(args, "KO!OKK", &id, &PyTuple_Type, &audio, &video, &low, &high)) return NULL;
    if (!read_stream(audio, &streams[AUDIO]) || !read_stream(video, &streams[VIDEO])) return NULL;
    PathObject *object = PyObject_New(PathObject, path_type);
    if (!object) return NULL;
    object->plane = (PlaneObject *)Py_NewRef((PyObject *)self);
    object->keys = NULL;
    object->path = path_new(&self->plane, id, streams, (types_t){{low, high}});
    bool added = object->path && plane_add_path(enter(self), object->path);
    if (object->path) leave(self);
    if (added) return (PyObject *)object;
    Py_DECREF(object);
    return PyErr_NoMemory();
}

static plane_t *enter_path(PathObject *self) { return enter(self->plane); }
static void leave_path(PathObject *self) { leave(self->plane); }

static PyObject *path_close_method(PathObject *self, PyObject *args) {
    long long now_ns;
    if (!PyArg_ParseTuple(args, "L", &now_ns)) return NULL;
    enter_path(self);
    if (!self->path->closed) {
        path_close(self->path, now_ns);
        plane_remove_path(self->path->plane, self->path);
    }
    leave_path(self);
    Py_CLEAR(self->keys);
    Py_RETURN_NONE;
}

static void path_dealloc(PathObject *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->path) {
        enter_path(self);
        if (!self->path->closed) path_close(self->path, 0);
        plane_remove_path(self->path->plane, self->path);
        leave_path(self);
        path_free(self->path);
    }
    Py_XDECREF(self->keys);
    Py_DECREF(self->plane);
    PyObject_Free(self);
    Py_DECREF(type);
}

static bool read_pairs(PyObject *pairs, outgoing_t *out) {
    Py_ssize_t count = PyTuple_Size(pairs);
    out->rtx_pair_count = 0;
    for (Py_ssize_t i = 0; i < count && i < MAX_SSRCS_PER_LEG; i++) {
        unsigned int repair, main_ssrc;
        if (!PyArg_ParseTuple(PyTuple_GetItem(pairs, i), "II", &repair, &main_ssrc)) return false;
        out->rtx_pairs[out->rtx_pair_count].repair = repair;
        out->rtx_pairs[out->rtx_pair_count++].main = main_ssrc;
    }
    return true;
}

static PyObject *path_negotiate(PathObject *self, PyObject *args) {
    int kind;
    unsigned long long low, high, rtx_low, rtx_high;
    PyObject *pairs;
    if (!PyArg_ParseTuple(args, "iKKKKO!", &kind, &low, &high, &rtx_low, &rtx_high, &PyTuple_Type,
                          &pairs))
        return NULL;
    enter_path(self);
    outgoing_t *out = &self->path->out[kind == VIDEO ? VIDEO : AUDIO];
    out->payload_types = (types_t){{low, high}};
    out->rtx_payload_types = (types_t){{rtx_low, rtx_high}};
    bool read = read_pairs(pairs, out);
    leave_path(self);
    return read ? Py_NewRef(Py_None) : NULL;
}

static PyObject *path_secure(PathObject *self, PyObject *args) {
    unsigned long long rx, tx;
    PyObject *keys;
    if (!PyArg_ParseTuple(args, "KKO", &rx, &tx, &keys)) return NULL;
    enter_path(self);
    if (!self->path->closed) {
        self->path->rx = (void *)(uintptr_t)rx;
        self->path->tx = (void *)(uintptr_t)tx;
    }
    leave_path(self);
    PyObject *former = self->keys;
    self->keys = Py_NewRef(keys);
    Py_XDECREF(former);
    Py_RETURN_NONE;
}

static PyObject *path_set_address(PathObject *self, PyObject *address) {
    address_t to = {0};
    if (address != Py_None && !to_address(address, &to)) return NULL;
    enter_path(self);
    self->path->address = to;
    leave_path(self);
    Py_RETURN_NONE;
}

static PyObject *path_set_live(PathObject *self, PyObject *live) {
    int is_live = PyObject_IsTrue(live);
    enter_path(self);
    self->path->live = is_live && !self->path->closed;
    leave_path(self);
    Py_RETURN_NONE;
}

static PyObject *path_link_method(PathObject *self, PyObject *args) {
    PyObject *publisher;
    int audio, video;
    long long limit_ns, now_ns;
    if (!PyArg_ParseTuple(args, "OppLL", &publisher, &audio, &video, &limit_ns, &now_ns)) return NULL;
    path_t *other = publisher == Py_None ? NULL : ((PathObject *)publisher)->path;
    bool permitted[KINDS] = {audio, video};
    enter_path(self);
    if (!self->path->closed && !(other && other->closed))
        path_link(self->path, other, permitted, limit_ns, now_ns);
    leave_path(self);
    Py_RETURN_NONE;
}

static PyObject *path_watch_method(PathObject *self, PyObject *args) {
    long long timeout_ns, pause_ns, debt_ns, flowed_ns, mark_ns, sent_ns, former_pause_ns;
    int seek;
    if (!PyArg_ParseTuple(args, "LLp(LLLLL)", &timeout_ns, &pause_ns, &seek, &debt_ns, &flowed_ns,
                          &mark_ns, &sent_ns, &former_pause_ns))
        return NULL;
    owed_t owed = {debt_ns, flowed_ns, mark_ns, sent_ns, former_pause_ns};
    enter_path(self);
    bool watching =
        self->path->closed || path_watch(self->path, timeout_ns, pause_ns, seek, &owed);
    leave_path(self);
    return watching ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyObject *path_unwatch_method(PathObject *self, PyObject *ignored) {
    (void)ignored;
    enter_path(self);
    path_unwatch(self->path);
    leave_path(self);
    Py_RETURN_NONE;
}

static PyObject *path_be_patient_method(PathObject *self, PyObject *args) {
    long long timeout_ns, pause_ns, now_ns;
    if (!PyArg_ParseTuple(args, "LLL", &timeout_ns, &pause_ns, &now_ns)) return NULL;
    enter_path(self);
    path_be_patient(self->path, timeout_ns, pause_ns, now_ns);
    leave_path(self);
    Py_RETURN_NONE;
}

static PyObject *path_owed_method(PathObject *self, PyObject *ignored) {
    (void)ignored;
    enter_path(self);
    owed_t owed = path_owed(self->path);
    leave_path(self);
    return Py_BuildValue("(LLLLL)", (long long)owed.debt_ns, (long long)owed.flowed_ns,
                         (long long)owed.mark_ns, (long long)owed.last_sent_ns,
                         (long long)owed.pause_after_ns);
}

static PyObject *path_last_in_method(PathObject *self, PyObject *number) {
    long kind = PyLong_AsLong(number);
    if (PyErr_Occurred()) return NULL;
    if (kind < 0 || kind >= KINDS) return PyErr_Format(PyExc_ValueError, "no such kind");
    enter_path(self);
    int64_t last_ns = path_last_in_ns(self->path, (kind_t)kind);
    leave_path(self);
    return PyLong_FromLongLong(last_ns);
}

static PyObject *path_set_tapped(PathObject *self, PyObject *args) {
    int on;
    long long now_ns;
    if (!PyArg_ParseTuple(args, "pL", &on, &now_ns)) return NULL;
    plane_t *plane = enter_path(self);
    if (on && !plane->taps) plane->taps = calloc(TAPS, sizeof *plane->taps);
    bool served = !on || plane->taps;
    self->path->tapped = on && served && !self->path->closed;
    if (self->path->tapped && self->path->out[VIDEO].source)
        outgoing_request_keyframe(&self->path->out[VIDEO], now_ns);
    leave_path(self);
    return served ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

static PyObject *path_stats_method(PathObject *self, PyObject *ignored) {
    (void)ignored;
    enter_path(self);
    path_stats_t stats = path_stats(self->path);
    leave_path(self);
    const int64_t counts[] = {stats.packets_in,  stats.packets_out, stats.bytes_in,
                              stats.bytes_out,   stats.expected_in, stats.lost_in,
                              stats.expected_out, stats.lost_out,   stats.bitrate_in_bps,
                              stats.bitrate_out_bps};
    PyObject *tuple = PyTuple_New(10);
    for (int i = 0; tuple && i < 10; i++) PyTuple_SetItem(tuple, i, PyLong_FromLongLong(counts[i]));
    return Py_BuildValue("(NddLLL)", tuple, stats.jitter_in_ms, stats.jitter_out_ms,
                         (long long)stats.rtt_ns, (long long)stats.freezes,
                         (long long)(stats.frozen_ns / NS_PER_MS));
}

/* --- the module --- */

#define METHOD(name, function, how) {name, (PyCFunction)(void (*)(void))function, how, NULL}

static PyMethodDef plane_methods[] = {
    METHOD("start", plane_start, METH_VARARGS),
    METHOD("stop", plane_stop, METH_NOARGS),
    METHOD("feed", plane_feed_by_hand, METH_VARARGS),
    METHOD("tick", plane_tick_by_hand, METH_VARARGS),
    METHOD("take_sent", plane_take_sent, METH_NOARGS),
    METHOD("new_path", plane_new_path, METH_VARARGS),
    METHOD("claim", plane_claim_method, METH_VARARGS),
    METHOD("release", plane_release_method, METH_VARARGS),
    METHOD("add_ufrag", plane_add_ufrag_method, METH_VARARGS),
    METHOD("remove_ufrag", plane_remove_ufrag_method, METH_VARARGS),
    METHOD("send", plane_send_method, METH_VARARGS),
    METHOD("counters", plane_counters, METH_NOARGS),
    METHOD("take_signals", plane_take_signals, METH_VARARGS),
    METHOD("take_taps", plane_take_taps, METH_VARARGS),
    METHOD("take_news", plane_take_news, METH_NOARGS),
    {NULL, NULL, 0, NULL},
};

static PyMethodDef path_methods[] = {
    METHOD("negotiate", path_negotiate, METH_VARARGS),
    METHOD("secure", path_secure, METH_VARARGS),
    METHOD("set_address", path_set_address, METH_O),
    METHOD("set_live", path_set_live, METH_O),
    METHOD("link", path_link_method, METH_VARARGS),
    METHOD("watch", path_watch_method, METH_VARARGS),
    METHOD("unwatch", path_unwatch_method, METH_NOARGS),
    METHOD("be_patient", path_be_patient_method, METH_VARARGS),
    METHOD("owed", path_owed_method, METH_NOARGS),
    METHOD("last_in_ns", path_last_in_method, METH_O),
    METHOD("set_tapped", path_set_tapped, METH_VARARGS),
    METHOD("stats", path_stats_method, METH_NOARGS),
    METHOD("close", path_close_method, METH_VARARGS),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot plane_slots[] = {
    {Py_tp_new, plane_new},
    {Py_tp_dealloc, plane_dealloc},
    {Py_tp_methods, plane_methods},
    {0, NULL},
};

static PyType_Slot path_slots[] = {
    {Py_tp_dealloc, path_dealloc},
    {Py_tp_methods, path_methods},
    {0, NULL},
};

static PyType_Spec plane_spec = {"engine.media.native._plane.Plane", sizeof(PlaneObject), 0,
                                 Py_TPFLAGS_DEFAULT, plane_slots};
static PyType_Spec path_spec = {"engine.media.native._plane.Path", sizeof(PathObject), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, path_slots};

static PyObject *limits_dict(void) {
#define L(name) #name, (long long)(name)
    return Py_BuildValue(
        "{sLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsLsL}",
        L(MAX_DATAGRAM_BYTES),
        L(DATAGRAM_BUFFER_BYTES), L(SOCKET_BUFFER_BYTES), L(MAX_SSRCS_PER_LEG), L(MAX_STUN_BYTES),
        L(MIN_STUN_REQUEST_BYTES), L(MAX_STUN_USERNAME_BYTES), L(MAX_STUN_ATTRIBUTES),
        L(RETRANSMIT_RING_PACKETS), L(MAX_SEQUENCE_GAP), L(MAX_MISSING_PACKETS),
        L(MAX_NACKS_PER_PACKET), L(NACK_RETRY_NS), L(NACK_GIVE_UP_NS), L(MAX_NACK_SEQUENCES),
        L(RESEND_INTERVAL_NS), L(MAX_RTCP_BLOCKS), L(MAX_RTCP_BYTES), L(MAX_FRAME_PACKETS),
        L(MAX_FRAME_CANDIDATES), L(MAX_AUDIO_CANDIDATES), L(ACK_WINDOW_PACKETS),
        L(REPORT_INTERVAL_NS), L(KEYFRAME_COALESCE_NS), L(KEYFRAME_REPEAT_NS),
        L(KEYFRAME_REPEAT_MAX_NS), L(SOURCE_IDLE_NS), L(DELIVERY_INTERVAL_NS),
        L(ACK_FLOW_PAUSE_NS), L(ACK_DEBT_NS), L(ACK_DEBT_MOST_NS), L(ACK_DEBT_MARGIN_NS),
        L(ACK_DEBT_BILLED_PER_REPAID), L(FREEZE_WINDOW_FRAMES), L(FREEZE_MIN_FRAMES),
        L(FREEZE_MARGIN_NS));
#undef L
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_plane", NULL, -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__plane(void) {
    PyObject *module = PyModule_Create(&definition);
    PyObject *plane_type = PyType_FromSpec(&plane_spec);
    path_type = (PyTypeObject *)PyType_FromSpec(&path_spec);
    PyObject *limits = limits_dict();
    if (module && plane_type && path_type && limits &&
        !PyModule_AddObjectRef(module, "Plane", plane_type) &&
        !PyModule_AddObjectRef(module, "Path", (PyObject *)path_type) &&
        !PyModule_AddObjectRef(module, "LIMITS", limits)) {
        Py_DECREF(plane_type);
        Py_DECREF(limits);
        return module;
    }
    Py_XDECREF(module);
    return NULL;
}
