/* Compiles a model to an artifact with the compiler's C library.
 *
 *     compile_model model.onnx model.flame
 *
 * Ends with the status of the compilation, having printed its messages. */
#include "flame-c/compiler.h"
#include <stdio.h>

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: compile_model model.onnx model.flame\n");
    return 2;
  }
  flame_compile_options options = {.struct_size = sizeof options, .threads = 2};
  flame_compile_result *result = flame_compile(argv[1], &options);
  const char *message;
  for (size_t i = 0; (message = flame_compile_result_message(result, i)); ++i)
    fprintf(stderr, "%s\n", message);

  int status = flame_compile_result_status(result);
  size_t size;
  const void *artifact = flame_compile_result_artifact(result, &size);
  if (artifact) {
    FILE *file = fopen(argv[2], "wb");
    if (!file || fwrite(artifact, 1, size, file) != size || fclose(file) != 0) {
      perror(argv[2]);
      status = 1;
    }
  }
  flame_compile_result_free(result);
  return status;
}
