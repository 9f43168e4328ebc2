/*
 * agent_files.c: files that the host sends, one at a time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

static int file = -1; /* the file that is being received */
static int file_errno;

static void make_parents(char *path) {
  for (char *p = path + 1; *p != 0; p++) {
    if (*p != '/') continue;
    *p = 0;
    mkdir(path, 0755);
    *p = '/';
  }
}

void file_open(uint8_t *payload, uint32_t length) {
  close_end(&file);
  if (length < 6 || payload[length - 1] != 0) {
    file_errno = EINVAL;
    return;
  }
  uint32_t mode;
  memcpy(&mode, payload, 4);
  char *path = (char *)payload + 4;
  make_parents(path);
  unlink(path); /* a program that runs cannot be written over */
  file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode & 07777);
  file_errno = file < 0 ? errno : 0;
  if (file >= 0) fchmod(file, mode & 07777);
}

void file_write(const uint8_t *data, uint32_t length) {
  while (file >= 0 && length > 0) {
    ssize_t n = write(file, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      file_errno = errno;
      close_end(&file);
      return;
    }
    data += n;
    length -= (uint32_t)n;
  }
}

void file_end(uint32_t id) {
  close_end(&file);
  send_frame(FRAME_FILE_DONE, id, &file_errno, 4);
}
