/* print.c: the JSON line of a row (bench.c says what is in it). */
#include <inttypes.h>
#include <stdio.h>

#include "process.h"

static void print_text(const char *text) {
  putchar('"');
  for (; *text != 0; text++) {
    if (*text == '"' || *text == '\\') putchar('\\');
    putchar((unsigned char)*text < ' ' ? ' ' : *text);
  }
  putchar('"');
}

void print_row(const struct member *member, unsigned processes_done, double steal, double ghz_first, double ghz_last) {
  if (member->failed != NULL || member->sample_count == 0) {
    printf("{\"row\":%u,\"%s\":", member->number, member->broken ? "broken" : "skipped");
    print_text(member->failed != NULL ? member->failed : "no sample was taken");
    printf("}\n");
    fflush(stdout);
    return;
  }
  printf("{\"row\":%u,\"unit\":\"%s\",\"repeats\":%" PRIu64 ",\"samples\":[", member->number,
         settings.counted ? "instructions" : "ns", member->sized.repeats);
  for (unsigned i = 0; i < member->sample_count; i++)
    printf(member->samples[i] >= 1000 ? "%s%.1f" : "%s%.3f", i == 0 ? "" : ",", member->samples[i]);
  struct bench_counts counts = member->stepped ? member->steps.counts : member->first.counts;
  printf("]");
  /* The first one in a process is not known from a later one. */
  if (!member->row.cold)
    printf(",\"counts\":{\"wrpkru\":%u,\"rdpkru\":%u,\"syscalls\":%u,\"faults\":%u}", counts.wrpkru, counts.rdpkru,
           counts.syscalls, counts.faults);
  if (member->stepped) printf(",\"instructions\":%u", member->steps.instructions);
  if (member->first.each) printf(",\"each\":true");
  printf(",\"processes\":%u,\"warmUp\":%u,\"settled\":%s,\"pinned\":%s",
         member->row.cold ? member->sample_count : processes_done, member->sized.warm_up,
         member->sized.settled || settings.counted || member->row.cold ? "true" : "false",
         member->first.pinned ? "true" : "false");
  if (!settings.counted)
    printf(",\"steal\":%.4f,\"ghz\":[%.3f,%.3f],\"switches\":%ld", steal, ghz_first, ghz_last, member->switches);
  if (member->observed[0].name[0] != 0) {
    printf(",\"observed\":{");
    for (int i = 0; i < BENCH_OBSERVED && member->observed[i].name[0] != 0; i++)
      printf("%s\"%s\":%.0f", i == 0 ? "" : ",", member->observed[i].name, member->observed[i].value);
    putchar('}');
  }
  if (member->first.text[0] != 0) {
    printf(",\"warning\":");
    print_text(member->first.text);
  }
  printf("}\n");
  fflush(stdout);
}
