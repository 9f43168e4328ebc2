/* Allocates a space, guards a call, survives its fault: docs/porting.md, first steps. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <turnkey/call.h>
#include <turnkey/pkeys.h>

/* Foreign code with an ordinary mistake: it believes that it was given 8 characters more than it was. */
static size_t shout(char *text, size_t bytes) {
  for (size_t i = 0; i < bytes + 8; i++) text[i] ^= 0x20;
  return bytes;
}

static int failed(const char *what, int rc) {
  fprintf(stderr, "%s: %s\n", what, strerror(-rc));
  return 1;
}

int main(void) {
  int rc = trap_init();
  if (rc < 0) return failed("trap_init", rc);

  /* An image of one space, closed for writing during callouts: by a key where there are keys, else by mprotect, and
   * said so. */
  struct pkeys_probe machine;
  pkeys_probe(&machine);
  if (!machine.usable) printf("no protection keys here (%s): using mprotect\n", machine.reason);
  struct pkeys_space_request request = {.name = "heap", .bytes = 1 << 20, .deny = PKEYS_NO_WRITE};
  struct pkeys_image *image;
  rc = pkeys_image_map(&request, 1, PKEYS_KEY_PER_IMAGE, &image, NULL);
  if (rc == 0)
    rc = pkeys_image_set_mechanism(image, machine.usable ? PKEYS_MECHANISM_PKEYS : PKEYS_MECHANISM_MPROTECT_RANGE);
  struct pkeys_space heap;
  if (rc == 0) rc = pkeys_image_space(image, 0, &heap);
  if (rc < 0) return failed("image", rc);

  /* A buffer outside the image, flush with its end: the callee may write here, and 8 bytes further is the heap. */
  void *buffer;
  rc = pkeys_space_neighbour(image, 0, 4096, &buffer);
  if (rc < 0) return failed("buffer", rc);
  char *text = (char *)buffer + 4096 - 6;
  memcpy(text, "hello", 6);
  char *object = (char *)heap.address;
  memcpy(object, "an object", 10);

  struct trap_fault fault;
  size_t done;
  rc = TRAP_CALL(&fault, done, shout, text, (size_t)5);
  printf("the call %s; the object is still '%s'\n", rc == 0 ? "succeeded" : "failed", object);
  if (rc == -EFAULT)
    printf("%s at %s+%llu, by the instruction at %#llx\n", strsignal(fault.signal),
           fault.space_found ? fault.space_name : "?", (unsigned long long)fault.space_offset,
           (unsigned long long)fault.pc);

  return rc == -EFAULT && strcmp(object, "an object") == 0 ? 0 : 1;
}
