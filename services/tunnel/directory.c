/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "directory.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"
#include "lib/sys/entropy.h"

#define DIRECTORY_FIRST 64u
#define DIRECTORY_MAX (1u << 22) /* entries: far above all peers that one process may hold */

enum err directory_init(struct directory *d)
{
	memset(d, 0, sizeof(*d));
	d->entries = calloc(DIRECTORY_FIRST, sizeof(*d->entries));
	d->size = DIRECTORY_FIRST;
	entropy_bytes(d->key, sizeof(d->key));
	return d->entries != NULL && pthread_mutex_init(&d->mutex, NULL) == 0 ? OK : ERR_FULL;
}

void directory_done(struct directory *d)
{
	free(d->entries);
	pthread_mutex_destroy(&d->mutex);
}

static uint32_t home(const struct directory *d, const uint8_t *pk)
{
	uint8_t h[crypto_shorthash_BYTES];

	crypto_shorthash(h, pk, WG_KEY_SIZE, (const uint8_t *)d->key);
	return le32_get(h) & (d->size - 1);
}

/* Where pk is, or the free place where it would be. */
static struct directory_entry *place(const struct directory *d, const uint8_t *pk)
{
	uint32_t i = home(d, pk);

	while (d->entries[i].used && memcmp(d->entries[i].pk, pk, WG_KEY_SIZE) != 0)
		i = (i + 1) & (d->size - 1);
	return &d->entries[i];
}

static enum err grow(struct directory *d)
{
	struct directory old = *d;

	if (d->n < d->size / 2)
		return OK;
	if (d->size >= DIRECTORY_MAX)
		return ERR_FULL;
	d->entries = calloc(2 * (size_t)old.size, sizeof(*d->entries));
	if (d->entries == NULL) {
		d->entries = old.entries;
		return ERR_FULL;
	}
	d->size = 2 * old.size;
	for (uint32_t i = 0; i < old.size; i++)
		if (old.entries[i].used)
			*place(d, old.entries[i].pk) = old.entries[i];
	free(old.entries);
	return OK;
}

enum err directory_add(struct directory *d, const uint8_t pk[static WG_KEY_SIZE], uint16_t worker,
	uint32_t handle)
{
	struct directory_entry *e;
	enum err err;

	pthread_mutex_lock(&d->mutex);
	err = grow(d);
	if (err == OK) {
		e = place(d, pk);
		if (e->used) {
			err = ERR_DENIED;
		} else {
			*e = (struct directory_entry){.handle = handle, .worker = worker, .used = true};
			memcpy(e->pk, pk, WG_KEY_SIZE);
			d->n++;
		}
	}
	pthread_mutex_unlock(&d->mutex);
	return err;
}

void directory_remove(struct directory *d, const uint8_t pk[static WG_KEY_SIZE], uint16_t worker,
	uint32_t handle)
{
	uint32_t hole, i, mask;

	pthread_mutex_lock(&d->mutex);
	mask = d->size - 1;
	hole = i = (uint32_t)(place(d, pk) - d->entries);
	if (d->entries[hole].used && d->entries[hole].worker == worker && d->entries[hole].handle == handle) {
		d->n--;
		for (;;) {
			i = (i + 1) & mask;
			if (!d->entries[i].used)
				break;
			uint32_t from = home(d, d->entries[i].pk);
			if (((i - from) & mask) >= ((i - hole) & mask)) {
				d->entries[hole] = d->entries[i];
				hole = i;
			}
		}
		d->entries[hole].used = false;
	}
	pthread_mutex_unlock(&d->mutex);
}

enum err directory_find(struct directory *d, const uint8_t pk[static WG_KEY_SIZE], uint16_t *ret_worker,
	uint32_t *ret_handle)
{
	struct directory_entry *e;
	enum err err = ERR_NOT_FOUND;

	pthread_mutex_lock(&d->mutex);
	e = place(d, pk);
	if (e->used) {
		*ret_worker = e->worker;
		*ret_handle = e->handle;
		err = OK;
	}
	pthread_mutex_unlock(&d->mutex);
	return err;
}
