/*
 * agent.h: what the parts of the guest's first process share.
 *
 * Frames, both ways, little-endian: magic "TKF1", type u32, job u32, length u32, payload, CRC-32 of all that precedes.
 * The host may have a window of bytes under way (src/machine/protocol.ts); this process says how much it has consumed
 * (FRAME_ACK).
 */
#ifndef TURNKEY_MACHINE_AGENT_H
#define TURNKEY_MACHINE_AGENT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum frame_type {
  /* host to guest */
  FRAME_RUN = 1,   /* u32 argc, u32 envc, cwd\0, argv\0..., env\0... */
  FRAME_STDIN = 2, /* bytes; an empty one ends the input */
  FRAME_KILL = 3,
  FRAME_FILE = 4, /* u32 mode, path\0: opens a file to be written; parents are made */
  FRAME_FILE_DATA = 5,
  FRAME_FILE_END = 6, /* answered by FRAME_FILE_DONE */
  FRAME_PING = 7,     /* answered by FRAME_PONG */
  /* guest to host */
  FRAME_HELLO = 64, /* JSON */
  FRAME_ACK = 65,   /* u32: bytes consumed since the beginning, modulo 2^32 */
  FRAME_STDOUT = 66,
  FRAME_STDERR = 67,
  FRAME_EXIT = 68,      /* u32 enum exit_kind, u32 value (exit code, signal or errno), u64 ns in the guest */
  FRAME_FILE_DONE = 69, /* u32 errno */
  FRAME_PONG = 70,
};

enum exit_kind { EXIT_CODE = 0, EXIT_SIGNAL = 1, EXIT_NOT_STARTED = 2 };

#define CHUNK 16384 /* bytes that are read at a time */
#define MAX_JOBS 16

/* ---- agent_system.c ---------------------------------------------------------------------------------------------- */

uint64_t now_ns(void);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the machine: an init that exits panics the kernel, and the host sees the end. */
void give_up(const char *what) __attribute__((noreturn));
/* 0, or -1 with errno. */
int write_text(const char *path, const char *text);
/* Closes *fd, unless it is closed (-1), and sets it to -1. */
void close_end(int *fd);
/* Mounts what a program expects to find, and brings the loopback device up. */
void prepare_guest(void);

/* ---- agent_line.c ------------------------------------------------------------------------------------------------ */

/* Opens the serial port and returns its descriptor. */
int line_open(const char *path);
void send_frame(enum frame_type type, uint32_t job, const void *payload, uint32_t length);
/* Takes what has come in and hands each whole frame to `handle`. A damaged frame ends the machine. */
void line_receive(void (*handle)(uint32_t type, uint32_t id, uint8_t *payload, uint32_t length));

/* ---- agent_jobs.c ------------------------------------------------------------------------------------------------ */

extern bool have_cgroups; /* each job gets a control group */
void jobs_set_up(void);
void job_start(uint32_t id, uint8_t *payload, uint32_t length);
/* Input for a job; no bytes end it. An id without a job is ignored, here and in job_kill: the job has ended meanwhile.
 */
void job_input(uint32_t id, const uint8_t *data, uint32_t length);
void job_kill(uint32_t id);
/* The descriptors of all jobs that poll(2) is to watch, at most 3 * MAX_JOBS; then what became ready among them. */
nfds_t jobs_watch(struct pollfd *fds);
void jobs_serve(const struct pollfd *fds, nfds_t count);
/* After SIGCHLD: notes who has exited, and kills what they left running. */
void jobs_reap(void);
/* Reports the jobs that have exited and whose output has been sent. */
void jobs_finish(void);

/* ---- agent_files.c ----------------------------------------------------------------------------------------------- */

void file_open(uint8_t *payload, uint32_t length);
void file_write(const uint8_t *data, uint32_t length);
void file_end(uint32_t id);

#endif
