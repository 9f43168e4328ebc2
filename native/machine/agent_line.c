/*
 * agent_line.c: frames over the serial port. termios(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"

#define MAGIC 0x31464b54u /* "TKF1" */
#define HEADER_BYTES 16u
#define CHECKSUM_BYTES 4u
#define MAX_PAYLOAD (1u << 20) /* of a frame that is received */
#define MOST_SENT 65536u       /* bytes of payload */
#define ACK_EVERY 4096u

static int line = -1; /* the serial port */
static uint32_t consumed, acknowledged;
static uint32_t crc_table[256];

static void make_crc_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    crc_table[i] = c;
  }
}

static uint32_t crc(uint32_t c, const void *data, size_t n) {
  const uint8_t *p = data;
  c = ~c;
  while (n--) c = crc_table[(c ^ *p++) & 0xff] ^ (c >> 8);
  return ~c;
}

static void write_line(const void *data, size_t n) {
  const uint8_t *p = data;
  while (n > 0) {
    ssize_t done = write(line, p, n);
    if (done < 0) {
      if (errno == EINTR) continue;
      give_up("cannot write to the serial port");
    }
    p += done;
    n -= (size_t)done;
  }
}

void send_frame(enum frame_type type, uint32_t job, const void *payload, uint32_t length) {
  static uint8_t buffer[HEADER_BYTES + MOST_SENT + CHECKSUM_BYTES];
  if (length > MOST_SENT) abort();
  uint32_t header[4] = {MAGIC, type, job, length};
  memcpy(buffer, header, HEADER_BYTES);
  if (length > 0) memcpy(buffer + HEADER_BYTES, payload, length);
  uint32_t sum = crc(0, buffer, HEADER_BYTES + length);
  memcpy(buffer + HEADER_BYTES + length, &sum, CHECKSUM_BYTES);
  write_line(buffer, HEADER_BYTES + length + CHECKSUM_BYTES);
}

static void acknowledge(void) {
  if (consumed == acknowledged) return;
  acknowledged = consumed;
  send_frame(FRAME_ACK, 0, &consumed, 4);
}

void line_receive(void (*handle)(uint32_t type, uint32_t id, uint8_t *payload, uint32_t length)) {
  static uint8_t *buffer;
  static size_t have, room;
  if (have + CHUNK > room) {
    room = have + 4 * CHUNK;
    buffer = realloc(buffer, room);
    if (buffer == NULL) give_up("out of memory");
  }
  ssize_t n = read(line, buffer + have, CHUNK);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) give_up("cannot read the serial port");
  have += (size_t)n;
  consumed += (uint32_t)n;
  size_t at = 0;
  while (have - at >= HEADER_BYTES) {
    uint32_t header[4];
    memcpy(header, buffer + at, HEADER_BYTES);
    errno = EPROTO;
    if (header[0] != MAGIC || header[3] > MAX_PAYLOAD) give_up("a damaged frame");
    size_t whole = HEADER_BYTES + header[3] + CHECKSUM_BYTES;
    if (have - at < whole) break;
    uint32_t sum;
    memcpy(&sum, buffer + at + whole - CHECKSUM_BYTES, CHECKSUM_BYTES);
    if (sum != crc(0, buffer + at, whole - CHECKSUM_BYTES)) give_up("a frame with a wrong checksum");
    handle(header[1], header[2], buffer + at + HEADER_BYTES, header[3]);
    at += whole;
  }
  memmove(buffer, buffer + at, have - at);
  have -= at;
  if (consumed - acknowledged >= ACK_EVERY || have == 0) acknowledge();
}

int line_open(const char *path) {
  make_crc_table();
  line = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (line < 0) give_up(path);
  struct termios t;
  if (tcgetattr(line, &t) != 0) give_up("tcgetattr");
  cfmakeraw(&t);
  t.c_cflag |= CLOCAL | CREAD;
  t.c_cflag &= ~(tcflag_t)CRTSCTS;
  cfsetspeed(&t, B115200);
  if (tcsetattr(line, TCSANOW, &t) != 0) give_up("tcsetattr");
  tcflush(line, TCIOFLUSH);
  return line;
}
