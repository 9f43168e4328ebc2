/* image_objects.cc: what native/pkeys and native/image report, as JavaScript objects. */
#include "arguments.h"
#include "bindings.h"

namespace addon {

Napi::Object probe_object(Napi::Env env) {
  struct pkeys_probe p;
  ::pkeys_probe(&p);
  return object(env, {{"cpuPku", truth(env, p.cpu_pku)},
                      {"cpuOspke", truth(env, p.cpu_ospke)},
                      {"allocWorks", truth(env, p.alloc_works)},
                      {"tagWorks", truth(env, p.tag_works)},
                      {"denyWorks", truth(env, p.deny_works)},
                      {"allocErrno", number(env, p.alloc_errno)},
                      {"tagErrno", number(env, p.tag_errno)},
                      {"keysFree", number(env, p.keys_free)},
                      {"usable", truth(env, p.usable)},
                      {"reason", string(env, p.reason)},
                      {"failedCall", string(env, p.failed_call ? p.failed_call : "")},
                      {"failedErrno", number(env, p.failed_errno)},
                      {"failedSignal", number(env, p.failed_signal)},
                      {"filtered", truth(env, p.filtered)},
                      {"warning", string(env, p.warning)}});
}

Napi::Object space_object(Napi::Env env, const pkeys_space &s) {
  return object(env, {{"name", string(env, s.name)},
                      {"address", big(env, static_cast<uint64_t>(s.address))},
                      {"bytes", number(env, static_cast<uint64_t>(s.bytes))},
                      {"reservedBytes", number(env, static_cast<uint64_t>(s.reserved_bytes))},
                      {"key", number(env, s.key)},
                      {"deny", string(env, s.deny == PKEYS_NO_ACCESS ? "access" : "write")}});
}

Napi::Object file_object(Napi::Env env, const spur_file &f) {
  return object(env, {{"version", number(env, f.version)},
                      {"family", string(env, f.family == SPUR_FAMILY_V3 ? "v3" : "spur")},
                      {"wordBytes", number(env, f.word_bytes)},
                      {"swapped", truth(env, f.swapped)},
                      {"multipleBytecodes", truth(env, f.multiple_bytecodes)},
                      {"fileOffset", number(env, f.file_offset)},
                      {"headerBytes", number(env, f.header_bytes)},
                      {"heapBytes", number(env, f.heap_bytes)},
                      {"baseAddress", big(env, f.base_address)},
                      {"specialObjects", big(env, f.special_objects)},
                      {"firstSegmentBytes", number(env, f.first_segment_bytes)}});
}

Napi::Object heap_object(Napi::Env env, const spur_object &s) {
  return object(env, {{"offset", number(env, s.offset)},
                      {"bytes", number(env, s.bytes)},
                      {"slots", number(env, s.slots)},
                      {"classIndex", number(env, s.class_index)},
                      {"format", number(env, s.format)},
                      {"slot", number(env, static_cast<double>(s.slot))},
                      {"isFree", truth(env, s.is_free)}});
}

Napi::Object report_object(Napi::Env env, const image_report &report, const spur_problem *problems) {
  Napi::Object kinds = Napi::Object::New(env);
  for (unsigned k = 1; k < SPUR_PROBLEM_KINDS; k++)
    if (report.by_kind[k])
      kinds.Set(spur_problem_name(static_cast<spur_problem_kind>(k)), number(env, report.by_kind[k]));
  Napi::Array spaces = Napi::Array::New(env, report.spaces);
  for (uint32_t i = 0; i < report.spaces; i++) {
    const image_space_report &r = report.space[i];
    spaces.Set(i, object(env, {{"content", string(env, image_content_name(static_cast<image_content>(r.content)))},
                               {"walked", truth(env, r.walked)},
                               {"objects", number(env, r.objects)},
                               {"freeChunks", number(env, r.free_chunks)},
                               {"freeBytes", number(env, r.free_bytes)},
                               {"walkedBytes", number(env, r.walked_bytes)},
                               {"problemCount", number(env, r.problems)}}));
  }
  Napi::Array list = Napi::Array::New(env, report.kept);
  for (uint32_t i = 0; i < report.kept; i++) {
    const spur_problem &p = problems[i];
    list.Set(i, object(env, {{"kind", string(env, spur_problem_name(static_cast<spur_problem_kind>(p.kind)))},
                             {"space", number(env, static_cast<uint64_t>(p.segment))},
                             {"offset", number(env, p.offset)},
                             {"object", number(env, p.object)},
                             {"classIndex", number(env, p.class_index)},
                             {"slot", number(env, static_cast<double>(p.slot))},
                             {"value", big(env, p.value)}}));
  }
  return object(env, {{"objects", number(env, report.objects)},
                      {"pointers", number(env, report.pointers)},
                      {"classes", number(env, report.classes)},
                      {"problemCount", number(env, report.problems)},
                      {"byKind", kinds},
                      {"spaces", spaces},
                      {"problems", list}});
}

Napi::Object difference_object(Napi::Env env, const image_difference &d, const image_range *ranges) {
  Napi::Array list = Napi::Array::New(env, d.kept);
  for (uint32_t i = 0; i < d.kept; i++) {
    const image_range &range = ranges[i];
    Napi::Object entry = object(env, {{"space", number(env, static_cast<uint64_t>(range.space))},
                                      {"offset", number(env, range.offset)},
                                      {"bytes", number(env, range.bytes)}});
    if (range.object_known) entry.Set("object", heap_object(env, range.object));
    list.Set(i, entry);
  }
  return object(env, {{"changedBytes", number(env, d.changed_bytes)},
                      {"rangeCount", number(env, d.ranges)},
                      {"resized", number(env, d.resized)},
                      {"ranges", list}});
}

} // namespace addon
