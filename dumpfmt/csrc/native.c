/* dumpfmt._native: keysets that stay bytes until they are touched, and the encoder.
 *
 * Scan takes the bytes of one keyset and notes where its keys are; Records holds them and makes a Key object when one is asked
 * for; encode writes keys and stretches of untouched records. What Scan is not sure of (dumpscan.h) is left to the Python code.
 * keyset.py is the only user of Records.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#include "dumpscan.h"

/* --- the classes that keys are made of: set once, by dumpfmt ----------------------------------------------------------------- */

static PyTypeObject * key_type, *metakey_type;
static Py_ssize_t name_slot, unescaped_slot, value_slot, meta_slot;

static int slot_of (PyObject * type, const char * name, Py_ssize_t * slot)
{
	PyObject * descriptor = PyObject_GetAttrString (type, name);
	if (!descriptor) return -1;
	if (!PyObject_TypeCheck (descriptor, &PyMemberDescr_Type))
	{
		Py_DECREF (descriptor);
		PyErr_Format (PyExc_TypeError, "%s is no slot of Key", name);
		return -1;
	}
	*slot = ((PyMemberDescrObject *) descriptor)->d_member->offset;
	Py_DECREF (descriptor);
	return 0;
}

static PyObject * configure (PyObject * Py_UNUSED (module), PyObject * args)
{
	PyObject *key, *metakey;
	if (!PyArg_ParseTuple (args, "O!O!:configure", &PyType_Type, &key, &PyType_Type, &metakey)) return NULL;
	if (slot_of (key, "_name", &name_slot) || slot_of (key, "_unescaped", &unescaped_slot) || slot_of (key, "_value", &value_slot) ||
	    slot_of (key, "_meta", &meta_slot))
	{
		return NULL;
	}
	Py_XSETREF (key_type, (PyTypeObject *) Py_NewRef (key));
	Py_XSETREF (metakey_type, (PyTypeObject *) Py_NewRef (metakey));
	Py_RETURN_NONE;
}

static PyObject ** slot (PyObject * key, Py_ssize_t offset)
{
	return (PyObject **) ((char *) key + offset);
}

/* --- Records ----------------------------------------------------------------------------------------------------------------- */

enum { IS_BINARY = 1, IS_PLAIN = 2, HAS_COPYMETA = 4, IS_SOURCE = 8 };

struct entry {
	uint64_t start;	    /* of the `$key` record */
	uint32_t name_size; /* of its first payload */
	uint8_t line_size;  /* of its command line, with the line feed */
	uint8_t flags;
	uint8_t depth; /* how many keys must be made before this one, each sharing metadata with the next */
};

/* What Records objects of one keyset share: the bytes, and where the keys are. */
struct store {
	Py_ssize_t references;
	const unsigned char * data;
	unsigned char * owned; /* `data`, when it is malloc'd */
	PyObject * bytes;      /* `data`, when it is a bytes object's */
	size_t end;	       /* of the last record of the last key */
	struct entry * entries;
	Py_ssize_t count;
	Py_ssize_t copies; /* keys with `$copymeta` */
};

#define CACHED_NAMES 64

typedef struct {
	PyObject_HEAD struct store * store;
	PyObject ** made; /* Key objects by index, or NULL where nobody has asked yet; NULL while there is none */
	Py_ssize_t made_count;
	PyObject * names[CACHED_NAMES]; /* names of metadata repeat */
	PyObject * originals;		/* index -> metadata as it was read, of keys that others share metadata with */
} Records;

static PyTypeObject RecordsType;

static const struct dump_limits no_limits = { (size_t) 1 << 62, (size_t) 1 << 62, (size_t) 1 << 62, (size_t) 1 << 62 };

static void store_release (struct store * store)
{
	if (--store->references > 0) return;
	Py_XDECREF (store->bytes);
	free (store->owned);
	free (store->entries);
	free (store);
}

static Records * records_new (struct store * store)
{
	Records * self = PyObject_New (Records, &RecordsType);
	if (!self) return NULL;
	self->store = store;
	store->references++;
	self->made = NULL;
	self->made_count = 0;
	memset (self->names, 0, sizeof self->names);
	self->originals = NULL;
	return self;
}

static void records_dealloc (Records * self)
{
	if (self->made)
	{
		for (Py_ssize_t i = 0; i < self->store->count; i++)
			Py_XDECREF (self->made[i]);
		PyMem_Free (self->made);
	}
	for (int i = 0; i < CACHED_NAMES; i++)
		Py_XDECREF (self->names[i]);
	Py_XDECREF (self->originals);
	store_release (self->store);
	PyObject_Free (self);
}

static const unsigned char * name_at (const struct store * store, Py_ssize_t index)
{
	return store->data + store->entries[index].start + store->entries[index].line_size;
}

static size_t start_of (const struct store * store, Py_ssize_t index)
{
	return index < store->count ? store->entries[index].start : store->end;
}

static size_t slash_of (const unsigned char * name)
{
	return (size_t) ((const unsigned char *) strchr ((const char *) name, '/') - name);
}

/* The name of entry `index` against an unescaped one. */
static int compare_entry (const struct store * store, Py_ssize_t index, const unsigned char * wanted, size_t wanted_size)
{
	const struct entry * entry = &store->entries[index];
	const unsigned char * name = name_at (store, index);
	if (!(entry->flags & IS_PLAIN)) return dump_name_compare_unescaped (name, entry->name_size, wanted, wanted_size);
	struct dump_unescaper it;
	dump_unescape_name (&it, name, entry->name_size);
	int c = dump_unescape_next (&it);
	if (wanted_size == 0) return 1;
	if (c != wanted[0]) return c < wanted[0] ? -1 : 1;
	size_t slash = slash_of (name);
	const unsigned char * path = name + slash;
	size_t size = entry->name_size - slash;
	for (size_t i = 0;; i++)
	{
		if (i + 1 == wanted_size) return 1; /* the final NUL of this one is still to come */
		c = i == size ? 0 : path[i] == '/' ? 0 : path[i];
		if (c != wanted[i + 1]) return c < wanted[i + 1] ? -1 : 1;
		if (i == size) return i + 2 == wanted_size ? 0 : -1;
	}
}

