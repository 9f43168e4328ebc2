/*
 * baseline.cc: a module of its own, for measurement only. N-API functions written by hand, as one would without an FFI,
 * call the foreign functions of the callout experiment. What a guarded call costs is set beside it.
 */
#include <napi.h>

#include <foreign.h>

namespace {

Napi::Value add(const Napi::CallbackInfo &info) {
  return Napi::Number::New(
      info.Env(), foreign_add(info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Number>().Int32Value()));
}

Napi::Value sum_eight(const Napi::CallbackInfo &info) {
  auto whole = [&info](size_t at) { return info[at].As<Napi::Number>().Int32Value(); };
  return Napi::Number::New(info.Env(), foreign_sum_eight(static_cast<int8_t>(whole(0)), static_cast<uint16_t>(whole(1)),
                                                         whole(2), info[3].As<Napi::Number>().Int64Value(),
                                                         info[4].As<Napi::Number>().FloatValue(),
                                                         info[5].As<Napi::Number>().DoubleValue(),
                                                         info[6].As<Napi::Number>().Uint32Value(), whole(7)));
}

Napi::Value take_block(const Napi::CallbackInfo &info) {
  Napi::Object given = info[0].As<Napi::Object>();
  Napi::Array numbers = given.Get("a").As<Napi::Array>();
  foreign_block block;
  for (uint32_t i = 0; i < 5; i++) block.a[i] = numbers.Get(i).As<Napi::Number>().Int64Value();
  block.b = given.Get("b").As<Napi::Number>().DoubleValue();
  return Napi::Number::New(info.Env(),
                           static_cast<double>(foreign_take_block(block, info[1].As<Napi::Number>().Int64Value())));
}

Napi::Value length(const Napi::CallbackInfo &info) {
  return Napi::Number::New(info.Env(),
                           static_cast<double>(foreign_length(info[0].As<Napi::String>().Utf8Value().c_str())));
}

Napi::Value fill(const Napi::CallbackInfo &info) {
  Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
  foreign_fill(bytes.Data(), bytes.ByteLength(), static_cast<uint8_t>(info[1].As<Napi::Number>().Uint32Value()));
  return info.Env().Undefined();
}

/* One callback during the call. The function is this call's; calls do not nest. */
const Napi::Function *callee;
int called_back(int value) {
  return callee->Call({Napi::Number::New(callee->Env(), value)}).As<Napi::Number>().Int32Value();
}
Napi::Value call_back(const Napi::CallbackInfo &info) {
  Napi::Function function = info[0].As<Napi::Function>();
  callee = &function;
  return Napi::Number::New(info.Env(), foreign_call_back(called_back, info[1].As<Napi::Number>().Int32Value()));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto function = [&](const char *name, Napi::Value (*of)(const Napi::CallbackInfo &)) {
    exports.Set(name, Napi::Function::New(env, of, name));
  };
  function("add", add);
  function("sumEight", sum_eight);
  function("takeBlock", take_block);
  function("length", length);
  function("fill", fill);
  function("callBack", call_back);
  return exports;
}

} // namespace

NODE_API_MODULE(turnkey_baseline, init)
