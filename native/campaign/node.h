/* node.h: the fault space of a campaign on Node itself. src/campaign/subjects.ts has the same strata. */
#ifndef TURNKEY_CAMPAIGN_NODE_H
#define TURNKEY_CAMPAIGN_NODE_H

/* clang-format off */
#define NODE_STRATA(X)                                                                                            \
  X(HEAP, "v8-heap") X(CODE, "v8-code") X(MALLOC, "malloc") X(LENT, "buffer") X(STACK, "js-stack")                \
  X(FOREIGN, "foreign-stack") X(TLS, "tls") X(NODE, "node-globals") X(LIBC, "libc-globals")                       \
  X(ADDON, "addon-globals") X(CALLEE, "callee-globals") X(TURNKEY, "turnkey") X(UNTOUCHED, "untouched")           \
  X(UNMAPPED, "unmapped") X(OVERRUN, "overrun")
/* clang-format on */
#define NODE_ID(id, name) NODE_##id,
enum node_stratum { NODE_STRATA(NODE_ID) NODE_STRATUM_COUNT };
#undef NODE_ID

#endif