/* The first entry from `low` on, before `high`, that is not before `wanted`. */
static Py_ssize_t bisect (const struct store * store, const unsigned char * wanted, size_t size, Py_ssize_t low, Py_ssize_t high)
{
	while (low < high)
	{
		Py_ssize_t middle = low + (high - low) / 2;
		if (compare_entry (store, middle, wanted, size) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static PyObject * unescaped_of (const struct store * store, Py_ssize_t index)
{
	const struct entry * entry = &store->entries[index];
	const unsigned char * name = name_at (store, index);
	struct dump_unescaper it;
	PyObject * result;
	dump_unescape_name (&it, name, entry->name_size);
	if (entry->flags & IS_PLAIN)
	{
		size_t slash = slash_of (name), size = entry->name_size - slash;
		result = PyBytes_FromStringAndSize (NULL, (Py_ssize_t) size + 2);
		if (!result) return NULL;
		unsigned char * to = (unsigned char *) PyBytes_AS_STRING (result);
		*to++ = (unsigned char) dump_unescape_next (&it);
		for (size_t i = 0; i < size; i++)
			to[i] = name[slash + i] == '/' ? 0 : name[slash + i];
		to[size] = 0;
		return result;
	}
	result = PyBytes_FromStringAndSize (NULL, (Py_ssize_t) entry->name_size + 2);
	if (!result) return NULL;
	Py_ssize_t size = 0;
	int c;
	while ((c = dump_unescape_next (&it)) >= 0)
		PyBytes_AS_STRING (result)[size++] = (char) c;
	return _PyBytes_Resize (&result, size) == 0 ? result : NULL;
}

static PyObject * decode (const unsigned char * data, size_t size)
{
	return PyUnicode_DecodeUTF8 ((const char *) data, (Py_ssize_t) size, "surrogateescape");
}

/* The name of a metakey; a new reference. */
static PyObject * metaname (Records * self, const unsigned char * data, size_t size)
{
	PyObject ** cached = &self->names[(size * 31 + data[0] + 7u * data[size - 1]) % CACHED_NAMES];
	if (*cached && PyUnicode_IS_ASCII (*cached) && (size_t) PyUnicode_GET_LENGTH (*cached) == size &&
	    memcmp (PyUnicode_DATA (*cached), data, size) == 0)
	{
		return Py_NewRef (*cached);
	}
	PyObject * name = decode (data, size);
	if (name)
	{
		PyUnicode_InternInPlace (&name);
		Py_XSETREF (*cached, Py_NewRef (name));
	}
	return name;
}

static PyObject * make_key (Records * self, Py_ssize_t index);

/* Keep what a source of shared metadata held when it was read: it may be changed before the others are made. */
static int keep_original (Records * self, Py_ssize_t index, PyObject * meta)
{
	if (!self->originals && !(self->originals = PyDict_New ())) return -1;
	PyObject * number = PyLong_FromSsize_t (index);
	PyObject * copy = number ? PyDict_Copy (meta) : NULL;
	int failed = !copy || PyDict_SetItem (self->originals, number, copy) < 0;
	Py_XDECREF (number);
	Py_XDECREF (copy);
	return failed ? -1 : 0;
}

/* A borrowed reference. */
static PyObject * original_metakey (Records * self, Py_ssize_t index, PyObject * name)
{
	PyObject * number = PyLong_FromSsize_t (index);
	PyObject * meta = number && self->originals ? PyDict_GetItemWithError (self->originals, number) : NULL;
	PyObject * metakey = meta ? PyDict_GetItemWithError (meta, name) : NULL;
	Py_XDECREF (number);
	if (!metakey && !PyErr_Occurred ()) PyErr_SetString (PyExc_SystemError, "the source of shared metadata was lost");
	return metakey;
}

/* The shared metakey that a `$copymeta` record means; a new reference. */
static PyObject * shared_metakey (Records * self, const struct dump_record * record, PyObject * name)
{
	const unsigned char * data = self->store->data;
	/* Scan found the source among the keys before this one. */
	Py_ssize_t low = 0, high = self->store->count;
	while (low < high)
	{
		Py_ssize_t middle = low + (high - low) / 2;
		int order = dump_name_compare (name_at (self->store, middle), self->store->entries[middle].name_size,
					       data + record->first, record->first_size);
		if (order == 0)
		{
			PyObject * source = make_key (self, middle);
			if (!source) return NULL;
			Py_DECREF (source);
			return Py_XNewRef (original_metakey (self, middle, name));
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	PyErr_SetString (PyExc_SystemError, "the source of shared metadata is not there");
	return NULL;
}

/* Keys, their metadata and metakeys hold text and bytes, so they are in no cycle, and the cyclic collector need not look at
 * them: among a hundred thousand keys it would take most of the time. */
static void untrack (PyObject * object)
{
	if (PyObject_GC_IsTracked (object)) PyObject_GC_UnTrack (object);
}

static PyObject * new_metakey (const unsigned char * data, size_t size)
{
	PyObject * text = decode (data, size);
	if (!text) return NULL;
	PyObject * metakey = PyObject_CallOneArg ((PyObject *) metakey_type, text);
	Py_DECREF (text);
	if (metakey) untrack (metakey);
	return metakey;
}

/* The Key of an entry, made when it is first asked for; a new reference. */
static PyObject * make_key (Records * self, Py_ssize_t index)
{
	struct store * store = self->store;
	if (!self->made)
	{
		self->made = PyMem_Calloc ((size_t) store->count, sizeof *self->made);
		if (!self->made) return PyErr_NoMemory ();
	}
	if (self->made[index]) return Py_NewRef (self->made[index]);

	PyObject *name = NULL, *unescaped = NULL, *value = NULL, *meta = NULL, *key = NULL;
	struct dump_record record;
	size_t need, position = store->entries[index].start, end = start_of (store, index + 1);
	dump_next (store->data, store->end, position, &no_limits, &record, &need);
	name = decode (store->data + record.first, record.first_size);
	unescaped = name ? unescaped_of (store, index) : NULL;
	if (!unescaped) goto failed;
	if (record.kind == DUMP_STRING)
		value = decode (store->data + record.second, record.second_size);
	else if (record.second_size)
		value = PyBytes_FromStringAndSize ((const char *) store->data + record.second, (Py_ssize_t) record.second_size);
	else
		value = Py_NewRef (Py_None);
	meta = value ? PyDict_New () : NULL;
	if (!meta) goto failed;
	for (position = record.end; position < end; position = record.end)
	{
		dump_next (store->data, store->end, position, &no_limits, &record, &need);
		int shared = record.kind == DUMP_COPYMETA;
		PyObject * short_name = shared ? metaname (self, store->data + record.second, record.second_size) :
						 metaname (self, store->data + record.first, record.first_size);
		PyObject * metakey = !short_name ? NULL :
				     shared	 ? shared_metakey (self, &record, short_name) :
						   new_metakey (store->data + record.second, record.second_size);
		int failed = !metakey || PyDict_SetItem (meta, short_name, metakey) < 0;
		Py_XDECREF (short_name);
		Py_XDECREF (metakey);
		if (failed) goto failed;
	}
	if ((store->entries[index].flags & IS_SOURCE) && keep_original (self, index, meta) < 0) goto failed;
	key = key_type->tp_alloc (key_type, 0);
	if (!key) goto failed;
	*slot (key, name_slot) = name;
	*slot (key, unescaped_slot) = unescaped;
	*slot (key, value_slot) = value;
	*slot (key, meta_slot) = meta;
	untrack (meta);
	untrack (key);
	self->made[index] = Py_NewRef (key);
	self->made_count++;
	return key;

failed:
	Py_XDECREF (name);
	Py_XDECREF (unescaped);
	Py_XDECREF (value);
	Py_XDECREF (meta);
	return NULL;
}

static Py_ssize_t records_length (PyObject * self)
{
	return ((Records *) self)->store->count;
}

static int index_arg (Records * self, PyObject * arg, Py_ssize_t * index)
{
	*index = PyLong_AsSsize_t (arg);
	if (*index == -1 && PyErr_Occurred ()) return -1;
	if (*index < 0 || *index >= self->store->count)
	{
		PyErr_SetString (PyExc_IndexError, "no such record");
		return -1;
	}
	return 0;
}

static PyObject * records_key (PyObject * self, PyObject * arg)
{
	Py_ssize_t index;
	return index_arg ((Records *) self, arg, &index) ? NULL : make_key ((Records *) self, index);
}

static PyObject * records_peek (PyObject * self, PyObject * arg)
{
	Records * records = (Records *) self;
	Py_ssize_t index;
	if (index_arg (records, arg, &index)) return NULL;
	PyObject * key = records->made ? records->made[index] : NULL;
	return Py_NewRef (key ? key : Py_None);
}

static int range_args (Records * self, PyObject * const * args, Py_ssize_t count, Py_ssize_t * low, Py_ssize_t * high)
{
	if (count != 2)
	{
		PyErr_SetString (PyExc_TypeError, "a range has two ends");
		return -1;
	}
	*low = PyLong_AsSsize_t (args[0]);
	*high = PyLong_AsSsize_t (args[1]);
	if (PyErr_Occurred ()) return -1;
	if (*low < 0 || *high > self->store->count || *low > *high)
	{
		PyErr_SetString (PyExc_IndexError, "no such range of records");
		return -1;
	}
	return 0;
}

static PyObject * records_lower_bound (PyObject * self, PyObject * const * args, Py_ssize_t count)
{
	Py_ssize_t low, high;
	char * wanted;
	Py_ssize_t size;
	if (count != 3 || range_args ((Records *) self, args + 1, count - 1, &low, &high)) return NULL;
	if (PyBytes_AsStringAndSize (args[0], &wanted, &size) < 0) return NULL;
	return PyLong_FromSsize_t (bisect (((Records *) self)->store, (unsigned char *) wanted, (size_t) size, low, high));
}

static PyObject * records_find (PyObject * self, PyObject * const * args, Py_ssize_t count)
{
	struct store * store = ((Records *) self)->store;
	Py_ssize_t low, high;
	char * wanted;
	Py_ssize_t size;
	if (count != 3 || range_args ((Records *) self, args + 1, count - 1, &low, &high)) return NULL;
	if (PyBytes_AsStringAndSize (args[0], &wanted, &size) < 0) return NULL;
	Py_ssize_t index = bisect (store, (unsigned char *) wanted, (size_t) size, low, high);
	int found = index < high && compare_entry (store, index, (unsigned char *) wanted, (size_t) size) == 0;
	return PyLong_FromSsize_t (found ? index : -1);
}

static PyObject * indexes (Records * self, PyObject * const * args, Py_ssize_t count, int copies)
{
	Py_ssize_t low, high;
	if (range_args (self, args, count, &low, &high)) return NULL;
	PyObject * result = PyList_New (0);
	if (!result || (copies ? !self->store->copies : !self->made)) return result;
	for (Py_ssize_t i = low; i < high; i++)
	{
		if (copies ? !(self->store->entries[i].flags & HAS_COPYMETA) : !self->made[i]) continue;
		PyObject * index = PyLong_FromSsize_t (i);
		int failed = !index || PyList_Append (result, index) < 0;
		Py_XDECREF (index);
		if (failed)
		{
			Py_DECREF (result);
			return NULL;
		}
	}
	return result;
}

static PyObject * records_made (PyObject * self, PyObject * const * args, Py_ssize_t count)
{
	return indexes ((Records *) self, args, count, 0);
}

static PyObject * records_copies (PyObject * self, PyObject * const * args, Py_ssize_t count)
{
	return indexes ((Records *) self, args, count, 1);
}

static PyObject * records_fork (PyObject * self, PyObject * Py_UNUSED (ignored))
{
	return (PyObject *) records_new (((Records *) self)->store);
}

static PyObject * records_sizeof (PyObject * self, PyObject * Py_UNUSED (ignored))
{
	Records * records = (Records *) self;
	size_t size = sizeof *records + sizeof *records->store + (size_t) records->store->count * sizeof (struct entry);
	if (records->store->owned) size += records->store->end;
	if (records->made) size += (size_t) records->store->count * sizeof *records->made;
	return PyLong_FromSize_t (size);
}

static PyMethodDef records_methods[] = {
	{ "key", records_key, METH_O, "key(index) -> Key, always the same object" },
	{ "peek", records_peek, METH_O, "peek(index) -> Key or None, when nobody asked for it yet" },
	{ "find", (PyCFunction) (void (*) (void)) records_find, METH_FASTCALL, "find(unescaped, low, high) -> index or -1" },
	{ "lower_bound", (PyCFunction) (void (*) (void)) records_lower_bound, METH_FASTCALL, "lower_bound(unescaped, low, high) -> index" },
	{ "made", (PyCFunction) (void (*) (void)) records_made, METH_FASTCALL, "made(low, high) -> indexes of keys that were asked for" },
	{ "copies", (PyCFunction) (void (*) (void)) records_copies, METH_FASTCALL, "copies(low, high) -> indexes of keys with shared metadata" },
	{ "fork", records_fork, METH_NOARGS, "fork() -> the same records with Key objects of their own" },
	{ "__sizeof__", records_sizeof, METH_NOARGS, "bytes in memory, those of Key objects aside" },
	{ NULL, NULL, 0, NULL },
};

static PySequenceMethods records_sequence = { .sq_length = records_length };

static PyTypeObject RecordsType = {
	PyVarObject_HEAD_INIT (NULL, 0).tp_name = "dumpfmt._native.Records",
	.tp_basicsize = sizeof (Records),
	.tp_dealloc = (destructor) records_dealloc,
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.tp_doc = "The keys of one keyset, as the bytes that were read.",
	.tp_methods = records_methods,
	.tp_as_sequence = &records_sequence,
};

/* --- Scan -------------------------------------------------------------------------------------------------------------------- */

enum { UNSURE = -1, NEEDS_MORE = 0, COMPLETE = 1 };
/* A source of shared metadata with more metakeys than this is left to Python, which has a dict for them. */
#define MAX_SOURCE_METAKEYS 64
/* Making a key makes those that it shares metadata with, each a call deeper; what is deeper than this is left to Python, which
 * makes keys in the order of the records. */
#define MAX_DEPTH 64

typedef struct {
	PyObject_HEAD struct dump_limits limits;
	unsigned char * buffer;
	size_t size, capacity; /* of what was fed */
	size_t position, need;
	struct entry * entries;
	size_t count, room;
	size_t copies;
	size_t last_meta, last_meta_size; /* name of the metakey before, in the buffer; size 0 at the first */
	size_t last_source;		  /* of shared metadata */
	int has_binary;			  /* the current key has `$meta binary` */
	int state;
	PyObject * bytes; /* what was scanned in place */
} Scan;

static PyObject * scan_new (PyTypeObject * type, PyObject * args, PyObject * kwargs)
{
	Py_ssize_t message, name, value, keys;
	static char * names[] = { "message", "name", "value", "keys", NULL };
	if (!PyArg_ParseTupleAndKeywords (args, kwargs, "nnnn:Scan", names, &message, &name, &value, &keys)) return NULL;
	if (message < 0 || name < 0 || value < 0 || keys < 0)
	{
		PyErr_SetString (PyExc_ValueError, "a limit is not negative");
		return NULL;
	}
	Scan * self = (Scan *) type->tp_alloc (type, 0);
	if (!self) return NULL;
	self->limits = (struct dump_limits){ (size_t) message, (size_t) name, (size_t) value, (size_t) keys };
	/* Names have 32 bits in an entry. */
	if (self->limits.name > UINT32_MAX) self->limits.name = UINT32_MAX;
	self->need = 1;
	return (PyObject *) self;
}

static void scan_dealloc (Scan * self)
{
	free (self->buffer);
	free (self->entries);
	Py_XDECREF (self->bytes);
	Py_TYPE (self)->tp_free ((PyObject *) self);
}

static int add_entry (Scan * self, const struct dump_record * record, const unsigned char * data)
{
	const unsigned char * name = data + record->first;
	if (!dump_name_is_canonical (name, record->first_size)) return 0;
	if (self->count >= self->limits.keys) return 0;
	if (self->count > 0)
	{
		const struct entry * last = &self->entries[self->count - 1];
		if (dump_name_compare (data + last->start + last->line_size, last->name_size, name, record->first_size) >= 0) return 0;
		if ((last->flags & IS_BINARY) && !self->has_binary) return 0;
	}
	if (record->kind == DUMP_STRING && memchr (data + record->second, 0, record->second_size)) return 0;
	if (self->count == self->room)
	{
		size_t room = self->room ? self->room * 2 : 16;
		struct entry * entries = realloc (self->entries, room * sizeof *entries);
		if (!entries) return -1;
		self->entries = entries;
		self->room = room;
	}
	int plain = !memchr (name, '\\', record->first_size) && !memchr (name, '%', record->first_size);
	self->entries[self->count++] = (struct entry){
		.start = record->start,
		.name_size = (uint32_t) record->first_size,
		.line_size = (uint8_t) (record->first - record->start),
		.flags = (uint8_t) ((record->kind == DUMP_BINARY ? IS_BINARY : 0) | (plain ? IS_PLAIN : 0)),
	};
	self->last_meta_size = 0;
	self->has_binary = 0;
	return 1;
}

/* Whether the key at `source`, before the current one, has a `$meta` record of that name. */
static int source_has (const Scan * self, const unsigned char * data, size_t source, const unsigned char * name, size_t size)
{
	struct dump_record record;
	size_t need, end = self->entries[source + 1].start;
	dump_next (data, end, self->entries[source].start, &no_limits, &record, &need);
	for (int i = 0; record.end < end && i < MAX_SOURCE_METAKEYS; i++)
	{
		dump_next (data, end, record.end, &no_limits, &record, &need);
		if (record.kind == DUMP_META && record.first_size == size && memcmp (data + record.first, name, size) == 0) return 1;
	}
	return 0;
}

static int add_meta (Scan * self, const struct dump_record * record, const unsigned char * data)
{
	if (self->count == 0) return 0;
	struct entry * entry = &self->entries[self->count - 1];
	int shared = record->kind == DUMP_COPYMETA;
	size_t at = shared ? record->second : record->first, size = shared ? record->second_size : record->first_size;
	if (!dump_metaname_is_canonical (data + at, size)) return 0;
	if (self->last_meta_size && dump_metaname_compare (data + self->last_meta, self->last_meta_size, data + at, size) >= 0) return 0;
	self->last_meta = at;
	self->last_meta_size = size;
	if (size == 6 && memcmp (data + at, "binary", 6) == 0)
	{
		if (!(entry->flags & IS_BINARY)) return 0;
		self->has_binary = 1;
	}
	if (!shared) return memchr (data + record->second, 0, record->second_size) == NULL;
	if (!dump_name_is_canonical (data + record->first, record->first_size)) return 0;
	size_t low = 0, high = self->count - 1;
	/* Metadata is mostly shared by many with one key: the last source is asked first. */
	size_t middle = self->last_source < high ? self->last_source : high / 2;
	for (; low < high; middle = low + (high - low) / 2)
	{
		const struct entry * candidate = &self->entries[middle];
		int order = dump_name_compare (data + candidate->start + candidate->line_size, candidate->name_size, data + record->first,
					       record->first_size);
		if (order == 0)
		{
			if (!source_has (self, data, middle, data + at, size) || candidate->depth >= MAX_DEPTH) return 0;
			if (entry->depth <= candidate->depth) entry->depth = (uint8_t) (candidate->depth + 1);
			self->copies += !(entry->flags & HAS_COPYMETA);
			entry->flags |= HAS_COPYMETA;
			self->entries[middle].flags |= IS_SOURCE;
			self->last_source = middle;
			return 1;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

/* Go on scanning `size` bytes at `data`; -2 with no memory left. */
static int scan_on (Scan * self, const unsigned char * data, size_t size)
{
	struct dump_record record;
	while (self->state == NEEDS_MORE)
	{
		switch (dump_next (data, size, self->position, &self->limits, &record, &self->need))
		{
		case DUMP_MORE:
			return NEEDS_MORE;
		case DUMP_UNSURE:
			return self->state = UNSURE;
		case DUMP_WHOLE:
			break;
		}
		int fine = 0;
		if ((record.kind == DUMP_HEADER) != (self->position == 0))
		{
			fine = 0;
		}
		else if (record.kind == DUMP_HEADER)
		{
			fine = 1;
		}
		else if (record.kind == DUMP_END)
		{
			fine = !(self->count > 0 && (self->entries[self->count - 1].flags & IS_BINARY) && !self->has_binary);
			if (fine) self->state = COMPLETE;
		}
		else
		{
			fine = record.kind == DUMP_STRING || record.kind == DUMP_BINARY ? add_entry (self, &record, data) :
											   add_meta (self, &record, data);
		}
		if (fine < 0) return -2;
		if (!fine) return self->state = UNSURE;
		self->position = record.end;
	}
	return self->state;
}

static PyObject * scan_feed (PyObject * object, PyObject * data)
{
	Scan * self = (Scan *) object;
	if (!PyBytes_Check (data))
	{
		PyErr_SetString (PyExc_TypeError, "feed takes bytes");
		return NULL;
	}
	if (self->bytes)
	{
		PyErr_SetString (PyExc_ValueError, "the keyset is complete");
		return NULL;
	}
	const unsigned char * more = (const unsigned char *) PyBytes_AS_STRING (data);
	size_t size = (size_t) PyBytes_GET_SIZE (data);
	int answer = self->state;
	if (size == 0) return PyLong_FromLong (answer); /* there may be no buffer to add nothing to */
	if (self->size == 0)
	{
		/* A keyset that comes in one piece is read where it lies. */
		answer = scan_on (self, more, size);
		if (answer == COMPLETE)
		{
			self->bytes = Py_NewRef (data);
			self->size = size;
			return PyLong_FromLong (COMPLETE);
		}
	}
	if (answer == -2) return PyErr_NoMemory ();
	if (self->size + size > self->capacity)
	{
		/* What the current record announces is room that will be needed, but nobody gets much more of it than was sent. */
		size_t capacity = self->size + size;
		if (capacity < 2 * self->capacity) capacity = 2 * self->capacity;
		unsigned char * buffer = realloc (self->buffer, capacity);
		if (!buffer) return PyErr_NoMemory ();
		self->buffer = buffer;
		self->capacity = capacity;
	}
	memcpy (self->buffer + self->size, more, size);
	self->size += size;
	if (self->state == NEEDS_MORE && self->size >= self->need) answer = scan_on (self, self->buffer, self->size);
	if (answer == -2) return PyErr_NoMemory ();
	return PyLong_FromLong (self->state);
}

static PyObject * scan_taken (PyObject * object, PyObject * Py_UNUSED (ignored))
{
	Scan * self = (Scan *) object;
	return PyBytes_FromStringAndSize ((const char *) self->buffer, (Py_ssize_t) self->size);
}

static PyObject * scan_unused (PyObject * object, PyObject * Py_UNUSED (ignored))
{
	Scan * self = (Scan *) object;
	/* With nothing behind the keyset its Records may have taken the buffer. */
	if (self->state != COMPLETE || self->position == self->size) return PyBytes_FromStringAndSize (NULL, 0);
	const unsigned char * data = self->bytes ? (const unsigned char *) PyBytes_AS_STRING (self->bytes) : self->buffer;
	return PyBytes_FromStringAndSize ((const char *) data + self->position, (Py_ssize_t) (self->size - self->position));
}

/* The records of a complete scan, whose entries they take over. The bytes are `bytes`' from `data` on, or `owned` (malloc'd). */
static PyObject * make_records (Scan * self, PyObject * bytes, const unsigned char * data, unsigned char * owned)
{
	struct store * store = calloc (1, sizeof *store);
	if (!store)
	{
		free (owned);
		return PyErr_NoMemory ();
	}
	store->end = self->position - 5; /* before "$end\n" */
	store->copies = (Py_ssize_t) self->copies;
	store->count = (Py_ssize_t) self->count;
	store->entries = self->entries;
	if (self->count)
	{
		struct entry * fitting = realloc (self->entries, self->count * sizeof *fitting);
		if (fitting) store->entries = fitting;
	}
	self->entries = NULL;
	store->bytes = Py_XNewRef (bytes);
	store->owned = owned;
	store->data = data;
	PyObject * records = (PyObject *) records_new (store);
	if (!records)
	{
		store->references = 1;
		store_release (store);
	}
	return records;
}

static PyObject * scan_records (PyObject * object, PyObject * Py_UNUSED (ignored))
{
	Scan * self = (Scan *) object;
	if (self->state != COMPLETE || (!self->bytes && !self->buffer))
	{
		PyErr_SetString (PyExc_ValueError, "the keyset is not complete, or was taken already");
		return NULL;
	}
	if (self->bytes) return make_records (self, self->bytes, (const unsigned char *) PyBytes_AS_STRING (self->bytes), NULL);
	unsigned char * owned;
	/* What lies behind the keyset is still wanted (unused), so a buffer with more in it is copied, not taken. */
	if (self->position == self->size)
	{
		owned = realloc (self->buffer, self->size);
		if (!owned) owned = self->buffer;
		self->buffer = NULL;
	}
	else
	{
		owned = malloc (self->position);
		if (!owned) return PyErr_NoMemory ();
		memcpy (owned, self->buffer, self->position);
	}
	PyObject * records = make_records (self, NULL, owned, owned);
	if (!self->buffer) self->size = self->position = 0;
	return records;
}

/* A keyset that lies whole in `data`, without the objects that one in pieces needs: most messages are of this kind. */
static PyObject * read_at (PyObject * Py_UNUSED (module), PyObject * const * args, Py_ssize_t count)
{
	size_t numbers[5]; /* start, and the limits */
	if (count != 6 || !PyBytes_Check (args[0]))
	{
		PyErr_SetString (PyExc_TypeError, "read_at takes bytes, a start and four limits");
		return NULL;
	}
	for (int i = 0; i < 5; i++)
	{
		numbers[i] = PyLong_AsSize_t (args[i + 1]);
		if (numbers[i] == (size_t) -1 && PyErr_Occurred ())
		{
			if (i == 0 || !PyErr_ExceptionMatches (PyExc_OverflowError)) return NULL;
			PyErr_Clear ();
			numbers[i] = PY_SSIZE_T_MAX; /* no keyset is larger than that */
		}
		if (i > 0 && numbers[i] > PY_SSIZE_T_MAX) numbers[i] = PY_SSIZE_T_MAX;
	}
	if (numbers[0] > (size_t) PyBytes_GET_SIZE (args[0]))
	{
		PyErr_SetString (PyExc_IndexError, "the start lies behind the data");
		return NULL;
	}
	const unsigned char * data = (const unsigned char *) PyBytes_AS_STRING (args[0]) + numbers[0];
	Scan scan = { .limits = { numbers[1], numbers[2], numbers[3], numbers[4] }, .need = 1 };
	if (scan.limits.name > UINT32_MAX) scan.limits.name = UINT32_MAX;
	int answer = scan_on (&scan, data, (size_t) PyBytes_GET_SIZE (args[0]) - numbers[0]);
	PyObject * result = NULL;
	if (answer == -2)
		PyErr_NoMemory ();
	else if (answer != COMPLETE)
		result = Py_NewRef (Py_None);
	else
	{
		PyObject * records = make_records (&scan, args[0], data, NULL);
		if (records) result = Py_BuildValue ("Nn", records, (Py_ssize_t) (numbers[0] + scan.position));
	}
	free (scan.entries);
	return result;
}

static PyMethodDef scan_methods[] = {
	{ "feed", scan_feed, METH_O, "feed(bytes) -> -1 not sure, 0 more is needed, 1 complete" },
	{ "taken", scan_taken, METH_NOARGS, "taken() -> everything that was fed, for the scanner that explains" },
	{ "unused", scan_unused, METH_NOARGS, "unused() -> the bytes behind the complete keyset" },
	{ "records", scan_records, METH_NOARGS, "records() -> Records of the complete keyset" },
	{ NULL, NULL, 0, NULL },
};

static PyTypeObject ScanType = {
	PyVarObject_HEAD_INIT (NULL, 0).tp_name = "dumpfmt._native.Scan",
	.tp_basicsize = sizeof (Scan),
	.tp_new = scan_new,
	.tp_dealloc = (destructor) scan_dealloc,
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_doc = "Scan(message, name, value, keys): takes the bytes of one keyset in any pieces.",
	.tp_methods = scan_methods,
};

/* --- encode ------------------------------------------------------------------------------------------------------------------ */

/* What is written becomes the result as it stands: a copy of hundreds of megabytes would be as dear as all the rest. */
struct output {
	PyObject * bytes; /* NULL at first, and after an error */
	char * data;
	size_t size, capacity;
};

static char * reserve (struct output * out, size_t more)
{
	if (out->size + more > out->capacity)
	{
		size_t capacity = out->capacity * 2 > out->size + more ? out->capacity * 2 : out->size + more;
		if (capacity > PY_SSIZE_T_MAX)
		{
			PyErr_NoMemory ();
			return NULL;
		}
		if (!out->bytes)
			out->bytes = PyBytes_FromStringAndSize (NULL, (Py_ssize_t) capacity);
		else
			_PyBytes_Resize (&out->bytes, (Py_ssize_t) capacity); /* NULL with no memory left */
		if (!out->bytes) return NULL;
		out->data = PyBytes_AS_STRING (out->bytes);
		out->capacity = capacity;
	}
	return out->data + out->size;
}

static char * put (char * to, const void * data, size_t size)
{
	memcpy (to, data, size);
	return to + size;
}

static char * put_number (char * to, size_t number)
{
	char digits[20];
	int count = 0;
	do
		digits[count++] = (char) ('0' + number % 10);
	while (number /= 10);
	while (count)
		*to++ = digits[--count];
	return to;
}

/* The bytes of a string or bytes object; `*temporary` is to be released after use. */
static int bytes_of (PyObject * object, const char ** data, size_t * size, PyObject ** temporary)
{
	*temporary = NULL;
	if (PyUnicode_Check (object))
	{
		if (PyUnicode_IS_ASCII (object))
		{
			*data = PyUnicode_DATA (object);
			*size = (size_t) PyUnicode_GET_LENGTH (object);
			return 0;
		}
		object = *temporary = PyUnicode_AsEncodedString (object, "utf-8", "surrogateescape");
		if (!object) return -1;
	}
	if (object == Py_None)
	{
		*data = "";
		*size = 0;
		return 0;
	}
	if (!PyBytes_Check (object))
	{
		PyErr_SetString (PyExc_TypeError, "a key holds text, bytes or None");
		return -1;
	}
	*data = PyBytes_AS_STRING (object);
	*size = (size_t) PyBytes_GET_SIZE (object);
	return 0;
}

/* Where each shared metakey was first written; an open table by the address of the object. */
struct seen {
	const void * metakey;
	size_t name, name_size, metaname, metaname_size; /* in the output */
};
struct table {
	struct seen * slots;
	size_t count, room;
};

static struct seen * lookup (struct seen * slots, size_t room, const void * metakey)
{
	size_t i = ((size_t) metakey >> 4) * (size_t) 0x9E3779B97F4A7C15u;
	for (i >>= 20;; i++)
	{
		struct seen * found = &slots[i & (room - 1)];
		if (!found->metakey || found->metakey == metakey) return found;
	}
}

static struct seen * remember (struct table * table, const void * metakey)
{
	if (table->count * 2 >= table->room)
	{
		size_t room = table->room ? table->room * 2 : 64;
		struct seen * slots = PyMem_Calloc (room, sizeof *slots);
		if (!slots)
		{
			PyErr_NoMemory ();
			return NULL;
		}
		for (size_t i = 0; i < table->room; i++)
		{
			if (table->slots[i].metakey) *lookup (slots, room, table->slots[i].metakey) = table->slots[i];
		}
		PyMem_Free (table->slots);
		table->slots = slots;
		table->room = room;
	}
	return lookup (table->slots, table->room, metakey);
}

#define LINE_ROOM 64

static int put_record (struct output * out, const char * word, const char * first, size_t first_size, const char * second, size_t second_size)
{
	size_t word_size = strlen (word);
	char * to = reserve (out, word_size + LINE_ROOM + first_size + second_size);
	if (!to) return -1;
	to = put (to, word, word_size);
	to = put_number (to, first_size);
	*to++ = ' ';
	to = put_number (to, second_size);
	*to++ = '\n';
	to = put (to, first, first_size);
	*to++ = '\n';
	to = put (to, second, second_size);
	*to++ = '\n';
	out->size = (size_t) (to - out->data);
	return 0;
}

static int put_metakey (struct output * out, struct table * table, size_t name_at, size_t name_size, PyObject * name, PyObject * metakey)
{
	const char *short_name, *value;
	size_t short_size, value_size;
	PyObject *temporary, *temporary_value;
	struct seen * seen = NULL;
	int failed;
	/* A metakey that only this key refers to is shared with nobody. */
	if (Py_REFCNT (metakey) > 1)
	{
		seen = remember (table, metakey);
		if (!seen) return -1;
		if (seen->metakey)
		{
			size_t size = seen->name_size + seen->metaname_size;
			if (!reserve (out, size + 2 * LINE_ROOM)) return -1; /* so that the output does not move below us */
			return put_record (out, "$copymeta ", out->data + seen->name, seen->name_size, out->data + seen->metaname,
					   seen->metaname_size);
		}
	}
	if (bytes_of (name, &short_name, &short_size, &temporary) < 0) return -1;
	if (bytes_of (metakey, &value, &value_size, &temporary_value) < 0)
	{
		Py_XDECREF (temporary);
		return -1;
	}
	failed = put_record (out, "$meta ", short_name, short_size, value, value_size);
	if (!failed && seen)
	{
		*seen = (struct seen){ metakey, name_at, name_size, out->size - value_size - 2 - short_size, short_size };
		table->count++;
	}
	Py_XDECREF (temporary);
	Py_XDECREF (temporary_value);
	return failed;
}

static int put_key (struct output * out, struct table * table, PyObject * key)
{
	PyObject *name_object = *slot (key, name_slot), *value_object = *slot (key, value_slot), *meta = *slot (key, meta_slot);
	const char *name, *value;
	size_t name_size, value_size;
	PyObject *temporary, *temporary_value;
	if (!name_object || !value_object || !meta || !PyDict_Check (meta))
	{
		PyErr_SetString (PyExc_TypeError, "a key that was never initialised");
		return -1;
	}
	if (bytes_of (name_object, &name, &name_size, &temporary) < 0) return -1;
	if (bytes_of (value_object, &value, &value_size, &temporary_value) < 0)
	{
		Py_XDECREF (temporary);
		return -1;
	}
	int failed = put_record (out, PyUnicode_Check (value_object) ? "$key string " : "$key binary ", name, name_size, value, value_size);
	size_t name_at = out->size - value_size - 2 - name_size;
	Py_ssize_t position = 0;
	PyObject *metaname_object, *metakey;
	while (!failed && PyDict_Next (meta, &position, &metaname_object, &metakey))
		failed = put_metakey (out, table, name_at, name_size, metaname_object, metakey);
	Py_XDECREF (temporary);
	Py_XDECREF (temporary_value);
	return failed;
}

static int put_stretch (struct output * out, PyObject * stretch)
{
	Records * records;
	Py_ssize_t low, high;
	if (!PyArg_ParseTuple (stretch, "O!nn:encode", &RecordsType, &records, &low, &high)) return -1;
	if (low < 0 || high > records->store->count || low > high)
	{
		PyErr_SetString (PyExc_IndexError, "no such range of records");
		return -1;
	}
	size_t start = start_of (records->store, low), size = start_of (records->store, high) - start;
	char * to = reserve (out, size);
	if (!to) return -1;
	memcpy (to, records->store->data + start, size);
	out->size += size;
	return 0;
}

static PyObject * encode (PyObject * Py_UNUSED (module), PyObject * parts)
{
	static const char header[] = "kdbOpen 2\n", end[] = "$end\n";
	struct output out = { NULL, NULL, 0, 0 };
	struct table table = { NULL, 0, 0 };
	PyObject * result = NULL;
	PyObject * fast = PySequence_Fast (parts, "encode takes a sequence of keys and stretches");
	if (!fast) return NULL;
	char * to = reserve (&out, sizeof header - 1);
	int failed = !to;
	if (to)
	{
		memcpy (to, header, sizeof header - 1);
		out.size = sizeof header - 1;
	}
	for (Py_ssize_t i = 0; !failed && i < PySequence_Fast_GET_SIZE (fast); i++)
	{
		PyObject * part = PySequence_Fast_GET_ITEM (fast, i);
		if (PyTuple_Check (part))
			failed = put_stretch (&out, part);
		else if (PyObject_TypeCheck (part, key_type))
			failed = put_key (&out, &table, part);
		else
		{
			PyErr_Format (PyExc_TypeError, "a keyset holds keys, not %s", Py_TYPE (part)->tp_name);
			failed = 1;
		}
	}
	if (!failed && (to = reserve (&out, sizeof end - 1)))
	{
		memcpy (to, end, sizeof end - 1);
		_PyBytes_Resize (&out.bytes, (Py_ssize_t) (out.size + sizeof end - 1));
		result = Py_XNewRef (out.bytes);
	}
	Py_XDECREF (out.bytes);
	PyMem_Free (table.slots);
	Py_DECREF (fast);
	return result;
}

/* --- module ------------------------------------------------------------------------------------------------------------------ */

static PyMethodDef functions[] = {
	{ "configure", configure, METH_VARARGS, "configure(Key, MetaKey): the classes that keys are made of" },
	{ "read_at", (PyCFunction) (void (*) (void)) read_at, METH_FASTCALL,
	  "read_at(bytes, start, message, name, value, keys) -> (Records, end), or None when that is not sure" },
	{ "encode", encode, METH_O, "encode(sequence of Key and (Records, low, high)) -> the dump" },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "dumpfmt._native",
	.m_doc = "Keysets as bytes, keys on demand. Used by dumpfmt.keyset, dumpfmt.decode and dumpfmt.encode only.",
	.m_size = -1,
	.m_methods = functions,
};

PyMODINIT_FUNC PyInit__native (void)
{
	if (PyType_Ready (&RecordsType) < 0 || PyType_Ready (&ScanType) < 0) return NULL;
	PyObject * result = PyModule_Create (&module);
	if (!result) return NULL;
	if (PyModule_AddObjectRef (result, "Scan", (PyObject *) &ScanType) < 0 ||
	    PyModule_AddObjectRef (result, "Records", (PyObject *) &RecordsType) < 0)
	{
		Py_DECREF (result);
		return NULL;
	}
	return result;
}
