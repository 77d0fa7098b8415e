/* Loads an artifact, runs it once on zeros of batch 2 and prints the outputs' shapes and sums.
 *
 *     run_model model.flame
 *
 * Every call that can fail is checked the same way; the handles are released in the order in which they were made. */
#include "flame_rt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(flame_status *status) {
  if (!status)
    return;
  fprintf(stderr, "error: %s: %s\n", flame_code_name(flame_status_code(status)), flame_status_message(status));
  flame_status_free(status);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: run_model model.flame\n");
    return 2;
  }
  flame_options options;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.threads = 2;

  flame_module *module = NULL;
  flame_session *session = NULL;
  check(flame_module_load(argv[1], &options, &module));
  check(flame_session_create(module, &session));

  size_t inputCount = flame_module_input_count(module), outputCount = flame_module_output_count(module);
  flame_value **inputs = calloc(inputCount, sizeof *inputs), **outputs = calloc(outputCount, sizeof *outputs);
  for (size_t i = 0; i < inputCount; ++i) {
    flame_port port;
    check(flame_module_input(module, i, &port));
    int64_t dims[32];
    for (int32_t d = 0; d < port.rank; ++d) {
      char *end;
      dims[d] = strtoll(port.dims[d], &end, 10);
      if (*end) /* a symbolic dimension */
        dims[d] = 2;
    }
    check(flame_tensor_create(module, port.dtype, dims, port.rank, &inputs[i]));
    memset(flame_tensor_data(inputs[i]), 0, flame_tensor_bytes(inputs[i]));
  }

  check(flame_session_run(session, (const flame_value *const *)inputs, inputCount, outputs, outputCount));
  for (size_t i = 0; i < outputCount; ++i) {
    flame_port port;
    check(flame_module_output(module, i, &port));
    printf("%s [", port.name);
    for (int32_t d = 0; d < flame_tensor_rank(outputs[i]); ++d)
      printf(d ? ", %lld" : "%lld", (long long)flame_tensor_dims(outputs[i])[d]);
    printf("]");
    if (flame_value_dtype(outputs[i]) == FLAME_F32) {
      double sum = 0;
      const float *data = flame_tensor_data(outputs[i]);
      for (size_t k = 0; k < flame_tensor_elements(outputs[i]); ++k)
        sum += data[k];
      printf(" sum %.6g", sum);
    }
    printf("\n");
    flame_value_release(outputs[i]);
  }
  for (size_t i = 0; i < inputCount; ++i)
    flame_value_release(inputs[i]);
  free(inputs);
  free(outputs);
  flame_session_release(session);
  flame_module_release(module);
  return 0;
}
