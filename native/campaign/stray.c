/*
 * stray.c: the foreign code of a campaign's program. It does honest work with zlib, SQLite and qsort, and makes the one
 * stray store that the order asks for. Links to nothing of Turnkey's.
 */
#define _GNU_SOURCE
#include "stray.h"

#include <string.h>

#define API __attribute__((visibility("default")))
API stray_job_function stray_job;

static uint64_t jobs_done; /* a library's ordinary global */

static uint64_t hash(uint64_t so_far, const void *bytes, size_t count) {
  for (size_t at = 0; at < count; at++) so_far = (so_far ^ ((const uint8_t *)bytes)[at]) * 0x100000001b3u;
  return so_far;
}

/* Changes one thing of what is left behind for the program. */
static void spoil(const struct fault *fault, struct left *left, char *text) {
  switch (fault->source) {
    case LEFT_POINTER: {
      uint64_t value = (uintptr_t)left->text;
      if (fault->means == MEANS_BIT) value ^= (uint64_t)1 << (fault->noise & 63);
      else if (fault->means == MEANS_ZERO) value = 0;
      else if (fault->means == MEANS_POINTER) value = (value & ~(uint64_t)0xfffff) + (fault->noise & 0xfffff);
      else value = fault->noise;
      left->text = (const char *)(uintptr_t)value;
      break;
    }
    case LEFT_LENGTH:
      left->length = fault->means == MEANS_BIT ? left->length ^ (uint64_t)1 << (fault->noise & 63)
                                               : fault->noise >> (fault->noise & 63);
      break;
    case LEFT_STRING: /* no terminator within the bytes that belong to it */ memset(text, 'x', 64); break;
    case LEFT_WORD: left->word ^= fault->noise; break;
    default: break;
  }
}

uint64_t stray_job(const struct order *order, const char *text, int stray, int *rc, struct left *left) {
  const struct tools *tools = order->tools;
  uint64_t result = 0xcbf29ce484222325u;
  uint8_t packed[PACKED_BYTES];
  *rc = 0;
  if (stray) stray_moment(order, MOMENT_BEFORE);
  if (stray) stray_moment(order, MOMENT_AFTER);

  z_stream *packer = tools->packer;
  int error = tools->deflate_reset(packer);
  packer->next_in = (Bytef *)(uintptr_t)text, packer->avail_in = TEXT_BYTES / 2;
  packer->next_out = packed, packer->avail_out = sizeof packed;
  if (error == Z_OK) error = tools->deflate(packer, Z_NO_FLUSH);
  stray_pause(order);
  if (stray) stray_moment(order, MOMENT_MIDDLE);
  if (stray) stray_moment(order, MOMENT_THREAD);
  packer->avail_in += TEXT_BYTES / 2;
  if (error == Z_OK) error = tools->deflate(packer, Z_FINISH) == Z_STREAM_END ? Z_OK : Z_STREAM_ERROR;
  z_stream *unpacker = tools->unpacker;
  if (error == Z_OK) error = tools->inflate_reset(unpacker);
  unpacker->next_in = packed, unpacker->avail_in = (uInt)(sizeof packed - packer->avail_out);
  unpacker->next_out = (Bytef *)order->lent, unpacker->avail_out = TEXT_BYTES;
  if (error == Z_OK) error = tools->inflate(unpacker, Z_FINISH) == Z_STREAM_END ? Z_OK : Z_DATA_ERROR;
  result = hash(result, order->lent, TEXT_BYTES);

  int database = tools->bind(tools->update, 1, 0);
  if (database == SQLITE_OK) database = tools->step(tools->update);
  if (tools->reset(tools->update) != SQLITE_OK || database != SQLITE_DONE) error = SQLITE_ERROR + 100;
  tools->bind(tools->sum, 1, 1);
  if (tools->step(tools->sum) != SQLITE_ROW) error = SQLITE_ERROR + 100;
  sqlite3_int64 sum = tools->column(tools->sum, 0);
  tools->reset(tools->sum);
  result = hash(result, &sum, sizeof sum);

  uint64_t values[VALUES];
  for (int at = 0; at < VALUES; at++) values[at] = hash(0xcbf29ce484222325u, &at, sizeof at);
  if (stray && order->active && order->fault.kind == KIND_LEFT && order->fault.source == LEFT_ARGUMENT) {
    uint64_t wild = order->fault.means == MEANS_ZERO ? 0 : order->fault.noise >> (order->fault.bit + 16);
    tools->compare((const void *)(uintptr_t)wild, &values[0]);
  }
  tools->sort(values, VALUES, sizeof *values, tools->compare);
  result = hash(result, values, sizeof values);

  left->word = result;
  char *name = (char *)(uintptr_t)left->text;
  memcpy(name, "what a callee leaves behind", 28);
  left->length = 27;
  if (stray && order->active && order->fault.kind == KIND_LEFT) spoil(&order->fault, left, name);
  jobs_done++;
  if (stray) stray_moment(order, MOMENT_END);
  *rc = error;
  return result;
}
