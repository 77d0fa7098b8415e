//===- Attention.td - recurrences of attention that no composition gives ----------------------------------------------===//
#ifndef FLAME_ATTENTION_TD
#define FLAME_ATTENTION_TD

include "flame/IR/FlameBase.td"

def LinearAttentionOp : Flame_PureOp<"linear_attention"> {
  let summary = "attention with a matrix as its state, updated token by token";
  let description = [{
    For token t of every batch and head, with `gated` by `decay` and `delta` by `beta`:

        S = exp(decay[t]) * S                          (gated)
        v' = beta[t] * (v[t] - S^T k[t])               (delta), else v[t]
        S = S + k[t] v'^T
        output[t] = scale * S^T q[t]

    query [B, Hq, T, K], key [B, H, T, K], value [B, H, T, V], state [B, H, K, V], all of one float type; `gates` holds
    decay [B, H, T, 1 or K] if `gated`, then beta [B, 1 or H, T, 1] if `delta`. Query head h reads the state of head
    h / (Hq / H). Results: output [B, Hq, T, V] and the state after the last token.
  }];
  let arguments = (ins AnyFlameTensor:$query, AnyFlameTensor:$key, AnyFlameTensor:$value, AnyFlameTensor:$state,
                   Variadic<AnyFlameTensor>:$gates, BoolAttr:$gated, BoolAttr:$delta, F64Attr:$scale);
  let results = (outs AnyFlameTensor:$output, AnyFlameTensor:$new_state);
}

#endif // FLAME_ATTENTION_TD
